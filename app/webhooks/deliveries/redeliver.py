"""Owns what is sent again, or once more for a test. Never sends: it lays deliveries that are due."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, and_, func, or_, select, text, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict
from app.core.ids import new_id
from app.events.catalogue import ENDPOINT_TESTED, NewEvent
from app.events.models import Event, EventCounter
from app.events.outbox import record
from app.webhooks.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from app.webhooks.queries import LoggedDelivery, delivery, endpoint, matches

MISSING_AT_ONCE = 1000

LAY = text(
    """INSERT INTO webhook_delivery
           (district_id, id, event_seq, event_id, endpoint_id, state, due, attempts, asked_after, created_at)
       SELECT :district, id, seq, event, endpoint, 'pending', now(), 0, 0, now()
       FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS bigint[]), CAST(:events AS uuid[]),
                   CAST(:endpoints AS uuid[])) AS made (id, seq, event, endpoint)
       ON CONFLICT DO NOTHING"""
)


@needs(Can.MANAGE_WEBHOOKS)
async def send_test(work: Work, endpoint_id: UUID) -> UUID:
    """Lays `endpoint.tested` for this endpoint alone, whatever types it takes; the event's id.

    Raises `NotFound`; `Conflict` where nothing is sent to it.
    """
    found = await _open(work, endpoint_id)
    return record(work, NewEvent(ENDPOINT_TESTED, found.id, found.version, {}))


@needs(Can.MANAGE_WEBHOOKS)
async def resend(work: Work, endpoint_id: UUID, delivery_id: UUID) -> LoggedDelivery:
    """Sends one delivery again, whatever came of it, with the same id and body. Raises `NotFound`, `Conflict`.

    One that is on its way at this moment is left alone.
    """
    await _open(work, endpoint_id)
    await delivery(work, endpoint_id, delivery_id)
    await work.db.execute(
        _again(work.district_id).where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.id == delivery_id)
    )
    return await delivery(work, endpoint_id, delivery_id)


@needs(Can.MANAGE_WEBHOOKS)
async def replay_failed(work: Work, endpoint_id: UUID, since: datetime) -> int:
    """Sends again all that failed for good since an instant; how many deliveries. Raises `NotFound`, `Conflict`."""
    await _open(work, endpoint_id)
    mine = (WebhookDelivery.district_id == work.district_id, WebhookDelivery.endpoint_id == endpoint_id)
    # Through the events: row-level security leaves out those that the caller cannot read.
    failed = (
        select(WebhookDelivery.id)
        .join(Event, and_(Event.district_id == work.district_id, Event.seq == WebhookDelivery.event_seq))
        .where(*mine, WebhookDelivery.state == DeliveryState.FAILED.value, Event.at >= since)
    )
    again = _again(work.district_id).where(*mine, WebhookDelivery.id.in_(failed)).returning(WebhookDelivery.id)
    return len((await work.db.scalars(again)).all())


@needs(Can.MANAGE_WEBHOOKS)
async def replay_missing(work: Work, endpoint_id: UUID, since: datetime) -> int:
    """Sends what happened since an instant and was never meant for this endpoint until now; how many deliveries.

    That is what happened before it was made, or while it was disabled; oldest first, at most 1,000 at a time. Raises
    `NotFound`, `Conflict`.
    """
    await _open(work, endpoint_id)
    last = select(EventCounter.last).where(EventCounter.district_id == work.district_id)
    upto = (await work.db.scalars(last)).one()
    query = matches(work.district_id, 0, upto, again=endpoint_id).where(Event.at >= since)
    pairs = (await work.db.execute(query.limit(MISSING_AT_ONCE))).all()
    if pairs:
        await work.db.execute(*insert_deliveries(work.district_id, pairs))
    return len(pairs)


def insert_deliveries(district_id: UUID, pairs: Sequence[Row[int, UUID, UUID]]) -> tuple[TextClause, dict[str, Any]]:
    """The statement and its values, for deliveries that begin: of events, by number and id, to endpoints."""
    numbers, events, endpoints = zip(*pairs, strict=True)
    ids = [new_id() for _ in pairs]
    return LAY, {
        "district": district_id,
        "ids": ids,
        "numbers": list(numbers),
        "events": list(events),
        "endpoints": list(endpoints),
    }


def _again(district_id: UUID) -> Any:
    """Deliveries that nobody holds are due now, and their waits begin anew."""
    free = or_(WebhookDelivery.leased_until.is_(None), WebhookDelivery.leased_until <= func.now())
    return (
        update(WebhookDelivery)
        .where(WebhookDelivery.district_id == district_id, free)
        .values(
            state=DeliveryState.PENDING.value,
            due=func.now(),
            asked_after=WebhookDelivery.attempts,
            leased_until=None,
            ended_at=None,
        )
    )


async def _open(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """The endpoint, to which something can be sent now; raises `NotFound`, `Conflict`."""
    found = await endpoint(work, endpoint_id)
    if found.disabled_at is not None or found.paused_at is not None:
        raise Conflict("Nothing is sent to this endpoint: resume it first.", code="endpoint.closed")
    return found
