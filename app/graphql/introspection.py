"""Executes operations that only ask about the schema, and caches their results, which are the same for every caller.

Such an operation may return tens of thousands of values, so it runs in a thread and not in the event loop.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from graphql import FieldNode, GraphQLSchema, OperationDefinitionNode, execute_sync
from strawberry.types import ExecutionResult

from app.graphql.limits import Limits, check_answer
from app.graphql.prepare import Prepared
from app.graphql.request import Operation

MAX_RESULTS = 16
ROOTS = {"__schema", "__type"}
_results: dict[tuple[str, str | None], ExecutionResult] = {}
"""The cached results, keyed by document and operation name; the oldest is first."""
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="introspection")
"""The only thread for introspection, so that many such operations at once occupy no more than one processor."""


def is_introspection(operation: OperationDefinitionNode) -> bool:
    """Returns whether an operation only asks about the schema and has no variable."""
    roots = operation.selection_set.selections
    names = {root.name.value for root in roots if isinstance(root, FieldNode)}
    return not operation.variable_definitions and len(roots) == len(names) > 0 and names <= ROOTS


async def introspect(
    schema: GraphQLSchema, operation: Operation, prepared: Prepared, limits: Limits
) -> ExecutionResult:
    """Returns the result of an operation that only asks about the schema (see `is_introspection`).

    Raises `TooMuch` if the response would be too long.
    """
    key = (operation.query, operation.name)
    if (cached := _results.get(key)) is None:
        return await asyncio.get_running_loop().run_in_executor(_thread, _execute, schema, key, prepared, limits)
    return cached


def _execute(schema: GraphQLSchema, key: tuple[str, str | None], prepared: Prepared, limits: Limits) -> ExecutionResult:
    """Returns the cached result of an operation, or executes it. A new result is cached if it has no errors."""
    if (cached := _results.get(key)) is not None:
        return cached
    executed = execute_sync(schema, prepared.document, operation_name=key[1])
    check_answer(executed.data, limits)
    result = ExecutionResult(data=executed.data, errors=executed.errors)
    if not result.errors:
        _results[key] = result
        if len(_results) > MAX_RESULTS:
            del _results[next(iter(_results))]
    return result
