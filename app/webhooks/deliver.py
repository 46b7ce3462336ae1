"""Delivers events to endpoints in four steps: create deliveries, claim them, send them, record the attempts.

Never keeps a transaction open during a network request. First the delivery is claimed and the claim is committed. Then
the event is sent by POST. Finally the result is recorded in a new transaction. If another worker has claimed the
delivery since, the state of the delivery stays as it is. A worker that crashes at any point loses nothing. A receiver
may get an event twice, with the same id and the same bytes.

This file exceeds 250 lines because the correctness of a delivery depends on all steps together.
"""

import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import BigInteger, Table, any_, cast, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.audit import log_sent
from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.clock import now
from app.core.crypto import KeyFault, Keyring
from app.core.fault_report import summarize_fault
from app.core.ids import format_id, new_id
from app.core.jobs import ClaimedJob, JobOutcome, JobTable, claim, save_outcomes
from app.events import render
from app.events.catalogue import ENDPOINT_DISABLED, NewEvent
from app.events.models import Event, EventCounter
from app.events.outbox import record as record_event
from app.webhooks import schedule, sign
from app.webhooks.deliveries.redeliver import insert_deliveries
from app.webhooks.models import (
    DeliveryState,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookPosition,
)
from app.webhooks.queries import matches
from app.webhooks.schedule import Meaning, NextStep
from app.webhooks.send import Outcome, Sender
from app.webhooks.sign import Signature

EVENTS_AT_ONCE = 500
PRINCIPAL = "worker"


def _table(model: type[WebhookDelivery] | type[WebhookEndpoint]) -> Table:
    table = model.__table__
    if not isinstance(table, Table):
        raise TypeError("A job table's model must be a table.")
    return table


DELIVERIES = JobTable(
    table=_table(WebhookDelivery),
    key="endpoint_id",
    keys=_table(WebhookEndpoint),
    at_once=16,
    length=timedelta(seconds=60),  # This is four times the longest possible POST.
    ready="k.paused_at IS NULL AND (k.slowed_until IS NULL OR k.slowed_until <= now())",
    # A failing endpoint is only probed, so that dead endpoints leave room for the others.
    ailing="k.failing_since IS NOT NULL",
    at_once_ailing=2,
)

LOG = """
INSERT INTO webhook_attempt (district_id, id, delivery_id, number, at, milliseconds, status, failure, answer,
                             from_private_network)
SELECT :district, v.*
FROM unnest(CAST(:ids AS uuid[]), CAST(:deliveries AS uuid[]), CAST(:numbers AS integer[]),
            CAST(:instants AS timestamptz[]), CAST(:took AS integer[]), CAST(:statuses AS integer[]),
            CAST(:failures AS text[]), CAST(:answers AS text[]), CAST(:private AS boolean[])) AS v
ON CONFLICT DO NOTHING
"""

STATES = {
    Meaning.DELIVERED: DeliveryState.DELIVERED,
    Meaning.RETRY: DeliveryState.PENDING,
    Meaning.FAILED: DeliveryState.FAILED,
    Meaning.DISABLE: DeliveryState.FAILED,
}


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """The objects that a process needs to send deliveries, such as its database engine. They are created once."""

    engine: AsyncEngine
    keyring: Keyring
    sender: Sender
    base_url: str


