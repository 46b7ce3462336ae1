"""Owns the reads of the change feed: a district's events in the order of their commits."""

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.page import Keyset, Page
from app.events.catalogue import CATALOGUE, EventType
from app.events.models import Event


@needs(Can.READ_EVENTS)
async def events_after(work: Work, keyset: Keyset, type_: str | None = None) -> Page[Event]:
    """A page of events after the cursor, oldest first. It always has a `next`: where to ask again later."""
    after = keyset.after_number()
    query = (
        select(Event)
        .where(Event.district_id == work.district_id, Event.seq > after)
        .order_by(Event.seq)
        .limit(keyset.limit)
    )
    if type_ is not None:
        query = query.where(Event.type == type_)
    rows = (await work.db.scalars(query)).all()
    work.disclose("event", (event.student_id for event in rows if event.student_id is not None))
    return Page(rows, keyset.mark(rows[-1].seq if rows else after))


@needs(Can.READ_EVENTS)
async def event_types(work: Work) -> list[EventType]:
    """Every type of event that this version emits."""
    return list(CATALOGUE.values())
