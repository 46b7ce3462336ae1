"""Runs a subscription: follows the change feed, and executes the document once for each event.

Each execution has a separate transaction. Before each execution, the caller is authorized again, and the execution
waits for its turn like a request.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from graphql import GraphQLError
from graphql.execution.collect_fields import collect_fields
from graphql.execution.values import get_argument_values, get_variable_values
from strawberry.types import ExecutionResult

from app.access.principal import Principal
from app.access.retry import run_with_retry
from app.access.work import required_permissions, unit
from app.core import ids
from app.core.errors import AimlineError
from app.core.fault_report import describe_fault
from app.events import feed
from app.events.models import Event
from app.events.stream import HEARTBEAT, FeedReader
from app.graphql.budget import Budget
from app.graphql.door import Installation, OperationContext, authorize
from app.graphql.execute import fragments_of
from app.graphql.limits import Limits, check_answer
from app.graphql.prepare import Prepared, Refused
from app.graphql.problems import cause_of, fault, is_fault, refusal, render_error
from app.graphql.request import BadRequest, Operation
from app.graphql.schema import execute_event, schema_of
from app.graphql.subscription import SOURCES, Source
from app.resources.run import forbidden

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials that the caller of a subscription sent, with the caller's address."""

    authorization: str | None
    act_for: str | None
    trace_id: str
    address: str | None = None

    @property
    def token(self) -> str | None:
        """Returns the bearer token in the Authorization header, or None without one."""
        scheme, _, token = (self.authorization or "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None


class Subscriber:
    """One subscription of one caller."""

    def __init__(
        self,
        installation: Installation,
        credentials: Credentials,
        prepared: Prepared,
        operation: Operation,
        limits: Limits,
    ) -> None:
        self._installation, self._credentials = installation, credentials
        self._prepared, self._operation, self._limits = prepared, operation, limits
        self._name, self._source, given = _field_of(prepared, operation)
        self._versions = feed.read_versions(given.get("version") or ())
        self._after: str | None = given.get("after")
        self._reader = FeedReader(
            installation.engine,
            installation.keyring,
            self._authorize,
            f"graphql subscription {self._name}",
            self._source.types_of(given),
            HEARTBEAT,
        )

    async def results(self) -> AsyncIterator[ExecutionResult | None]:
        """Yields the result for each event. Yields None at the beginning, and whenever no event has come for a while.

        For each None, a stream of server-sent events sends a comment that keeps the connection open. The caller of this
        method counts the subscription as one request in the quotas. If the subscription is refused, or the subscriber
        loses access, the error is raised and the subscription ends.
        """
        began, count = time.monotonic(), 0
        hub = self._installation.hub
        async with hub.readers:
            principal = await self._authorize()
        for can in required_permissions(self._source.require):
            if not principal.may(can):
                raise forbidden(can)
        try:
            with hub.subscribe(principal.district_id, principal.client_id) as subscription:
                async with hub.readers:
                    first = await self._reader.read(principal, self._after)
                yield None
                async for batch in self._reader.follow(hub, subscription, first):
                    for cursor, event in batch.events:
                        count += 1
                        yield await self._in_turn(cursor, event)
                    if batch.is_idle:
                        yield None
        finally:
            seconds = round(time.monotonic() - began, 1)
            district = ids.format_id("district", principal.district_id)
            log.info("subscription", field=self._name, district=district, events=count, seconds=seconds)

    async def _authorize(self) -> Principal:
        """Returns the principal with the rights that the caller has now."""
        return await authorize(self._installation, self._credentials.authorization, self._credentials.act_for)

    async def _in_turn(self, cursor: str, event: Event) -> ExecutionResult:
        admission = self._installation.admission
        requester = admission.identify(self._credentials.token, self._credentials.address)
        clock = asyncio.timeout(self._limits.seconds)
        try:
            async with clock:
                async with self._installation.hub.readers:
                    principal = await self._authorize()
                run = partial(run_with_retry, partial(self._run, principal, cursor, event), reads=True)
                return await admission.run_in_turn(requester, run)
        except TimeoutError:
            if not clock.expired():
                raise
            detail = "The document was not executed in time. Subscribe again with the cursor of the last event."
            raise AimlineError(detail, code="operation.timeout") from None

    async def _run(self, principal: Principal, cursor: str, event: Event) -> ExecutionResult:
        installation = self._installation
        async with unit(installation.engine, principal, installation.keyring, self._reader.operation) as work:
            await self._source.require(work)
            value = self._source.make(event, cursor, installation.base_url, self._versions)
            context = OperationContext(work, self._prepared, Budget(self._limits.cost), installation)
            try:
                result = await execute_event(context, self._operation, value)
            finally:
                await context.stop()
            if context.budget.exceeded is not None:
                raise context.budget.exceeded
            check_answer(result.data, self._limits)
            for error in result.errors or ():
                if is_fault(error):
                    raise cause_of(error)
            return result


def payload_of(result: ExecutionResult, trace_id: str) -> dict[str, Any]:
    """Returns the result for one event as a JSON object with the form of a GraphQL response."""
    payload: dict[str, Any] = {"data": result.data}
    if result.errors:
        payload["errors"] = [render_error(error, trace_id) for error in result.errors]
    return payload


def errors_of(error: Exception, trace_id: str) -> list[dict[str, Any]]:
    """Returns an error as the list of errors in the last response of a subscription.

    Logs the error if it is a fault.
    """
    if isinstance(error, Refused):
        return [render_error(each, trace_id) for each in error.errors]
    if isinstance(error, BadRequest):
        return [{"message": error.detail, "extensions": {"code": error.code, "traceId": trace_id}}]
    if isinstance(error, AimlineError):
        return [refusal(error, trace_id)]
    log.error("stream.fault", **describe_fault(error))
    return [fault(trace_id)]


def _field_of(prepared: Prepared, operation: Operation) -> tuple[str, Source, Mapping[str, Any]]:
    """Returns the name of the only field of a subscription, its source and its arguments.

    Raises `Refused` if the variables are invalid, if there is no known field, or if there are several fields.
    """
    schema = schema_of()
    root = schema.subscription_type
    definitions = prepared.operation.variable_definitions or ()
    variables = get_variable_values(schema, definitions, operation.variables or {})
    if isinstance(variables, list) or root is None:
        raise Refused(variables if isinstance(variables, list) else [])
    fields = collect_fields(schema, fragments_of(prepared), variables, root, prepared.operation).grouped_field_set
    nodes = [details[0].node for details in fields.values()]
    if len(nodes) != 1 or nodes[0].name.value not in SOURCES:
        raise Refused([GraphQLError("A subscription has one field.", [prepared.operation])])
    name = nodes[0].name.value
    return name, SOURCES[name], get_argument_values(root.fields[name], nodes[0], variables)
