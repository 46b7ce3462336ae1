"""Owns how events reach endpoints: dispatch, claim, record. Never holds a transaction over the network.

Claim, commit, then POST, then record in a new transaction that checks the fencing number: a worker that dies at any
point loses nothing, and a receiver may see an event twice, with the same id and the same bytes.

Longer than most: what is true of a delivery at any point of its course is seen only where the whole course is.
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
from app.core.ids import new_id, show
from app.core.lease import Claimed, JobOutcome, Lease, claim, save_outcomes
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
        raise TypeError("A leased model must be a table.")
    return table


LEASE = Lease(
    table=_table(WebhookDelivery),
    key="endpoint_id",
    keys=_table(WebhookEndpoint),
    at_once=16,
    length=timedelta(seconds=60),  # four times the longest POST
    ready="k.paused_at IS NULL AND (k.slowed_until IS NULL OR k.slowed_until <= now())",
    # One that only fails is tried and no more: many dead ones leave room for the others.
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
    """What delivering needs, made once a process."""

    engine: AsyncEngine
    keyring: Keyring
    sender: Sender
    base_url: str


@dataclass(frozen=True, slots=True)
class OutboundDelivery:
    """A claimed delivery with all that sending it takes. The secrets stay sealed until they sign."""

    district_id: UUID
    claimed: Claimed
    endpoint_id: UUID
    url: str
    secrets_sealed: tuple[str, ...]
    event: Event
    signature: Signature = Signature.HMAC
    versions: Mapping[str, int] = field(default_factory=dict)
    taken: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A POST that was made, and what came of it."""

    parcel: OutboundDelivery
    at: datetime
    outcome: Outcome


async def claim_batch(post: DeliveryContext, district_id: UUID, most: int) -> list[OutboundDelivery]:
    """Dispatches what is new in a district and claims up to `most` deliveries; committed when this returns."""
    principal = system_principal(district_id, PRINCIPAL)
    async with unit(post.engine, principal, post.keyring, "webhook delivery") as work:
        await dispatch(work)
        return await claim_deliveries(work, most)


async def send(post: DeliveryContext, parcel: OutboundDelivery) -> Attempt:
    """Posts a parcel, signed. What came of it is still to be recorded."""
    # By the database's clock: receivers refuse what a machine signs whose own is minutes off.
    at = parcel.claimed.row["claimed_at"] + timedelta(seconds=time.monotonic() - parcel.taken)
    try:
        secrets = [
            post.keyring.open(sealed, "webhook_endpoint", parcel.district_id, parcel.endpoint_id)
            for sealed in parcel.secrets_sealed
        ]
    except KeyFault:
        return Attempt(parcel, at, Outcome(None, "secret_unreadable", 0))
    body = orjson.dumps(render.body(parcel.event, post.base_url, parcel.versions))
    headers = sign.headers(secrets, show("event", parcel.event.id), at, body, parcel.signature)
    return Attempt(parcel, at, await post.sender.post(parcel.url, body, headers))


async def record(post: DeliveryContext, district_id: UUID, attempts: Sequence[Attempt]) -> None:
    """Records attempts of one district in a transaction of their own."""
    principal = system_principal(district_id, PRINCIPAL)
    async with unit(post.engine, principal, post.keyring, "webhook attempt") as work:
        await record_attempts(work, attempts)


@needs(Can.DELIVER_WEBHOOKS)
async def dispatch(work: Work) -> int:
    """Makes a delivery for each new event and each endpoint that it is for; the number of deliveries.

    The upper bound is read before the endpoints are: an endpoint that is made meanwhile may see an event of this
    round, and no event that commits after it is passed over.
    """
    here = WebhookPosition.district_id == work.district_id
    behind = select(EventCounter.last).join(WebhookPosition, EventCounter.last > WebhookPosition.seq)
    last = await work.db.scalar(behind.where(here, EventCounter.district_id == work.district_id))
    if last is None:
        return 0
    position = await work.db.scalar(select(WebhookPosition.seq).where(here).with_for_update())
    if position is None or last <= position:
        return 0
    upto = min(last, position + EVENTS_AT_ONCE)
    pairs = (await work.db.execute(matches(work.district_id, position, upto))).all()
    if pairs:
        await work.db.execute(*insert_deliveries(work.district_id, pairs))
    await work.db.execute(update(WebhookPosition).where(here).values(seq=upto))
    return len(pairs)


