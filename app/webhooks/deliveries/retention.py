"""Owns what is kept no longer: events after 30 days, and the log of what was sent 30 days after it ended.

A delivery that waits, or ended lately, keeps its event: what is still to be sent can be rendered, however old it is.
The disclosure log stays.
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
    """Deletes one batch of a district's; how many deliveries and events. Ask again until there are none."""
    upto = await feed_start(work)
    gone = await _ended(work, upto, most)
    if gone:
        await work.db.execute(
            delete(WebhookAttempt).where(
                WebhookAttempt.district_id == work.district_id, WebhookAttempt.delivery_id == any_(_ids(gone))
            )
        )
        await work.db.execute(
            delete(WebhookDelivery).where(
                WebhookDelivery.district_id == work.district_id, WebhookDelivery.id == any_(_ids(gone))
            )
        )
    # By endpoint, where an index serves: a district has few.
    held = (
        select(WebhookDelivery.id)
        .join(WebhookEndpoint, _of_endpoint())
        .where(WebhookEndpoint.district_id == work.district_id, WebhookDelivery.district_id == work.district_id)
        .where(WebhookDelivery.event_seq == Event.seq)
    )
    return len(gone) + await expire_events(work, upto, most, held.exists())


async def _ended(work: Work, upto: int, most: int) -> list[UUID]:
    """Deliveries of events up to a number that ended so long ago that nobody asks for their log."""
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


def _ids(gone: list[UUID]) -> Any:
    return cast(gone, ARRAY(PgUUID))
