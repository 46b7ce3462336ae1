"""Deletes events after 30 days, and deliveries from the log 30 days after they ended.

An event is kept as long as one of its deliveries is waiting, or has ended less than 30 days ago. The payload of such a
delivery can thus still be rendered. The log of who has seen whose data is not deleted.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, cast, delete, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.events.feed import KEPT, feed_start
from app.events.models import Event
from app.events.service import expire_events
from app.webhooks.models import DeliveryState, WebhookAttempt, WebhookDelivery, WebhookEndpoint

AT_ONCE = 2000


@needs(Can.DELIVER_WEBHOOKS)
async def expire(work: Work, most: int = AT_ONCE) -> int:
    """Deletes one batch of a district's old deliveries and events. Returns the number of deleted rows.

    The caller calls it again until it returns 0.
    """
    upto = await feed_start(work)
    delivery_ids = await _ended(work, upto, most)
    if delivery_ids:
        await work.db.execute(
            delete(WebhookAttempt).where(
                WebhookAttempt.district_id == work.district_id, WebhookAttempt.delivery_id == any_(_ids(delivery_ids))
            )
        )
        await work.db.execute(
            delete(WebhookDelivery).where(
                WebhookDelivery.district_id == work.district_id, WebhookDelivery.id == any_(_ids(delivery_ids))
            )
        )
    # Joined by endpoint so that an index applies; a district has few endpoints.
    has_delivery = (
        select(WebhookDelivery.id)
        .join(WebhookEndpoint, _of_endpoint())
        .where(WebhookEndpoint.district_id == work.district_id, WebhookDelivery.district_id == work.district_id)
        .where(WebhookDelivery.event_seq == Event.seq)
    )
    return len(delivery_ids) + await expire_events(work, upto, most, has_delivery.exists())


async def _ended(work: Work, upto: int, most: int) -> list[UUID]:
    """Returns the ids of up to `most` deliveries that ended more than 30 days ago.

    Only deliveries of events with a number up to `upto` are considered.
    """
    query = (
        select(WebhookDelivery.id)
        .join(WebhookEndpoint, _of_endpoint())
        .where(
            WebhookEndpoint.district_id == work.district_id,
            WebhookDelivery.district_id == work.district_id,
            WebhookDelivery.event_seq <= upto,
            WebhookDelivery.state != DeliveryState.PENDING.value,
            WebhookDelivery.ended_at < now() - KEPT,
        )
        .limit(most)
    )
    return list((await work.db.scalars(query)).all())


def _of_endpoint() -> ColumnElement[bool]:
    return and_(
        WebhookEndpoint.district_id == WebhookDelivery.district_id, WebhookEndpoint.id == WebhookDelivery.endpoint_id
    )


def _ids(delivery_ids: list[UUID]) -> Any:
    return cast(delivery_ids, ARRAY(PgUUID))
