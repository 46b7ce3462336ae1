"""Serves GraphQL over HTTP, with one transaction per operation.

The text of an operation is parsed and checked before a unit of work opens. The commit happens before the response
starts. A fault, or an exceeded time limit, undoes the whole operation. The text of a fault is not shown. The page with
GraphiQL belongs to the REST API, which serves all pages.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

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
    Gone,
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
from app.graphql.introspection import introspect, is_introspection
from app.graphql.json_text import dump
from app.graphql.limits import Limits, TooMuch, check_answer
from app.graphql.prepare import Preparation, Prepared, Refused
from app.graphql.problems import cause_of, fault, is_fault, log_fault, refusal, render_error
from app.graphql.repetition import Repetition, repetition_of
from app.graphql.request import MODERN, BadRequest, Operation, media_type, operation_of
from app.graphql.schema import execute, preparation
from app.graphql.subjects import named_subjects

STATUS: tuple[tuple[type[AimlineError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (Invalid, 400),
    (Conflict, 409),
    (Gone, 410),
    (Overloaded, 503),
    (Throttled, 429),
    (Unavailable, 503),
    (OutcomeUnknown, 503),
)
RETRY_SECONDS = 5


class _Faulted(Exception):
    """Raised to carry a result with a fault out of the unit of work, so that the unit is rolled back."""

    def __init__(self, result: ExecutionResult) -> None:
        super().__init__()
        self.result = result


class _Stopped(Exception):
    """Raised when an operation has used up its time."""


def graphql_router(installation: Installation, limits: Limits = Limits()) -> APIRouter:
    """Returns the router with the API's only route, /graphql."""
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
        # The answer to a command may contain a new secret, so it is not compressed.
        request.state.is_secret = prepared.writes
        result = await _run_in_time(request, installation, client, operation, prepared, prepare)
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
    """Returns the response to a request that is refused before it is read."""
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
    prepare: Preparation,
) -> ExecutionResult:
    """Runs the operation and returns its result; runs it once more after a temporary database fault.

    Raises `_Stopped` if the operation's time is over before the commit begins.
    """
    limits = prepare.limits
    deadline = asyncio.get_running_loop().time() + limits.seconds
    clock = asyncio.timeout_at(deadline)

    async def attempt(principal: Principal, repetition: Repetition | None) -> ExecutionResult:
        clock.reschedule(deadline)
        async with installation.writers.turn(writes=prepared.writes):
            return await _run(installation, principal, operation, prepared, clock, limits, repetition)

    try:
        async with clock:
            principal = await run_with_retry(partial(principal_of, request, installation, client), reads=True)
            repetition = repetition_of(prepare.schema, prepared, operation, principal)
            run = partial(
                run_with_retry,
                partial(attempt, principal, repetition),
                reads=not prepared.writes,
                is_keyed=lambda: repetition is not None and repetition.is_whole,
            )
            return await (introspect(operation, run) if is_introspection(prepared.operation) else run())
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
    repetition: Repetition | None,
) -> ExecutionResult:
    """Runs the operation in one unit of work, which is committed when this function returns the result.

    `clock` is the operation's time limit, which no longer applies once the commit begins.
    """
    async with unit(installation.engine, principal, installation.keyring, "graphql") as work:
        work.named_subjects = work.named_measures = named_subjects(prepared, operation.variables)
        if repetition is not None:
            await repetition.find(work)
            prepared = repetition.remaining(prepared)
        context = OperationContext(work, prepared, Budget(limits.cost))
        try:
            is_answered = repetition is not None and repetition.is_answered
            result = ExecutionResult(data={}, errors=None) if is_answered else await execute(context, operation)
        finally:
            await context.stop()
        if context.budget.exceeded is not None:
            raise context.budget.exceeded
        faults = [cause_of(error) for error in result.errors or [] if is_fault(error)]
        if temporary := next((fault for fault in faults if fault_of(fault) is not None), None):
            raise temporary
        if faults:
            raise _Faulted(result)
        if repetition is not None:
            result = await repetition.complete(work, result, context.done)
        check_answer(result.data, limits)
        # A commit that has begun is not interrupted, because its outcome would then be unknown.
        clock.reschedule(None)
    return result


@dataclass
class _Answer:
    """Builds the response to one request. Once the document was parsed, every response states its `cost`."""

    trace_id: str
    limits: Limits
    media: str = "application/json"
    cost: int | None = None
    is_prepared: bool = False

    def give(self, body: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
        """Returns a response with this body."""
        if self.is_prepared:
            body["extensions"] = {"cost": self.cost, "costLimit": self.limits.cost, **(body.get("extensions") or {})}
        content = f"{self.media}; charset=utf-8"
        return Response(dump(body), status, headers=headers, media_type=content)

    def ran(self, result: ExecutionResult) -> Response:
        """Returns the response with the result of an operation.

        The result of an operation that could not begin, for example because of its variables, has no data.
        """
        errors = result.errors or []
        if result.data is None and not any(error.path for error in errors):
            return self.not_run(errors)
        body: dict[str, Any] = {"data": result.data, "extensions": result.extensions}
        if errors:
            body["errors"] = self._listed(errors)
        return self.give(body, 200)

    def not_run(self, errors: list[GraphQLError]) -> Response:
        """Returns the response to a malformed request; the status is 200 for clients that accept only plain JSON."""
        return self.give({"errors": self._listed(errors)}, 400 if self.media == MODERN else 200)

    def refused(self, request: Request, error: AimlineError) -> Response:
        """Returns the response to a request that the application refuses, with the headers that the status requires."""
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 400)
        headers = {"WWW-Authenticate": _challenge(request)} if status == 401 else {}
        if (retry_after := getattr(error, "retry_after", None)) is not None:
            headers["Retry-After"] = str(retry_after)
        return self.give({"errors": [refusal(error, self.trace_id)]}, status, headers)

    def faulted(self, result: ExecutionResult) -> Response:
        """Returns the response to an internal fault."""
        faults = [error for error in result.errors or [] if is_fault(error)]
        for error in faults[: self.limits.errors]:
            log_fault(cause_of(error))
        return self.give({"data": None, "errors": self._listed(faults)}, 500 if self.media == MODERN else 200)

    def stopped(self) -> Response:
        """Returns the response to an operation that took too long and was stopped."""
        detail = f"The operation ran for {self.limits.seconds:g} s and was stopped. Nothing was changed."
        error = refusal(AimlineError(detail, code="operation.timeout"), self.trace_id)
        return self.give({"errors": [error]}, 503, {"Retry-After": str(RETRY_SECONDS)})

    def _listed(self, errors: list[GraphQLError]) -> list[dict[str, Any]]:
        """Returns the first errors in their public form, at most as many as a response may list."""
        most_errors = self.limits.errors
        listed = [render_error(error, self.trace_id) for error in errors[:most_errors]]
        if len(errors) > most_errors:
            extensions = {"code": "errors.more", "traceId": self.trace_id}
            listed.append({"message": f"And {len(errors) - most_errors} more.", "extensions": extensions})
        return listed


def _challenge(request: Request) -> str:
    challenge = 'Bearer realm="aimline"'
    return f'{challenge}, error="invalid_token"' if "Authorization" in request.headers else challenge
