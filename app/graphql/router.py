"""Owns GraphQL over HTTP: what comes in, one transaction an operation, what goes out. Holds no rule.

The commit happens before the response starts. A fault undoes the whole operation and says nothing of itself.
There is no IDE: none is packaged with its assets, and a page that loads from elsewhere would not work here.
"""

from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from app.access.principal import Principal
from app.access.retry import run_with_retry
from app.access.work import unit
from app.core.errors import AimlineError, Conflict, Forbidden, Invalid, OutcomeUnknown, Unauthenticated, Unavailable
from app.core.faults import fault_of
from app.graphql.door import Asked, Installation, principal_of
from app.graphql.problems import cause_of, fault, is_fault, log_fault, refusal, told
from app.graphql.request import MODERN, BadRequest, Operation, media_type, operation_of
from app.graphql.schema import schema

STATUS: tuple[tuple[type[AimlineError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (Invalid, 400),
    (Conflict, 409),
    (Unavailable, 503),
    (OutcomeUnknown, 503),
)
GET_TAKES = frozenset({OperationType.QUERY})
POST_TAKES = frozenset({OperationType.QUERY, OperationType.MUTATION})


class _Faulted(Exception):
    """Carries a result with a fault out of the unit of work, so that it is undone."""

    def __init__(self, result: ExecutionResult) -> None:
        super().__init__()
        self.result = result


def graphql_router(installation: Installation) -> APIRouter:
    """The route of the face, /graphql."""
    router = APIRouter()

    @router.api_route("/graphql", methods=["GET", "POST"], include_in_schema=False, name="graphql")
    async def graphql(request: Request) -> Response:
        return await _answer(request, installation)

    return router


async def _answer(request: Request, installation: Installation) -> Response:
    trace_id = str(getattr(request.state, "trace_id", ""))
    media = "application/json"
    try:
        media = media_type(request)
        result = await _carry_out(request, installation)
    except BadRequest as error:
        body = {"message": error.detail, "extensions": {"code": error.code, "traceId": trace_id}}
        return _response({"errors": [body]}, media, error.status, error.headers)
    except AimlineError as error:
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 400)
        headers = {"WWW-Authenticate": _challenge(request)} if status == 401 else {}
        if isinstance(error, Unavailable):
            headers["Retry-After"] = str(error.retry_after)
        return _response({"errors": [refusal(error, trace_id)]}, media, status, headers)
    except _Faulted as faulted:
        return _faulted(faulted.result, media, trace_id)
    except Exception as error:
        log_fault(error)
        return _response({"errors": [fault(trace_id)]}, media, 500)
    return _shown(result, media, trace_id)


async def _carry_out(request: Request, installation: Installation) -> ExecutionResult:
    """Reads the request and runs its operation, once more where a temporary fault of the database undid it."""
    principal = await run_with_retry(partial(principal_of, request, installation), reads=True)
    operation = await operation_of(request)
    # Without the word no document holds a mutation. A query that has it in a name waits with the writers.
    writes = request.method == "POST" and "mutation" in operation.query

    async def attempt() -> ExecutionResult:
        async with installation.writers.turn(writes=writes):
            return await _execute(installation, principal, operation, request.method)

    return await run_with_retry(attempt, reads=not writes)


async def _execute(
    installation: Installation, principal: Principal, operation: Operation, method: str
) -> ExecutionResult:
    """Runs the operation in one unit of work, which is committed when this returns."""
    async with unit(installation.engine, principal, installation.keyring, "graphql") as work:
        try:
            result = await schema.execute(
                operation.query,
                variable_values=operation.variables,
                operation_name=operation.name,
                context_value=Asked(work, operation.name),
                allowed_operation_types=GET_TAKES if method == "GET" else POST_TAKES,
            )
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.SUBSCRIPTION:
                raise BadRequest("operation.unknown", "There are no subscriptions here.") from None
            raise BadRequest("method", "A GET runs queries only: send this by POST.", 405, {"Allow": "POST"}) from None
        except (CannotGetOperationTypeError, MissingQueryError):
            detail = "Name one of the document's operations in `operationName`."
            raise BadRequest("operation.unknown", detail) from None
        faults = [cause_of(error) for error in result.errors or [] if is_fault(error)]
        if temporary := next((fault for fault in faults if fault_of(fault) is not None), None):
            raise temporary
        if faults:
            raise _Faulted(result)
    return result


def _faulted(result: ExecutionResult, media: str, trace_id: str) -> Response:
    faults = [error for error in result.errors or [] if is_fault(error)]
    for error in faults:
        log_fault(cause_of(error))
    body = {"data": None, "errors": [told(error, trace_id) for error in faults]}
    return _response(body, media, 500 if media == MODERN else 200)


def _shown(result: ExecutionResult, media: str, trace_id: str) -> Response:
    errors = [told(error, trace_id) for error in result.errors or []]
    if result.data is None and not any("path" in error for error in errors):
        # Nothing was executed: the request was no good. Where only plain JSON is taken, 200 says "well-formed".
        return _response({"errors": errors}, media, 400 if media == MODERN else 200)
    body: dict[str, Any] = {"data": result.data}
    if errors:
        body["errors"] = errors
    return _response(body, media, 200)


def _response(body: dict[str, Any], media: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers=headers, media_type=f"{media}; charset=utf-8")


def _challenge(request: Request) -> str:
    challenge = 'Bearer realm="aimline"'
    return f'{challenge}, error="invalid_token"' if "Authorization" in request.headers else challenge
