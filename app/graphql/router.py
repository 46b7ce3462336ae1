"""Serves GraphQL over HTTP, with one transaction per operation.

The text of an operation is parsed and checked before a unit of work opens. The commit happens before the response
starts. A fault, or an exceeded time limit, undoes the whole operation. The text of a fault is not shown. The page with
GraphiQL belongs to the REST API, which serves all pages.
"""

import asyncio
from collections.abc import Collection
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import Response
from fastapi.routing import APIRoute
from graphql import GraphQLError
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.types import ExecutionResult

from app.access.principal import Principal
from app.access.retry import run_with_retry
from app.access.work import unit
from app.core.errors import AimlineError, AnswerTooLarge
from app.core.faults import ChangedMeanwhile, fault_of
from app.graphql.answer import Answer
from app.graphql.budget import Budget
from app.graphql.door import Installation, OperationContext, client_of, principal_of
from app.graphql.events_stream import stream_events
from app.graphql.introspection import introspect, is_introspection
from app.graphql.limits import Limits, TooMuch, check_answer
from app.graphql.open_sockets import OpenSockets
from app.graphql.prepare import Preparation, Prepared, Refused
from app.graphql.problems import cause_of, fault, is_fault, log_fault
from app.graphql.repetition import Repetition, repetition_of
from app.graphql.request import BadRequest, Operation, media_type, operation_of, takes_events
from app.graphql.schema import execute, preparation
from app.graphql.socket import serve_socket
from app.graphql.subjects import named_subjects

PATH, METHODS = "/graphql", ("GET", "POST")


class _Faulted(Exception):
    """Raised if a result contains an internal fault, so that the unit of work is rolled back.

    `result` is the result that contains the fault.
    """

    def __init__(self, result: ExecutionResult) -> None:
        super().__init__()
        self.result = result


class _Stopped(Exception):
    """Raised when an operation has used up the time that it may take."""


def graphql_router(installation: Installation, limits: Limits = Limits()) -> APIRouter:
    """Returns the router with the API's only route, /graphql."""
    router = APIRouter()
    prepare, sockets = preparation(limits), OpenSockets()

    @router.websocket(PATH)
    async def subscriptions(websocket: WebSocket) -> None:
        await serve_socket(websocket, installation, prepare, sockets)

    @router.api_route(PATH, methods=list(METHODS), include_in_schema=False, name="graphql")
    async def graphql(request: Request) -> Response:
        answer = Answer(str(getattr(request.state, "trace_id", "")), limits)
        return await _respond(request, installation, prepare, answer)

    return router


class RoutedFirst:
    """Middleware that answers requests to /graphql without the web framework's routing.

    The framework would compare each request with several hundred routes, and handle it in layers for dependencies and
    errors that this route does not use. Together, this takes as long as a small query.
    """

    def __init__(self, app: ASGIApp, router: APIRouter) -> None:
        self._app = app
        (self._route,) = (route for route in router.routes if isinstance(route, APIRoute))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] not in METHODS:
            await self._app(scope, receive, send)
            return
        scope["route"] = self._route  # names the route in the log and the metrics
        answer: Response = await self._route.endpoint(Request(scope, receive))
        await answer(scope, receive, send)


async def _respond(request: Request, installation: Installation, prepare: Preparation, answer: Answer) -> Response:
    try:
        if takes_events(request):
            return await stream_events(request, installation, prepare, answer.trace_id)
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
    except (TooMuch, AnswerTooLarge) as error:
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
    answer = Answer(str(getattr(request.state, "trace_id", "")), Limits())
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

    late: set[UUID] = set()

    async def attempt(principal: Principal, repetition: Repetition | None) -> ExecutionResult:
        clock.reschedule(deadline)
        async with installation.writers.turn(writes=prepared.writes):
            try:
                return await _run(installation, principal, operation, prepared, clock, limits, repetition, late)
            except ChangedMeanwhile as error:
                late.update(error.students)
                raise

    try:
        async with clock:
            principal = await run_with_retry(partial(principal_of, request, installation, client), reads=True)
            if is_introspection(prepared.operation):
                return await introspect(prepare.schema, operation, prepared, limits)
            repetition = repetition_of(prepare.schema, prepared, operation, principal)
            run = partial(
                run_with_retry,
                partial(attempt, principal, repetition),
                reads=not prepared.writes,
                is_keyed=lambda: repetition is not None and repetition.is_whole,
            )
            return await run()
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
    late: Collection[UUID],
) -> ExecutionResult:
    """Runs the operation in one unit of work, which is committed when this function returns the result.

    `clock` is the operation's time limit, which no longer applies once the commit begins. `late` has the ids of the
    students that an earlier attempt could not lock in time. They are locked first.
    """
    async with unit(installation.engine, principal, installation.keyring, "graphql") as work:
        names = named_subjects(prepared, operation.variables, is_second_attempt=bool(late))
        work.named_subjects = work.named_rows = work.named_measures = names
        work.late_students = frozenset(late)
        if repetition is not None:
            await repetition.load_answers(work)
            prepared = repetition.remaining(prepared)
        context = OperationContext(work, prepared, Budget(limits.cost), installation)
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
