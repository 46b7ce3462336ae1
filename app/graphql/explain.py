"""Runs a GraphQL query for `aimline explain`. EXPLAIN is executed in place of the query's SQL statement.

The command opens the unit of work.
"""

from typing import Any

from app.access.work import Work
from app.core.errors import AimlineError, Malformed, Violation
from app.graphql.budget import Budget
from app.graphql.door import OperationContext
from app.graphql.limits import Limits
from app.graphql.prepare import Refused
from app.graphql.problems import cause_of, render_error
from app.graphql.request import BadRequest, Operation
from app.graphql.schema import execute, preparation


async def run_document(work: Work, document: str) -> int:
    """Runs a query as the API runs it, and returns its cost. Raises `AimlineError` for a document that is refused.

    Fields without rows of a resource, such as `me`, are run too, but have no SQL statement to explain.
    """
    limits, operation = Limits(), Operation(document, None, None)
    try:
        prepared = preparation(limits).prepare(operation, "GET")
    except Refused as refused:
        raise _refusal([str(render_error(error, "")["message"]) for error in refused.errors]) from None
    except BadRequest as refused:
        raise _refusal([refused.detail]) from None
    installation: Any = None  # only commands, streams and the feed use it
    context = OperationContext(work, prepared, Budget(limits.cost), installation)
    result = await execute(context, operation)
    for error in result.errors or ():
        cause = cause_of(error)
        raise cause if isinstance(cause, AimlineError) else _refusal([error.message])
    return prepared.cost


def _refusal(messages: list[str]) -> Malformed:
    return Malformed([Violation("/query", "request.malformed", message) for message in messages])
