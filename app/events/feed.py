"""Owns the reads of the change feed: a district's events in the order of their commits, of the last 30 days.

A cursor holds the feed's epoch and a number. It never skips: where something between it and now is kept no longer, or
the database was restored from a copy, the reader is told to begin anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Gone, Invalid, Malformed, Violation
from app.core.page import Keyset, Page
from app.events.catalogue import CATALOGUE, EventType, is_version
from app.events.models import Event, EventCounter

KEPT = timedelta(days=30)
GRACE = timedelta(minutes=1)  # who has just begun at the oldest event is not sent away over it
LONGEST = timedelta(hours=6)
"""No transaction is longer: what was laid longer than this before an instant was committed before it."""
RESYNC = "Read what you need from the lists, then ask for events without a cursor."
UNKNOWN = "There is no such type of event. See GET /v1/event-types."


@dataclass(frozen=True, slots=True)
class FeedEnd:
    """Where the feed ends, as of when it was asked: its epoch, its last number, the last number kept no longer."""

    epoch: UUID
    last: int
    expired: int


@dataclass(frozen=True, slots=True)
class EventRange:
    """Events after a number, and the number up to which nothing more of them is to come."""

    rows: Sequence[Event]
    until: int


@needs(Can.READ_EVENTS)
async def events_after(work: Work, keyset: Keyset, types: Sequence[str] | None = None) -> Page[Event]:
    """A page of events after the cursor, oldest first. It always has a `next`: where to ask again later.

    Raises `Malformed` for a type that is not in the catalogue, `Gone` for a cursor from which something was lost.
    """
    wrong = unknown_types(types or (), "/type")
    if wrong:
        raise Malformed(wrong)
    at = await feed_end(work)
    after = await feed_start(work) if keyset.after is None else number_of(keyset, at)
    found = await read_range(work, at, after, keyset.limit, types or (), RESYNC)
    return Page(found.rows, keyset.mark(at.epoch, found.until))


@needs(Can.READ_EVENTS)
async def feed_end(work: Work) -> FeedEnd:
    """The end of the feed. Read it before the rows: what is up to it is committed, and can be read."""
    row = await work.db.execute(
        select(EventCounter.epoch, EventCounter.last, EventCounter.expired).where(
            EventCounter.district_id == work.district_id
        )
    )
    return FeedEnd(*row.one())


@needs(Can.READ_EVENTS)
async def read_range(work: Work, at: FeedEnd, after: int, limit: int, types: Sequence[str], resync: str) -> EventRange:
    """Up to `limit` events after a number; raises `Gone`, with how to `resync`, where one after it is kept no longer.

    Where fewer are left, all that is before the head was looked at: a reader of a rare type goes on from there.
    """
    oldest = now() - KEPT - GRACE
    query = (
        select(Event).where(Event.district_id == work.district_id, Event.seq > after).order_by(Event.seq).limit(limit)
    )
    if types:
        query = query.where(Event.type.in_(types))
    rows = (await work.db.scalars(query)).all()
    # Again, after the rows: what an expiry took away since the head was looked at is not among them.
    lost = after < (await feed_end(work)).expired
    if lost or (rows and rows[0].at < oldest and after < await position_before(work, oldest)):
        raise Gone(f"Events after this cursor are kept no longer. {resync}", code="feed.expired")
    work.disclose("event", (event.student_id for event in rows if event.student_id is not None))
    last = rows[-1].seq if rows else after
    return EventRange(rows, last if len(rows) == limit else max(last, at.last))


@needs(Can.READ_EVENTS)
async def feed_start(work: Work) -> int:
    """The number after which the feed begins, for who comes without a cursor."""
    return await position_before(work, now() - KEPT)


@needs(Can.READ_EVENTS)
async def position_before(work: Work, instant: datetime) -> int:
    """The number after which everything that happened from an instant on stands; the head's where nothing has yet.

    Instants do not follow numbers: an event has its instant when it is laid, and its number at the commit. The lowest
    number is looked for between one that is surely before and one that is surely not, along the numbers.
    """
    at, here = await feed_end(work), Event.district_id == work.district_id
    earliest = select(Event.seq).where(here, Event.at >= instant).order_by(Event.at, Event.seq).limit(1)
    found = await work.db.scalar(earliest)
    if found is None:
        return at.last
    long_ago = select(Event.seq).where(here, Event.at < instant - LONGEST).order_by(Event.at.desc()).limit(1)
    surely_before = await work.db.scalar(long_ago) or 0
    between = select(func.min(Event.seq)).where(here, Event.seq > surely_before, Event.seq <= found)
    first = await work.db.scalar(between.where(Event.at >= instant))
    return max((found if first is None else first) - 1, at.expired)


def number_of(keyset: Keyset, at: FeedEnd, resync: str = RESYNC) -> int:
    """The number in a cursor; raises `Gone` for one of another epoch or beyond the head, `Malformed` if made up."""
    if keyset.after_id() != at.epoch:
        raise Gone(f"The feed began anew since this cursor was given. {resync}", code="feed.epoch")
    number = keyset.after_number(1)
    if number > at.last:
        raise Gone(f"This cursor is beyond the end of the feed. {resync}", code="feed.beyond")
    return number


def unknown_types(types: Sequence[str], pointer: str) -> list[Violation]:
    """A violation for each type that is not in the catalogue."""
    return [Violation(pointer, "event_type.unknown", UNKNOWN) for name in types if name not in CATALOGUE]


def check_versions(versions: Mapping[str, int], pointer: str) -> None:
    """Raises `Invalid` where there is no such version of a type."""
    if not all(is_version(name, version) for name, version in versions.items()):
        detail = "There is no such version of a type of event. See GET /v1/event-types."
        raise Invalid([Violation(pointer, "event_type.version", detail)])


def read_versions(texts: Sequence[str]) -> dict[str, int]:
    """Versions by type, each written `type:version`; raises `Malformed` for what is not, or is not there."""
    versions: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 6 and is_version(name, int(number))):
            detail = "A version reads concern.raised:1, of a type and version in GET /v1/event-types."
            raise Malformed([Violation("/version", "event_type.version", detail)])
        versions[name] = int(number)
    return versions


@needs(Can.READ_EVENTS)
async def event_types(work: Work) -> list[EventType]:
    """Every type of event that this version emits."""
    return list(CATALOGUE.values())
