"""Reads endpoints and their deliveries. Never returns a secret.

A client sees only the endpoints that it created itself, and of these only those whose schools and secured areas the
caller may all see. Any other endpoint is treated as if it did not exist.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, and_, any_, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.permission import Can
from app.access.principal import EVERYTHING_SECURED, Reach
from app.access.work import Work, needs
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.events.catalogue import ENDPOINT_TESTED
from app.events.models import Event
from app.webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """A delivery with the type of its event and with all of its attempts in order."""

    delivery: WebhookDelivery
    event_type: str
    attempts: tuple[WebhookAttempt, ...]


@needs(Can.MANAGE_WEBHOOKS)
async def endpoints(work: Work, keyset: Keyset) -> Page[WebhookEndpoint]:
    """Returns a page of the endpoints that were not removed, oldest first."""
    query = select(WebhookEndpoint).where(_visible(work)).order_by(WebhookEndpoint.id).limit(keyset.limit + 1)
    if keyset.after is not None:
        query = query.where(WebhookEndpoint.id > keyset.after_id())
    rows = (await work.db.scalars(query)).all()
    return keyset.cut(rows, lambda row: (row.id,))


@needs(Can.MANAGE_WEBHOOKS)
async def endpoint(work: Work, endpoint_id: UUID, *, lock: bool = False) -> WebhookEndpoint:
    """Returns the endpoint with this id, and locks its row if `lock` is set; raises `NotFound`."""
    query = select(WebhookEndpoint).where(_visible(work), WebhookEndpoint.id == endpoint_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = (await work.db.scalars(query)).one_or_none()
    if row is None:
        raise NotFound("endpoint")
    return row


@needs(Can.MANAGE_WEBHOOKS)
async def deliveries(work: Work, endpoint_id: UUID, keyset: Keyset) -> Page[LoggedDelivery]:
    """Returns a page of an endpoint's deliveries, newest event first; raises `NotFound`.

    Deliveries of events that the caller cannot read are left out, because an endpoint may receive events of secured
    areas that the caller may not see.
    """
    await endpoint(work, endpoint_id)
    in_district = WebhookDelivery.district_id == work.district_id
    query = (
        select(WebhookDelivery, Event.type, Event.student_id)
        .join(Event, and_(Event.district_id == work.district_id, Event.seq == WebhookDelivery.event_seq))
        .where(in_district, WebhookDelivery.endpoint_id == endpoint_id)
        .order_by(WebhookDelivery.event_seq.desc())
        .limit(keyset.limit + 1)
    )
    if keyset.after is not None:
        query = query.where(WebhookDelivery.event_seq < keyset.after_number())
    page: Page[Any] = keyset.cut((await work.db.execute(query)).all(), lambda row: (row[0].event_seq,))
    work.disclose("event", (row.student_id for row in page.rows if row.student_id is not None))
    attempts = await _attempts(work, [row[0].id for row in page.rows])
    return Page([LoggedDelivery(row[0], row.type, tuple(attempts[row[0].id])) for row in page.rows], page.next)


@needs(Can.MANAGE_WEBHOOKS)
async def delivery(work: Work, endpoint_id: UUID, delivery_id: UUID) -> LoggedDelivery:
    """Returns one delivery with its attempts.

    Raises `NotFound` if the delivery does not exist or the caller cannot read its event.
    """
    await endpoint(work, endpoint_id)
    query = (
        select(WebhookDelivery, Event.type, Event.student_id)
        .join(Event, and_(Event.district_id == work.district_id, Event.seq == WebhookDelivery.event_seq))
        .where(
            WebhookDelivery.district_id == work.district_id,
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.id == delivery_id,
        )
    )
    row = (await work.db.execute(query.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound("delivery")
    if row.student_id is not None:
        work.disclose("event", [row.student_id])
    attempts = await _attempts(work, [delivery_id])
    return LoggedDelivery(row[0], row.type, tuple(attempts[delivery_id]))


def matches(district_id: UUID, after: int, upto: int, *, replayed_to: UUID | None = None) -> Select[int, UUID, UUID]:
    """Returns a query for pairs of an event and an endpoint that receives it, for events after `after` up to `upto`.

    * An endpoint receives events of its event types that are about its schools. An endpoint without schools receives
      the events of its event types from the whole district.
    * An event about no student and no school belongs to the district; endpoints with schools receive it too.
    * An event of a secured area goes only to endpoints that are open to this area.
    * A test event goes only to the endpoint that is tested.

    With `replayed_to`, the query returns only pairs with this endpoint for which there is no delivery yet. These pairs
    include events from before the endpoint was created, but no test events.
    """
    districts = and_(Event.student_id.is_(None), func.cardinality(Event.school_ids) == 0)
    everywhere = or_(districts, func.cardinality(WebhookEndpoint.school_ids) == 0)
    opens = WebhookEndpoint.opens
    is_test = Event.type == ENDPOINT_TESTED.name
    query = (
        select(Event.seq, Event.id, WebhookEndpoint.id)
        .join(WebhookEndpoint, WebhookEndpoint.district_id == Event.district_id)
        .where(
            Event.district_id == district_id,
            WebhookEndpoint.district_id == district_id,
            Event.seq > after,
            Event.seq <= upto,
            WebhookEndpoint.removed_at.is_(None),
            WebhookEndpoint.disabled_at.is_(None),
            or_(
                and_(
                    ~is_test,
                    or_(
                        Event.type == any_(WebhookEndpoint.event_types),
                        func.split_part(Event.type, ".", 1).concat(".*") == any_(WebhookEndpoint.event_types),
                    ),
                ),
                and_(is_test, Event.subject_id == WebhookEndpoint.id),
            ),
            or_(everywhere, Event.school_ids.bool_op("&&")(WebhookEndpoint.school_ids)),
            or_(
                Event.secured_area.is_(None),
                Event.secured_area == any_(opens),
                literal(EVERYTHING_SECURED) == any_(opens),
            ),
        )
        .order_by(Event.seq)
    )
    if replayed_to is None:
        return query.where(Event.seq > WebhookEndpoint.after_seq)
    existing = select(WebhookDelivery.id).where(
        WebhookDelivery.district_id == district_id,
        WebhookDelivery.endpoint_id == replayed_to,
        WebhookDelivery.event_seq == Event.seq,
    )
    return query.where(WebhookEndpoint.id == replayed_to, ~is_test, ~existing.exists())


async def _attempts(work: Work, delivery_ids: list[UUID]) -> dict[UUID, list[WebhookAttempt]]:
    rows = await work.db.scalars(
        select(WebhookAttempt)
        .where(WebhookAttempt.district_id == work.district_id, WebhookAttempt.delivery_id.in_(delivery_ids))
        .order_by(WebhookAttempt.delivery_id, WebhookAttempt.number)
    )
    attempts: dict[UUID, list[WebhookAttempt]] = defaultdict(list)
    for row in rows:
        attempts[row.delivery_id].append(row)
    return attempts


def _visible(work: Work) -> ColumnElement[bool]:
    """Returns an SQL condition that selects the endpoints that the caller may see.

    The caller's client must have created them, they must not be removed, and the caller must be allowed to see all of
    their schools and secured areas.
    """
    own = and_(
        WebhookEndpoint.district_id == work.district_id,
        WebhookEndpoint.removed_at.is_(None),
        WebhookEndpoint.created_by == work.principal.client_id,
        WebhookEndpoint.opens.bool_op("<@")(cast(sorted(work.principal.opens), ARRAY(Text))),
    )
    if work.principal.reach is Reach.DISTRICT:
        return own
    schools = cast(list(work.principal.schools), ARRAY(PgUUID))
    within = WebhookEndpoint.school_ids.bool_op("<@")(schools)
    return and_(own, func.cardinality(WebhookEndpoint.school_ids) > 0, within)
