"""Reads the change feed: a district's events of the last 30 days, in the order of their commits.

A cursor contains an event number and the feed's epoch, an id that changes when the database is restored from a backup.
Reading from a cursor never skips events: if an event after it is no longer kept, or the epoch has changed, the reader
is asked to start again.
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
GRACE = timedelta(minutes=1)  # A reader may start at the oldest event, which may expire before its next request.
MAX_TRANSACTION = timedelta(hours=6)
"""The longest possible duration of a transaction. If an event was recorded longer ago, its transaction has ended."""
RESYNC = "Read what you need from the lists, then ask for events without a cursor."
UNKNOWN = "There is no such event type. See GET /v1/event-types."


@dataclass(frozen=True, slots=True)
class FeedEnd:
    """The end of the feed at one moment: the number of its last event, and the feed's epoch.

    The epoch is an id that changes when the database is restored from a backup. The events up to the number `expired`
    have been deleted.
    """

    epoch: UUID
    last: int
    expired: int


@dataclass(frozen=True, slots=True)
class EventRange:
    """A batch of events: those of the requested types after a given number, up to the number `until`.

    The next batch is read from `until`.
    """

    rows: Sequence[Event]
    until: int


@needs(Can.READ_EVENTS)
async def events_after(work: Work, keyset: Keyset, types: Sequence[str] | None = None) -> Page[Event]:
    """Returns a page of events after the cursor, oldest first.

    The page always has a `next` cursor, with which later events can be requested. Raises `Malformed` for an unknown
    event type, and `Gone` if events after the cursor were deleted.
    """
    require_types(types or ())
    end = await feed_end(work)
    after = await feed_start(work) if keyset.after is None else number_of(keyset, end)
    events = await read_range(work, end, after, keyset.limit, types or (), RESYNC)
    return Page(events.rows, keyset.mark(end.epoch, events.until))


@needs(Can.READ_EVENTS)
async def feed_end(work: Work) -> FeedEnd:
    """Returns the end of the feed.

    Call it before reading events, because all events up to this end are already committed and readable.
    """
    row = await work.db.execute(
        select(EventCounter.epoch, EventCounter.last, EventCounter.expired).where(
            EventCounter.district_id == work.district_id
        )
    )
    return FeedEnd(*row.one())


@needs(Can.READ_EVENTS)
async def read_range(work: Work, end: FeedEnd, after: int, limit: int, types: Sequence[str], resync: str) -> EventRange:
    """Returns up to `limit` events of these types after the number `after`.

    If there are fewer than `limit`, the range ends at the end of the feed, so that a reader of a rare type does not
    search the same events again. Raises `Gone` if an event after the number was deleted. The error's message ends with
    the sentence `resync`, which tells the reader how to start again.
    """
    oldest = now() - KEPT - GRACE
    query = (
        select(Event).where(Event.district_id == work.district_id, Event.seq > after).order_by(Event.seq).limit(limit)
    )
    if types:
        query = query.where(Event.type.in_(types))
    rows = (await work.db.scalars(query)).all()
    # The end is read again after the rows, because an expiry may have deleted events since it was read first.
    lost = after < (await feed_end(work)).expired
    if lost or (rows and rows[0].at < oldest and after < await position_before(work, oldest)):
        raise Gone(f"Events after this cursor are no longer kept. {resync}", code="feed.expired")
    work.disclose("event", (event.student_id for event in rows if event.student_id is not None))
    last = rows[-1].seq if rows else after
    return EventRange(rows, last if len(rows) == limit else max(last, end.last))


@needs(Can.READ_EVENTS)
async def feed_start(work: Work) -> int:
    """Returns the position at which a reader without a cursor begins: just before the oldest event that is kept."""
    return await position_before(work, now() - KEPT)


@needs(Can.READ_EVENTS)
async def position_before(work: Work, instant: datetime) -> int:
    """Returns the position just before the first event at or after an instant.

    If there is no such event, returns the feed's last number. The instants of events are not in the order of their
    numbers, because an event gets its instant when it is recorded, but its number at the commit. The function therefore
    searches for the lowest matching number, between a bound that is certainly too low and one that is certainly high
    enough.
    """
    end, in_district = await feed_end(work), Event.district_id == work.district_id
    earliest = select(Event.seq).where(in_district, Event.at >= instant).order_by(Event.at, Event.seq).limit(1)
    candidate = await work.db.scalar(earliest)
    if candidate is None:
        return end.last
    earlier = (
        select(Event.seq).where(in_district, Event.at < instant - MAX_TRANSACTION).order_by(Event.at.desc()).limit(1)
    )
    surely_before = await work.db.scalar(earlier) or 0
    between = select(func.min(Event.seq)).where(in_district, Event.seq > surely_before, Event.seq <= candidate)
    first = await work.db.scalar(between.where(Event.at >= instant))
    return max((candidate if first is None else first) - 1, end.expired)


def number_of(keyset: Keyset, end: FeedEnd, resync: str = RESYNC) -> int:
    """Returns the event number that a cursor contains.

    Raises `Gone` if the cursor is from before a restart of the feed or lies beyond its end, and `Malformed` if it is
    invalid.
    """
    if keyset.after_id() != end.epoch:
        raise Gone(f"The feed was restarted since this cursor was issued. {resync}", code="feed.epoch")
    number = keyset.after_number(1)
    if number > end.last:
        raise Gone(f"This cursor is beyond the end of the feed. {resync}", code="feed.beyond")
    return number


def require_types(types: Sequence[str]) -> None:
    """Raises `Malformed` for an event type that is not in the catalogue."""
    violations = unknown_types(types, "/type")
    if violations:
        raise Malformed(violations)


def unknown_types(types: Sequence[str], pointer: str) -> list[Violation]:
    """Returns a violation for each event type that is not in the catalogue."""
    return [Violation(pointer, "event_type.unknown", UNKNOWN) for name in types if name not in CATALOGUE]


def check_versions(versions: Mapping[str, int], pointer: str) -> None:
    """Raises `Invalid` if a requested version of an event type does not exist."""
    if not all(is_version(name, version) for name, version in versions.items()):
        detail = "There is no such version of an event type. See GET /v1/event-types."
        raise Invalid([Violation(pointer, "event_type.version", detail)])


def read_versions(texts: Sequence[str]) -> dict[str, int]:
    """Parses requested versions, each written as `type:version`, and returns them by type.

    Raises `Malformed` for other text and for unknown versions.
    """
    versions: dict[str, int] = {}
    for text in texts:
        name, _, number = text.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 6 and is_version(name, int(number))):
            detail = "A version is written as concern.raised:1, with a type and version from GET /v1/event-types."
            raise Malformed([Violation("/version", "event_type.version", detail)])
        versions[name] = int(number)
    return versions


@needs(Can.READ_EVENTS)
async def event_types(work: Work) -> list[EventType]:
    """Returns every event type that this release emits."""
    return list(CATALOGUE.values())