@needs(Can.DELIVER_WEBHOOKS)
async def claim_deliveries(work: Work, most: int) -> list[OutboundDelivery]:
    """Claims deliveries that are due, at most so many an endpoint at once. Each is logged as a disclosure.

    What is for an endpoint that is no more, tells of an event that is kept no longer, or has used up its attempts in
    crashes, ends here.
    """
    claimed = await claim(work.db, LEASE, work.district_id, most)
    if not claimed:
        return []
    endpoints, events = await _contents(work, claimed)
    parcels, ended = [], []
    for ours in sorted(claimed, key=lambda one: int(one.row["event_seq"])):
        endpoint, event = endpoints[ours.row["endpoint_id"]], events.get(ours.row["event_seq"])
        if event is None or endpoint.removed_at or endpoint.disabled_at or _turn(ours) > len(schedule.DELAYS):
            ended.append(JobOutcome(ours, DeliveryState.FAILED.value))
        else:
            parcels.append(_parcel(ours, endpoint, event))
    if ended:
        await save_outcomes(work.db, LEASE, work.district_id, ended)
    told: dict[UUID | None, set[UUID]] = defaultdict(set)
    for parcel in parcels:
        if parcel.event.student_id is not None:
            told[endpoints[parcel.endpoint_id].created_by].add(parcel.event.student_id)
    for client_id, students in told.items():
        log_sent(work, client_id, students, "event")
    return parcels


@needs(Can.DELIVER_WEBHOOKS)
async def record_attempts(work: Work, attempts: Sequence[Attempt]) -> set[UUID]:
    """Logs attempts and moves their deliveries on; the ids of the deliveries that were moved.

    An attempt whose lease ended and was taken up by another is in the log, and its delivery stays as the other
    leaves it.
    """
    await work.db.execute(text(LOG), _columns(work.district_id, attempts))
    settled, told = [], {}
    for attempt in attempts:
        ours, outcome = attempt.parcel.claimed, attempt.outcome
        asked = schedule.retry_after(outcome.retry_after, attempt.at)
        follows = schedule.next_step(_turn(ours), outcome.status, random.random(), asked)
        settled.append(JobOutcome(ours, STATES[follows.meaning].value, follows.wait))
        told[ours.id] = (attempt, follows)
    held = await save_outcomes(work.db, LEASE, work.district_id, settled)
    by_endpoint: dict[UUID, list[tuple[Attempt, NextStep]]] = defaultdict(list)
    for delivery_id in held:
        by_endpoint[told[delivery_id][0].parcel.endpoint_id].append(told[delivery_id])
    failing = await _failing(work, list(by_endpoint))
    for endpoint_id in sorted(by_endpoint):  # one order for all, so that two workers never wait for each other
        some = by_endpoint[endpoint_id]
        if endpoint_id in failing or any(follows.meaning is not Meaning.DELIVERED for _, follows in some):
            await _note(work, endpoint_id, some)
    return held


async def _failing(work: Work, endpoint_ids: list[UUID]) -> set[UUID]:
    """Which of these endpoints are known to fail: for the others a success changes nothing, and writes nothing."""
    found = await work.db.scalars(
        select(WebhookEndpoint.id).where(
            WebhookEndpoint.district_id == work.district_id,
            WebhookEndpoint.id == any_(cast(endpoint_ids, ARRAY(PgUUID))),
            WebhookEndpoint.failing_since.is_not(None),
        )
    )
    return set(found)


