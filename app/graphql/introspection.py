"""Caches the results of operations that only ask about the schema, because they are the same for every caller.

Such an operation can use up nearly the whole time limit of an operation, and tools always send the same text.
"""

from collections.abc import Awaitable, Callable

from graphql import FieldNode, OperationDefinitionNode
from strawberry.types import ExecutionResult

from app.graphql.request import Operation

MAX_RESULTS = 16
ROOTS = {"__schema", "__type"}
_results: dict[tuple[str, str | None], ExecutionResult] = {}
"""The cached results, keyed by document and operation name; the result that was used least recently is first."""


def is_introspection(operation: OperationDefinitionNode) -> bool:
    """Returns whether an operation only asks about the schema and has no variable."""
    roots = operation.selection_set.selections
    names = {root.name.value for root in roots if isinstance(root, FieldNode)}
    return not operation.variable_definitions and len(roots) == len(names) > 0 and names <= ROOTS


async def introspect(operation: Operation, run: Callable[[], Awaitable[ExecutionResult]]) -> ExecutionResult:
    """Returns the cached result of an operation, or runs the operation if there is none.

    A new result is cached if it has no errors.
    """
    key = (operation.query, operation.name)
    result = _results.pop(key, None)
    if result is None:
        result = await run()
    if not result.errors:
        _results[key] = result
        if len(_results) > MAX_RESULTS:
            del _results[next(iter(_results))]
    return result
