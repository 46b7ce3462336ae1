"""Creates deliveries for events, makes existing deliveries due again on request, and records test events.

Does not send requests itself.
"""

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

INSERT_DELIVERIES = text(
    """INSERT INTO webhook_delivery
           (district_id, id, event_seq, event_id, endpoint_id, state, due, claim_number, attempts, created_at)
       SELECT :district, id, seq, event, endpoint, 'pending', now(), 0, 0, now()
       FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS bigint[]), CAST(:events AS uuid[]),
                   CAST(:endpoints AS uuid[])) AS made (id, seq, event, endpoint)
       ON CONFLICT DO NOTHING"""
)


@needs(Can.MANAGE_WEBHOOKS)
async def send_test(work: Work, endpoint_id: UUID) -> UUID:
    """Records a test event, which only this endpoint receives, whatever its event types. Returns the event's id.

    Raises `NotFound`, or `Conflict` if the endpoint is paused or disabled.
    """
    row = await _require_active(work, endpoint_id)
    return record(work, NewEvent(ENDPOINT_TESTED, row.id, row.version, {}))


@needs(Can.MANAGE_WEBHOOKS)
async def resend(work: Work, endpoint_id: UUID, delivery_id: UUID) -> LoggedDelivery:
    """Makes one delivery due again, whatever its state. The endpoint gets it with the same id and body as before.

    A delivery that is being sent at this moment is not changed. Raises `NotFound` or `Conflict`.
    """
    await _require_active(work, endpoint_id)
    await delivery(work, endpoint_id, delivery_id)
    await work.db.execute(
        _reschedule(work.district_id).where(
            WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.id == delivery_id
        )
    )
    return await delivery(work, endpoint_id, delivery_id)


@needs(Can.MANAGE_WEBHOOKS)
async def replay_failed(work: Work, endpoint_id: UUID, since: datetime) -> int:
    """Makes the failed deliveries to an endpoint due again, for events from `since` on. Returns their number.

    Raises `NotFound` or `Conflict`.
    """
    await _require_active(work, endpoint_id)
    of_endpoint = (WebhookDelivery.district_id == work.district_id, WebhookDelivery.endpoint_id == endpoint_id)
    # Joined with events, so that row-level security excludes deliveries whose events the caller cannot read.
    failed = (
        select(WebhookDelivery.id)
        .join(Event, and_(Event.district_id == work.district_id, Event.seq == WebhookDelivery.event_seq))
        .where(*of_endpoint, WebhookDelivery.state == DeliveryState.FAILED.value, Event.at >= since)
    )
    rescheduled = (
        _reschedule(work.district_id).where(*of_endpoint, WebhookDelivery.id.in_(failed)).returning(WebhookDelivery.id)
    )
    return len((await work.db.scalars(rescheduled)).all())


@needs(Can.MANAGE_WEBHOOKS)
async def replay_missing(work: Work, endpoint_id: UUID, since: datetime) -> int:
    """Creates the deliveries that an endpoint lacks for events from `since` on. Returns their number.

    An endpoint lacks deliveries for events from before it was created and from the time while it was disabled. At most
    1,000 deliveries are created per call, for the oldest events first. Raises `NotFound` or `Conflict`.
    """
    await _require_active(work, endpoint_id)
    last = select(EventCounter.last).where(EventCounter.district_id == work.district_id)
    upto = (await work.db.scalars(last)).one()
    query = matches(work.district_id, 0, upto, replayed_to=endpoint_id).where(Event.at >= since)
    pairs = (await work.db.execute(query.limit(MISSING_AT_ONCE))).all()
    if pairs:
        await work.db.execute(*insert_deliveries(work.district_id, pairs))
    return len(pairs)


def insert_deliveries(district_id: UUID, pairs: Sequence[Row[int, UUID, UUID]]) -> tuple[TextClause, dict[str, Any]]:
    """Returns the SQL statement that inserts deliveries, and its parameters.

    Each row in `pairs` has the number and the id of an event, and the id of an endpoint.
    """
    numbers, events, endpoints = zip(*pairs, strict=True)
    ids = [new_id() for _ in pairs]
    return INSERT_DELIVERIES, {
        "district": district_id,
        "ids": ids,
        "numbers": list(numbers),
        "events": list(events),
        "endpoints": list(endpoints),
    }


def _reschedule(district_id: UUID) -> Any:
    """Returns an UPDATE statement that makes deliveries due now and sets their numbers of attempts to zero.

    Deliveries that a worker is sending at this moment are left out.
    """
    free = or_(WebhookDelivery.leased_until.is_(None), WebhookDelivery.leased_until <= func.now())
    return (
        update(WebhookDelivery)
        .where(WebhookDelivery.district_id == district_id, free)
        .values(
            state=DeliveryState.PENDING.value,
            due=func.now(),
            attempts=0,
            leased_until=None,
            ended_at=None,
        )
    )


async def _require_active(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """Returns the endpoint if it can receive deliveries now; raises `NotFound` or `Conflict`."""
    row = await endpoint(work, endpoint_id)
    if row.disabled_at is not None or row.paused_at is not None:
        raise Conflict("This endpoint is paused or disabled. Resume it first.", code="endpoint.closed")
    return row