def _turn(claimed: Claimed) -> int:
    """Which attempt this is since the delivery was last asked for, from 1."""
    return claimed.number - int(claimed.row["asked_after"])


def _parcel(ours: Claimed, endpoint: WebhookEndpoint, event: Event) -> OutboundDelivery:
    how, versions = Signature(endpoint.signature), endpoint.versions
    return OutboundDelivery(
        endpoint.district_id, ours, endpoint.id, endpoint.url, _secrets(endpoint), event, how, versions
    )


def _secrets(endpoint: WebhookEndpoint) -> tuple[str, ...]:
    """The secret, and while it is being replaced the one before it."""
    if endpoint.former_sealed is None or endpoint.former_until is None or endpoint.former_until <= now():
        return (endpoint.secret_sealed,)
    return (endpoint.secret_sealed, endpoint.former_sealed)


async def _contents(work: Work, claimed: Sequence[Claimed]) -> tuple[dict[UUID, WebhookEndpoint], dict[int, Event]]:
    """The endpoints and events of claimed deliveries, each by its key: a join here was planned badly."""
    ids = cast(list({one.row["endpoint_id"] for one in claimed}), ARRAY(PgUUID))
    numbers = cast(list({one.row["event_seq"] for one in claimed}), ARRAY(BigInteger))
    endpoints = await work.db.scalars(
        select(WebhookEndpoint).where(WebhookEndpoint.district_id == work.district_id, WebhookEndpoint.id == any_(ids))
    )
    events = await work.db.scalars(
        select(Event).where(Event.district_id == work.district_id, Event.seq == any_(numbers))
    )
    return {one.id: one for one in endpoints}, {one.seq: one for one in events}


def _columns(district_id: UUID, attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {
        "district": district_id,
        "ids": [new_id() for _ in attempts],
        "deliveries": [attempt.parcel.claimed.id for attempt in attempts],
        "numbers": [attempt.parcel.claimed.number for attempt in attempts],
        "instants": [attempt.at for attempt in attempts],
        "took": [attempt.outcome.milliseconds for attempt in attempts],
        "statuses": [attempt.outcome.status for attempt in attempts],
        "failures": [attempt.outcome.failure for attempt in attempts],
        "answers": [attempt.outcome.answer for attempt in attempts],
        "private": [attempt.outcome.private for attempt in attempts],
    }


async def _note(work: Work, endpoint_id: UUID, told: Sequence[tuple[Attempt, NextStep]]) -> None:
    """Writes on an endpoint how it does: failing since when, how long it rests, and whether it is given up."""
    found = await work.db.scalar(
        select(WebhookEndpoint)
        .where(WebhookEndpoint.district_id == work.district_id, WebhookEndpoint.id == endpoint_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if found is None or found.disabled_at is not None:
        return
    at = now()
    if any(follows.meaning is Meaning.DELIVERED for _, follows in told):
        found.failing_since = None
    elif found.failing_since is None:
        found.failing_since = min(attempt.at for attempt, _ in told)
    rests = [follows.rest for _, follows in told if follows.rest is not None]
    if rests:
        found.slowed_until = max(at + max(rests), found.slowed_until or at)
    if any(follows.meaning is Meaning.DISABLE for _, follows in told):
        _disable(work, found, "answered_gone")
    elif found.failing_since is not None and schedule.has_failed_too_long(found.failing_since, at):
        _disable(work, found, "failed_for_days")
    await work.db.flush()


def _disable(work: Work, endpoint: WebhookEndpoint, because: str) -> None:
    """It gets nothing more, and nothing of its log is deleted; the feed and the other endpoints are told."""
    endpoint.disabled_at, endpoint.disabled_because = now(), because
    endpoint.version += 1
    record_event(work, NewEvent(ENDPOINT_DISABLED, endpoint.id, endpoint.version, {}))
