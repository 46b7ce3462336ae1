"""Owns the reads of endpoints and of what was sent to them. Never shows a secret.

A caller sees the endpoints that reach no further than itself: others are not there for it.
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
    """A delivery as its log shows it: the event's type, and every attempt in order."""

    delivery: WebhookDelivery
    event_type: str
    attempts: tuple[WebhookAttempt, ...]


@needs(Can.MANAGE_WEBHOOKS)
async def endpoints(work: Work, keyset: Keyset) -> Page[WebhookEndpoint]:
    """A page of the endpoints that are not removed, oldest first."""
    query = select(WebhookEndpoint).where(_theirs(work)).order_by(WebhookEndpoint.id).limit(keyset.limit + 1)
    if keyset.after is not None:
        query = query.where(WebhookEndpoint.id > keyset.after_id())
    rows = (await work.db.scalars(query)).all()
    return keyset.cut(rows, lambda row: (row.id,))


@needs(Can.MANAGE_WEBHOOKS)
async def endpoint(work: Work, endpoint_id: UUID) -> WebhookEndpoint:
    """One endpoint; raises `NotFound`."""
    query = select(WebhookEndpoint).where(_theirs(work), WebhookEndpoint.id == endpoint_id)
    found = (await work.db.scalars(query)).one_or_none()
    if found is None:
        raise NotFound("endpoint")
    return found


@needs(Can.MANAGE_WEBHOOKS)
async def deliveries(work: Work, endpoint_id: UUID, keyset: Keyset) -> Page[LoggedDelivery]:
    """A page of what an endpoint was or will be sent, newest event first. Raises `NotFound`.

    Events that the caller cannot read are left out: the secured areas of an endpoint may be more than the caller's.
    """
    await endpoint(work, endpoint_id)
    mine = WebhookDelivery.district_id == work.district_id
    query = (
        select(WebhookDelivery, Event.type, Event.student_id)
        .join(Event, and_(Event.district_id == work.district_id, Event.seq == WebhookDelivery.event_seq))
        .where(mine, WebhookDelivery.endpoint_id == endpoint_id)
        .order_by(WebhookDelivery.event_seq.desc())
        .limit(keyset.limit + 1)
    )
    if keyset.after is not None:
        query = query.where(WebhookDelivery.event_seq < keyset.after_number())
    page: Page[Any] = keyset.cut((await work.db.execute(query)).all(), lambda row: (row[0].event_seq,))
    work.disclose("event", (row.student_id for row in page.rows if row.student_id is not None))
    made = await _attempts(work, [row[0].id for row in page.rows])
    return Page([LoggedDelivery(row[0], row.type, tuple(made[row[0].id])) for row in page.rows], page.next)


@needs(Can.MANAGE_WEBHOOKS)
async def delivery(work: Work, endpoint_id: UUID, delivery_id: UUID) -> LoggedDelivery:
    """One delivery with its attempts; raises `NotFound`, also where the caller cannot read its event."""
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
    found = (await work.db.execute(query.execution_options(populate_existing=True))).one_or_none()
    if found is None:
        raise NotFound("delivery")
    if found.student_id is not None:
        work.disclose("event", [found.student_id])
    made = await _attempts(work, [delivery_id])
    return LoggedDelivery(found[0], found.type, tuple(made[delivery_id]))


def matches(district_id: UUID, after: int, upto: int, *, again: UUID | None = None) -> Select[int, UUID, UUID]:
    """Events and the endpoints that they are for: the type, the reach and the secured areas of the endpoint.

    As its maker reads the feed: an event about no student and no school is the district's, and for every school's
    endpoint as well; a secured one goes only where its area is open.
    With `again`, what is for that endpoint and was never laid for it, also of the time before it was made.
    """
    districts = and_(Event.student_id.is_(None), func.cardinality(Event.school_ids) == 0)
    everywhere = or_(districts, func.cardinality(WebhookEndpoint.school_ids) == 0)
    opens = WebhookEndpoint.opens
    tested = Event.type == ENDPOINT_TESTED.name
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
                and_(~tested, Event.type == any_(WebhookEndpoint.event_types)),
                and_(tested, Event.subject_id == WebhookEndpoint.id),
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
    if again is None:
        return query.where(Event.seq > WebhookEndpoint.after_seq)
    laid = select(WebhookDelivery.id).where(
        WebhookDelivery.district_id == district_id,
        WebhookDelivery.endpoint_id == again,
        WebhookDelivery.event_seq == Event.seq,
    )
    return query.where(WebhookEndpoint.id == again, ~tested, ~laid.exists())


async def _attempts(work: Work, delivery_ids: list[UUID]) -> dict[UUID, list[WebhookAttempt]]:
    rows = await work.db.scalars(
        select(WebhookAttempt)
        .where(WebhookAttempt.district_id == work.district_id, WebhookAttempt.delivery_id.in_(delivery_ids))
        .order_by(WebhookAttempt.delivery_id, WebhookAttempt.number)
    )
    found: dict[UUID, list[WebhookAttempt]] = defaultdict(list)
    for row in rows:
        found[row.delivery_id].append(row)
    return found


def _theirs(work: Work) -> ColumnElement[bool]:
    """The caller's own endpoints that are not removed, and that reach no school and no area beyond the caller's."""
    here = and_(
        WebhookEndpoint.district_id == work.district_id,
        WebhookEndpoint.removed_at.is_(None),
        WebhookEndpoint.created_by == work.principal.client_id,
        WebhookEndpoint.opens.bool_op("<@")(cast(sorted(work.principal.opens), ARRAY(Text))),
    )
    if work.principal.reach is Reach.DISTRICT:
        return here
    schools = cast(list(work.principal.schools), ARRAY(PgUUID))
    within = WebhookEndpoint.school_ids.bool_op("<@")(schools)
    return and_(here, func.cardinality(WebhookEndpoint.school_ids) > 0, within)
