"""Owns the reads of the change feed: a district's events in the order of their commits, of the last 30 days.

A cursor holds the feed's epoch and a number. It never skips: where something between it and now is kept no longer, or
the database was restored from a copy, the reader is told to begin anew.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Gone, Malformed, Violation
from app.core.page import Keyset, Page
from app.events.catalogue import CATALOGUE, EventType
from app.events.models import Event, EventCounter

KEPT = timedelta(days=30)
RESYNC = "Read what you need from the lists, then ask for events without a cursor."


@needs(Can.READ_EVENTS)
async def events_after(work: Work, keyset: Keyset, types: Sequence[str] | None = None) -> Page[Event]:
    """A page of events after the cursor, oldest first. It always has a `next`: where to ask again later.

    Raises `Malformed` for a type that is not in the catalogue, `Gone` for a cursor from which something was lost.
    """
    _known(types or ())
    # The head is read first: what commits after it is behind the cursor that this page gives, or beyond its rows.
    head = (
        await work.db.execute(
            select(EventCounter.epoch, EventCounter.last).where(EventCounter.district_id == work.district_id)
        )
    ).one()
    oldest = now() - KEPT
    after = await _oldest_kept(work, oldest) if keyset.after is None else _from(keyset, head.epoch, head.last)
    query = (
        select(Event)
        .where(Event.district_id == work.district_id, Event.seq > after)
        .order_by(Event.seq)
        .limit(keyset.limit)
    )
    if types:
        query = query.where(Event.type.in_(types))
    rows = (await work.db.scalars(query)).all()
    if keyset.after is not None and rows and rows[0].at < oldest:
        raise Gone(f"Events after this cursor are kept no longer. {RESYNC}", code="feed.expired")
    work.disclose("event", (event.student_id for event in rows if event.student_id is not None))
    return Page(rows, keyset.mark(head.epoch, rows[-1].seq if rows else after))


def _from(keyset: Keyset, epoch: UUID, last: int) -> int:
    """The number in a cursor; raises `Gone` for one of another epoch or beyond the head, `Malformed` if made up."""
    if keyset.after_id() != epoch:
        raise Gone(f"The feed began anew since this cursor was given. {RESYNC}", code="feed.epoch")
    number = keyset.after_number(1)
    if number > last:
        raise Gone(f"This cursor is beyond the end of the feed. {RESYNC}", code="feed.beyond")
    return number


async def _oldest_kept(work: Work, oldest: datetime) -> int:
    """The number after which the feed begins, for who comes without a cursor."""
    first = (
        select(Event.seq)
        .where(Event.district_id == work.district_id, Event.at >= oldest)
        .order_by(Event.at, Event.seq)
        .limit(1)
    )
    found = await work.db.scalar(first)
    return 0 if found is None else found - 1


def _known(types: Sequence[str]) -> None:
    detail = "There is no such type of event. See GET /v1/event-types."
    wrong = [Violation("/type", "event_type.unknown", detail) for name in types if name not in CATALOGUE]
    if wrong:
        raise Malformed(wrong)


@needs(Can.READ_EVENTS)
async def event_types(work: Work) -> list[EventType]:
    """Every type of event that this version emits."""
    return list(CATALOGUE.values())