@dataclass(frozen=True, slots=True)
class OutboundDelivery:
    """A delivery that this worker has claimed, with everything needed to send it. Its secrets are still encrypted."""

    district_id: UUID
    claimed: ClaimedJob
    endpoint_id: UUID
    url: str
    secrets_sealed: tuple[str, ...]
    event: Event
    signature: Signature = Signature.HMAC
    versions: Mapping[str, int] = field(default_factory=dict)
    taken: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver: the delivery, and the result of its POST."""

    delivery: OutboundDelivery
    at: datetime
    outcome: Outcome


async def claim_batch(context: DeliveryContext, district_id: UUID, most: int) -> list[OutboundDelivery]:
    """Creates the deliveries of a district's new events, then claims and returns up to `most` deliveries.

    Commits the new deliveries and the claims before it returns.
    """
    principal = system_principal(district_id, PRINCIPAL)
    async with unit(context.engine, principal, context.keyring, "webhook delivery") as work:
        await dispatch(work)
        return await claim_deliveries(work, most)


async def send(context: DeliveryContext, delivery: OutboundDelivery) -> Attempt:
    """Signs a delivery and sends it by POST. Returns the attempt with its outcome, which the caller must record."""
    # The timestamp follows the database's clock, because receivers refuse one that is minutes off.
    at = delivery.claimed.claimed_at + timedelta(seconds=time.monotonic() - delivery.taken)
    try:
        secrets = [
            context.keyring.open(sealed, "webhook_endpoint", delivery.district_id, delivery.endpoint_id)
            for sealed in delivery.secrets_sealed
        ]
    except KeyFault:
        return Attempt(delivery, at, Outcome(None, "secret_unreadable", 0))
    body = orjson.dumps(render.body(delivery.event, context.base_url, delivery.versions))
    headers = sign.headers(secrets, format_id("event", delivery.event.id), at, body, delivery.signature)
    return Attempt(delivery, at, await context.sender.post(delivery.url, body, headers))


async def record(context: DeliveryContext, district_id: UUID, attempts: Sequence[Attempt]) -> None:
    """Records attempts to send deliveries, all of one district, in a transaction of its own."""
    principal = system_principal(district_id, PRINCIPAL)
    async with unit(context.engine, principal, context.keyring, "webhook attempt") as work:
        await record_attempts(work, attempts)


async def record_fault(context: DeliveryContext, delivery: OutboundDelivery, error: Exception) -> None:
    """Plans the next attempt of a delivery that could not be sent because of a fault in this program."""
    follows = schedule.next_step(delivery.claimed.attempts, None, random.random())
    outcome = JobOutcome(delivery.claimed, STATES[follows.meaning], follows.wait, summarize_fault(error))
    principal = system_principal(delivery.district_id, PRINCIPAL)
    async with unit(context.engine, principal, context.keyring, "webhook attempt") as work:
        await _save(work, [outcome])


@needs(Can.DELIVER_WEBHOOKS)
async def _save(work: Work, outcomes: Sequence[JobOutcome]) -> set[UUID]:
    return await save_outcomes(work.db, DELIVERIES, work.district_id, outcomes)


@needs(Can.DELIVER_WEBHOOKS)
async def dispatch(work: Work) -> int:
    """Creates a delivery for each new event and each endpoint that receives it. Returns the number of deliveries.

    Reads the number of the newest event before it reads the endpoints. An endpoint that is created between these two
    reads may therefore receive some of the events up to that number. It receives all later events.
    """
    of_district = WebhookPosition.district_id == work.district_id
    behind = select(EventCounter.last).join(WebhookPosition, EventCounter.last > WebhookPosition.seq)
    last = await work.db.scalar(behind.where(of_district, EventCounter.district_id == work.district_id))
    if last is None:
        return 0
    position = await work.db.scalar(select(WebhookPosition.seq).where(of_district).with_for_update())
    if position is None or last <= position:
        return 0
    upto = min(last, position + EVENTS_AT_ONCE)
    pairs = (await work.db.execute(matches(work.district_id, position, upto))).all()
    if pairs:
        await work.db.execute(*insert_deliveries(work.district_id, pairs))
    await work.db.execute(update(WebhookPosition).where(of_district).values(seq=upto))
    return len(pairs)


@needs(Can.DELIVER_WEBHOOKS)
async def claim_deliveries(work: Work, most: int) -> list[OutboundDelivery]:
    """Claims up to `most` due deliveries, and returns those of them that can be sent.

    Only a few may be claimed at once for each endpoint (`DELIVERIES`). If an event to be sent is about a student, the
    disclosure log gets a row for the client that created the endpoint. A claimed delivery fails without being sent if
    its endpoint was removed or disabled, if its event was deleted, or if crashes have used up its attempts.
    """
    claimed = await claim(work.db, DELIVERIES, work.district_id, most)
    if not claimed:
        return []
    endpoints, events = await _contents(work, claimed)
    outbound, outcomes = [], []
    for job in sorted(claimed, key=lambda job: int(job.row["event_seq"])):
        endpoint, event = endpoints[job.row["endpoint_id"]], events.get(job.row["event_seq"])
        if event is None or endpoint.removed_at or endpoint.disabled_at or job.attempts > len(schedule.DELAYS):
            outcomes.append(JobOutcome(job, DeliveryState.FAILED.value))
        else:
            outbound.append(_outbound(job, endpoint, event))
    if outcomes:
        await _save(work, outcomes)
    students_by_client: dict[UUID | None, set[UUID]] = defaultdict(set)
    for delivery in outbound:
        if delivery.event.student_id is not None:
            students_by_client[endpoints[delivery.endpoint_id].created_by].add(delivery.event.student_id)
    for client_id, students in students_by_client.items():
        log_sent(work, client_id, students, "event")
    return outbound


@needs(Can.DELIVER_WEBHOOKS)
async def record_attempts(work: Work, attempts: Sequence[Attempt]) -> set[UUID]:
    """Logs attempts and updates their deliveries. Returns the ids of the updated deliveries.

    A delivery is not updated if the lease expired during the attempt and another worker has claimed it since.
    """
    await work.db.execute(text(LOG), _columns(work.district_id, attempts))
    outcomes, steps_by_delivery = [], {}
    for attempt in attempts:
        job, outcome = attempt.delivery.claimed, attempt.outcome
        requested_wait = schedule.retry_after(outcome.retry_after, attempt.at)
        follows = schedule.next_step(job.attempts, outcome.status, random.random(), requested_wait)
        outcomes.append(JobOutcome(job, STATES[follows.meaning].value, follows.wait))
        steps_by_delivery[job.id] = (attempt, follows)
    updated = await _save(work, outcomes)
    by_endpoint: dict[UUID, list[tuple[Attempt, NextStep]]] = defaultdict(list)
    for delivery_id in updated:
        by_endpoint[steps_by_delivery[delivery_id][0].delivery.endpoint_id].append(steps_by_delivery[delivery_id])
    failing = await _failing(work, list(by_endpoint))
    for endpoint_id in sorted(by_endpoint):  # a fixed order, so that two workers never deadlock
        results = by_endpoint[endpoint_id]
        if endpoint_id in failing or any(follows.meaning is not Meaning.DELIVERED for _, follows in results):
            await _update_health(work, endpoint_id, results)
    return updated


async def _failing(work: Work, endpoint_ids: list[UUID]) -> set[UUID]:
    """Returns the ids of those endpoints that are marked as failing: no attempt has succeeded since a failure.

    After a successful attempt, only such endpoints need an update.
    """
    ids = await work.db.scalars(
        select(WebhookEndpoint.id).where(
            WebhookEndpoint.district_id == work.district_id,
            WebhookEndpoint.id == any_(cast(endpoint_ids, ARRAY(PgUUID))),
            WebhookEndpoint.failing_since.is_not(None),
        )
    )
    return set(ids)


def _outbound(job: ClaimedJob, endpoint: WebhookEndpoint, event: Event) -> OutboundDelivery:
    signature, versions = Signature(endpoint.signature), endpoint.versions
    return OutboundDelivery(
        endpoint.district_id, job, endpoint.id, endpoint.url, _secrets(endpoint), event, signature, versions
    )


def _secrets(endpoint: WebhookEndpoint) -> tuple[str, ...]:
    """Returns the encrypted secret of an endpoint, and during a rotation also the previous one."""
    if endpoint.former_sealed is None or endpoint.former_until is None or endpoint.former_until <= now():
        return (endpoint.secret_sealed,)
    return (endpoint.secret_sealed, endpoint.former_sealed)


async def _contents(work: Work, claimed: Sequence[ClaimedJob]) -> tuple[dict[UUID, WebhookEndpoint], dict[int, Event]]:
    """Returns the endpoints of claimed deliveries, keyed by id, and the events to send, keyed by number.

    Uses two queries, because PostgreSQL chose a slow plan for a join.
    """
    ids = cast(list({job.row["endpoint_id"] for job in claimed}), ARRAY(PgUUID))
    numbers = cast(list({job.row["event_seq"] for job in claimed}), ARRAY(BigInteger))
    endpoints = await work.db.scalars(
        select(WebhookEndpoint).where(WebhookEndpoint.district_id == work.district_id, WebhookEndpoint.id == any_(ids))
    )
    events = await work.db.scalars(
        select(Event).where(Event.district_id == work.district_id, Event.seq == any_(numbers))
    )
    return {endpoint.id: endpoint for endpoint in endpoints}, {event.seq: event for event in events}


def _columns(district_id: UUID, attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {
        "district": district_id,
        "ids": [new_id() for _ in attempts],
        "deliveries": [attempt.delivery.claimed.id for attempt in attempts],
        "numbers": [attempt.delivery.claimed.claim_number for attempt in attempts],
        "instants": [attempt.at for attempt in attempts],
        "took": [attempt.outcome.milliseconds for attempt in attempts],
        "statuses": [attempt.outcome.status for attempt in attempts],
        "failures": [attempt.outcome.failure for attempt in attempts],
        "answers": [attempt.outcome.answer for attempt in attempts],
        "private": [attempt.outcome.private for attempt in attempts],
    }


async def _update_health(work: Work, endpoint_id: UUID, results: Sequence[tuple[Attempt, NextStep]]) -> None:
    """Updates the state of an endpoint after attempts to send to it.

    The state is the time of the first failure since the last success (`failing_since`), the time before which nothing
    is sent to the endpoint (`slowed_until`), and whether the endpoint is disabled.
    """
    row = await work.db.scalar(
        select(WebhookEndpoint)
        .where(WebhookEndpoint.district_id == work.district_id, WebhookEndpoint.id == endpoint_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if row is None or row.disabled_at is not None:
        return
    instant = now()
    if any(follows.meaning is Meaning.DELIVERED for _, follows in results):
        row.failing_since = None
    elif row.failing_since is None:
        row.failing_since = min(attempt.at for attempt, _ in results)
    pauses = [follows.rest for _, follows in results if follows.rest is not None]
    if pauses:
        row.slowed_until = max(instant + max(pauses), row.slowed_until or instant)
    if any(follows.meaning is Meaning.DISABLE for _, follows in results):
        _disable(work, row, "answered_gone")
    elif row.failing_since is not None and schedule.has_failed_too_long(row.failing_since, instant):
        _disable(work, row, "failed_for_days")
    await work.db.flush()


def _disable(work: Work, endpoint: WebhookEndpoint, because: str) -> None:
    """Disables an endpoint and keeps its log of deliveries. Emits an event about this."""
    endpoint.disabled_at, endpoint.disabled_because = now(), because
    endpoint.version += 1
    record_event(work, NewEvent(ENDPOINT_DISABLED, endpoint.id, endpoint.version, {}))
