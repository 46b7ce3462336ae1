"""Owns GraphQL over HTTP: what comes in, one transaction an operation, what goes out. Holds no rule.

The document is prepared before a unit of work opens. The commit happens before the response starts. A fault undoes the
whole operation and says nothing of itself, and so does an operation that runs for too long.
There is no IDE: none is packaged with its assets, and a page that loads from elsewhere would not work here.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from graphql import GraphQLError
from strawberry.types import ExecutionResult

from app.access.principal import Principal
from app.access.retry import run_with_retry
from app.access.work import unit
from app.core.errors import (
    AimlineError,
    Conflict,
    Forbidden,
    Invalid,
    OutcomeUnknown,
    Overloaded,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from app.core.faults import fault_of
from app.graphql.budget import Budget
from app.graphql.door import Installation, OperationContext, client_of, principal_of
from app.graphql.limits import Limits, TooMuch, check_answer
from app.graphql.prepare import Preparation, Prepared, Refused
from app.graphql.problems import cause_of, fault, is_fault, log_fault, refusal, told
from app.graphql.request import MODERN, BadRequest, Operation, media_type, operation_of
from app.graphql.schema import execute, preparation
from app.graphql.subjects import named_subjects

STATUS: tuple[tuple[type[AimlineError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (Invalid, 400),
    (Conflict, 409),
    (Overloaded, 503),
    (Throttled, 429),
    (Unavailable, 503),
    (OutcomeUnknown, 503),
)
RETRY_SECONDS = 5


class _Faulted(Exception):
    """Carries a result with a fault out of the unit of work, so that it is undone."""

    def __init__(self, result: ExecutionResult) -> None:
        super().__init__()
        self.result = result


class _Stopped(Exception):
    """An operation whose time is over."""


def graphql_router(installation: Installation, limits: Limits = Limits()) -> APIRouter:
    """The route of the face, /graphql."""
    router = APIRouter()
    prepare = preparation(limits)

    @router.api_route("/graphql", methods=["GET", "POST"], include_in_schema=False, name="graphql")
    async def graphql(request: Request) -> Response:
        answer = _Answer(str(getattr(request.state, "trace_id", "")), limits)
        return await _respond(request, installation, prepare, answer)

    return router


async def _respond(request: Request, installation: Installation, prepare: Preparation, answer: "_Answer") -> Response:
    try:
        answer.media = media_type(request)
        client = client_of(request, installation)
        operation = await operation_of(request)
        prepared = prepare.prepare(operation, request.method)
        answer.cost, answer.is_prepared = prepared.cost, True
        result = await _run_in_time(request, installation, client, operation, prepared, prepare.limits)
    except BadRequest as error:
        body = {"message": error.detail, "extensions": {"code": error.code, "traceId": answer.trace_id}}
        return answer.give({"errors": [body]}, error.status, error.headers)
    except Refused as refused:
        answer.cost, answer.is_prepared = refused.cost, True
        return answer.not_run(refused.errors)
    except TooMuch as error:
        return answer.not_run([GraphQLError(error.detail, original_error=error)])
    except AimlineError as error:
        return answer.refused(request, error)
    except _Faulted as faulted:
        return answer.faulted(faulted.result)
    except _Stopped:
        return answer.stopped()
    except Exception as error:
        log_fault(error)
        return answer.give({"errors": [fault(answer.trace_id)]}, 500)
    return answer.ran(result)


def refuse(request: Request, error: AimlineError) -> Response:
    """Returns the answer to a request that is refused before it is read."""
    answer = _Answer(str(getattr(request.state, "trace_id", "")), Limits())
    try:
        answer.media = media_type(request)
    except BadRequest:
        answer.media = "application/json"
    return answer.refused(request, error)


async def _run_in_time(
    request: Request,
    installation: Installation,
    client: Principal,
    operation: Operation,
    prepared: Prepared,
    limits: Limits,
) -> ExecutionResult:
    """Runs the operation, once more where a temporary fault of the database undid it.

    Raises `_Stopped` where its time is over before its commit begins.
    """
    deadline = asyncio.get_running_loop().time() + limits.seconds
    clock = asyncio.timeout_at(deadline)

    async def attempt(principal: Principal) -> ExecutionResult:
        clock.reschedule(deadline)
        async with installation.writers.turn(writes=prepared.writes):
            return await _run(installation, principal, operation, prepared, clock, limits)

    try:
        async with clock:
            principal = await run_with_retry(partial(principal_of, request, installation, client), reads=True)
            return await run_with_retry(partial(attempt, principal), reads=not prepared.writes)
    except TimeoutError:
        if clock.expired():
            raise _Stopped from None
        raise


async def _run(
    installation: Installation,
    principal: Principal,
    operation: Operation,
    prepared: Prepared,
    clock: asyncio.Timeout,
    limits: Limits,
) -> ExecutionResult:
    """Runs the operation in one unit of work, which is committed when this returns."""
    async with unit(installation.engine, principal, installation.keyring, "graphql") as work:
        work.named_subjects = named_subjects(prepared, operation.variables)
        asked = OperationContext(work, prepared, Budget(limits.cost))
        try:
            result = await execute(asked, operation)
        finally:
            await asked.stop()
        if asked.budget.exceeded is not None:
            raise asked.budget.exceeded
        faults = [cause_of(error) for error in result.errors or [] if is_fault(error)]
        if temporary := next((fault for fault in faults if fault_of(fault) is not None), None):
            raise temporary
        if faults:
            raise _Faulted(result)
        check_answer(result.data, limits)
        # A commit that has begun is not cut off: nobody could say what became of it.
        clock.reschedule(None)
    return result


@dataclass
class _Answer:
    """How one request is answered; `cost` is told in every answer once the document was read."""

    trace_id: str
    limits: Limits
    media: str = "application/json"
    cost: int | None = None
    is_prepared: bool = False

    def give(self, body: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
        """An answer."""
        if self.is_prepared:
            body["extensions"] = {"cost": self.cost, "costLimit": self.limits.cost}
        content = f"{self.media}; charset=utf-8"
        return Response(orjson.dumps(body), status, headers=headers, media_type=content)

    def ran(self, result: ExecutionResult) -> Response:
        """The result of an operation; one that could not begin, for example for its variables, has no data."""
        errors = result.errors or []
        if result.data is None and not any(error.path for error in errors):
            return self.not_run(errors)
        body: dict[str, Any] = {"data": result.data}
        if errors:
            body["errors"] = self._listed(errors)
        return self.give(body, 200)

    def not_run(self, errors: list[GraphQLError]) -> Response:
        """A request that was no good. Where only plain JSON is taken, 200 says "well-formed"."""
        return self.give({"errors": self._listed(errors)}, 400 if self.media == MODERN else 200)

    def refused(self, request: Request, error: AimlineError) -> Response:
        """Returns a refusal of ours, with the headers that its status asks for."""
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 400)
        headers = {"WWW-Authenticate": _challenge(request)} if status == 401 else {}
        if isinstance(error, Throttled | Unavailable):
            headers["Retry-After"] = str(error.retry_after)
        return self.give({"errors": [refusal(error, self.trace_id)]}, status, headers)

    def faulted(self, result: ExecutionResult) -> Response:
        """A fault of ours."""
        faults = [error for error in result.errors or [] if is_fault(error)]
        for error in faults[: self.limits.errors]:
            log_fault(cause_of(error))
        return self.give({"data": None, "errors": self._listed(faults)}, 500 if self.media == MODERN else 200)

    def stopped(self) -> Response:
        """An operation that ran for too long and was stopped."""
        detail = f"The operation ran for {self.limits.seconds:g} s and was stopped. Nothing was changed."
        error = refusal(AimlineError(detail, code="operation.timeout"), self.trace_id)
        return self.give({"errors": [error]}, 503, {"Retry-After": str(RETRY_SECONDS)})

    def _listed(self, errors: list[GraphQLError]) -> list[dict[str, Any]]:
        """The errors as they are shown, so many as an answer lists."""
        most = self.limits.errors
        shown = [told(error, self.trace_id) for error in errors[:most]]
        if len(errors) > most:
            extensions = {"code": "errors.more", "traceId": self.trace_id}
            shown.append({"message": f"And {len(errors) - most} more.", "extensions": extensions})
        return shown


def _challenge(request: Request) -> str:
    challenge = 'Bearer realm="aimline"'
    return f'{challenge}, error="invalid_token"' if "Authorization" in request.headers else challenge
