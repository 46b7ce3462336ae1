"""Implements named consumers of the change feed. A consumer belongs to a client, and the server stores its position.

Reading does not move the position. A commit only moves it forward, so that two readers of one consumer never undo each
other's progress. A seek moves it anywhere. Cursors that were issued before a seek, or before event types were added,
can no longer be committed.

This file exceeds 250 lines so that all operations on a consumer and their checks of its cursor are in one place.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, and_, case, cast, func, select, true, update
from sqlalchemy.dialects.postgresql import insert

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Forbidden, Gone, Invalid, Malformed, NotFound, Violation
from app.core.page import Keyset, Page, keyset
from app.events.catalogue import CATALOGUE, newest
from app.events.feed import (
    FeedEnd,
    check_versions,
    feed_end,
    feed_start,
    number_of,
    position_before,
    read_range,
    unknown_types,
)
from app.events.models import Event, EventConsumer

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
RESYNC = "Read what you need from the lists, then seek to the beginning or the end."
SeekTarget = Literal["beginning", "end", "cursor", "time"]


@dataclass(frozen=True, slots=True)
class NewConsumer:
    """The settings of a consumer: its event types, their payload versions, and the position at which it begins.

    The position is used only for a new consumer. If `event_types` is empty, the consumer reads all types. If it is
    None, an existing consumer keeps its types.
    """

    event_types: tuple[str, ...] | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    begin: Literal["beginning", "end"] = "end"


@dataclass(frozen=True, slots=True)
class ConsumerPosition:
    """A consumer, the cursor of its position, and the number of events after that position."""

    consumer: EventConsumer
    cursor: str
    behind: int


@needs(Can.READ_EVENTS)
async def save_consumer(work: Work, name: str, new: NewConsumer) -> tuple[ConsumerPosition, bool]:
    """Creates a consumer or changes an existing one; returns it, and whether it was created.

    * Without event types, a new consumer reads all types, and an existing one keeps its types.
    * An existing consumer keeps its position, and the payload versions of the types that it keeps.
    * After types are added, cursors that were issued earlier can no longer be committed.

    Raises `Invalid`, or `Forbidden` if the request acts for a person.
    """
    client_id = _client(work)
    _validate(name, new)
    end = await feed_end(work)
    existing = await _find(work, name, removed=True)
    if existing is not None and existing.removed_at is not None:
        existing = None
    kept = {} if existing is None else dict(existing.versions)
    named = existing.event_types if new.event_types is None and existing is not None else new.event_types or ()
    types = sorted(set(named))
    versions = newest(types or CATALOGUE, {**kept, **new.versions})
    values: dict[str, Any] = {"event_types": types, "versions": versions}
    is_new = existing is None
    if is_new:
        seq = await feed_start(work) if new.begin == "beginning" else end.last
        values |= {"epoch": end.epoch, "seq": seq, "created_at": now(), "committed_at": None, "removed_at": None}
    key = {"district_id": work.district_id, "client_id": client_id, "name": name}
    # Of two concurrent requests only one creates the consumer.
    has_moved = true() if is_new else _adds_types(types)
    await work.db.execute(
        insert(EventConsumer)
        .values(**key, **({"epoch": end.epoch, "seq": end.last, "created_at": now()} | values), seeks=1)
        .on_conflict_do_update(
            index_elements=list(key),
            set_=values | {"seeks": case((has_moved, EventConsumer.seeks + 1), else_=EventConsumer.seeks)},
        )
    )
    return _position_of(work, await _require(work, name), end), is_new


@needs(Can.READ_EVENTS)
async def consumers(work: Work, keyset: Keyset) -> Page[ConsumerPosition]:
    """Returns a page of the client's consumers, by name, each with its position."""
    query = select(EventConsumer).where(_owned(work)).order_by(EventConsumer.name).limit(keyset.limit + 1)
    if keyset.after is not None:
        query = query.where(EventConsumer.name > str(keyset.after[0]))
    page: Page[EventConsumer] = keyset.cut((await work.db.scalars(query)).all(), lambda row: (row.name,))
    end = await feed_end(work)
    return Page([_position_of(work, row, end) for row in page.rows], page.next)


@needs(Can.READ_EVENTS)
async def consumer(work: Work, name: str) -> ConsumerPosition:
    """Returns the client's consumer of this name with its position; raises `NotFound`."""
    return _position_of(work, await _require(work, name), await feed_end(work))


@needs(Can.READ_EVENTS)
async def remove_consumer(work: Work, name: str) -> None:
    """Removes a consumer and its position; raises `NotFound`."""
    (await _require(work, name)).removed_at = now()
    await work.db.flush()


@needs(Can.READ_EVENTS)
async def consumer_events(work: Work, name: str, limit: int | None) -> tuple[EventConsumer, Page[Event]]:
    """Returns a consumer, and a page of the events after its position.

    The page's `next` is the cursor to commit once the events are processed. Raises `NotFound`. Raises `Gone` if an
    event after the position was deleted, or if the feed was restarted after a restore of the database.
    """
    row = await _require(work, name)
    page, end = _keyset(work, name, None, limit), await feed_end(work)
    if row.epoch != end.epoch:
        raise Gone(f"The feed was restarted since this consumer reached its position. {RESYNC}", code="feed.epoch")
    if row.seq > end.last:
        raise Gone(f"This consumer's position is beyond the end of the feed. {RESYNC}", code="feed.beyond")
    events = await read_range(work, end, row.seq, page.limit, row.event_types, RESYNC)
    return row, Page(events.rows, page.mark(end.epoch, events.until, row.seeks))


def cursor_after(work: Work, row: EventConsumer, event: Event) -> str:
    """Returns the cursor that a consumer commits after it has processed this event and all events before it."""
    return _keyset(work, row.name, None, None).mark(row.epoch, event.seq, row.seeks)


@needs(Can.READ_EVENTS)
async def commit(work: Work, name: str, cursor: str) -> ConsumerPosition:
    """Moves a consumer's position forward to a cursor that the consumer has received.

    A cursor before the present position changes nothing. Raises `NotFound` or `Invalid`, `Gone` for a cursor from
    before a restart of the feed, and `Conflict` for a cursor from before the last seek.
    """
    await _require(work, name)
    end = await feed_end(work)
    number, seeks = _number_and_seeks(work, name, cursor, end)
    moved = await work.db.execute(
        update(EventConsumer)
        .where(_owned(work), EventConsumer.name == name, EventConsumer.seeks == seeks, EventConsumer.epoch == end.epoch)
        .values(seq=func.greatest(EventConsumer.seq, number), committed_at=now())
        .returning(EventConsumer.seq)
    )
    if moved.one_or_none() is None:
        detail = "The consumer was moved by a seek, or got more event types, after this was read. Read again."
        raise Conflict(detail, code="consumer.moved")
    return _position_of(work, await _require(work, name), end)


@needs(Can.READ_EVENTS)
async def seek(
    work: Work, name: str, to: SeekTarget, cursor: str | None = None, time: datetime | None = None
) -> ConsumerPosition:
    """Moves a consumer's position to the oldest event that is kept, to the end, to a cursor, or to an instant.

    The cursor may come from this consumer. It may also come from the feed, if the feed was read with all event types or
    with the consumer's types. Raises `NotFound` or `Invalid`, and `Gone` for a cursor that is no longer valid.
    """
    if (cursor is not None) != (to == "cursor") or (time is not None) != (to == "time"):
        detail = '`cursor` goes with "to": "cursor", `time` with "to": "time", and neither with the others.'
        raise Invalid([Violation("/to", "consumer.seek", detail)])
    await _require(work, name)
    end, number = await feed_end(work), 0
    if cursor is not None:
        number = await _any_number(work, name, cursor, end)
    elif time is not None:
        number = max(await position_before(work, time), await feed_start(work))
    else:
        number = end.last if to == "end" else await feed_start(work)
    await work.db.execute(
        update(EventConsumer)
        .where(_owned(work), EventConsumer.name == name)
        .values(seq=number, epoch=end.epoch, seeks=EventConsumer.seeks + 1)
    )
    return _position_of(work, await _require(work, name), end)


def _validate(name: str, new: NewConsumer) -> None:
    """Raises `Invalid` with every violation in the name and the settings of a consumer."""
    violations = unknown_types(new.event_types or (), "/event_types")
    if not NAME.fullmatch(name):
        detail = "A consumer's name has a to z, 0 to 9, dots, hyphens and underscores, at most 100 characters."
        violations.append(Violation("/name", "consumer.name", detail))
    if violations:
        raise Invalid(violations)
    check_versions(new.versions, "/versions")


def _adds_types(types: list[str]) -> ColumnElement[bool]:
    """Returns an SQL condition that is true if `types` has a type that the consumer does not read yet.

    An empty list of types means all types.
    """
    some = func.cardinality(EventConsumer.event_types) > 0
    all_read = EventConsumer.event_types.bool_op("@>")(cast(types, ARRAY(Text)))
    return and_(some, ~all_read) if types else some


def _client(work: Work) -> UUID:
    """Returns the id of the client that sends the request and owns its consumers.

    Raises `Forbidden` if the request acts for a person, because the students that a person may see change over time.
    """
    if work.principal.client_id is None or work.principal.reach is Reach.CASELOAD:
        raise Forbidden("A consumer belongs to a client and cannot be used for a person.", code="consumer.reach")
    return work.principal.client_id


def _owned(work: Work) -> ColumnElement[bool]:
    return and_(
        EventConsumer.district_id == work.district_id,
        EventConsumer.client_id == _client(work),
        EventConsumer.removed_at.is_(None),
    )


async def _require(work: Work, name: str) -> EventConsumer:
    row = await _find(work, name)
    if row is None:
        raise NotFound("consumer")
    return row


async def _find(work: Work, name: str, *, removed: bool = False) -> EventConsumer | None:
    if not NAME.fullmatch(name):
        return None
    owned = and_(EventConsumer.district_id == work.district_id, EventConsumer.client_id == _client(work))
    query = select(EventConsumer).where(owned if removed else _owned(work), EventConsumer.name == name)
    row: EventConsumer | None = await work.db.scalar(query.execution_options(populate_existing=True))
    return row


def _position_of(work: Work, row: EventConsumer, end: FeedEnd) -> ConsumerPosition:
    """Returns a consumer with its position and its number of unread events.

    If the feed was restarted after the consumer reached its position, all events count as unread.
    """
    cursor = _keyset(work, row.name, None, None).mark(row.epoch, row.seq, row.seeks)
    return ConsumerPosition(row, cursor, max(end.last - row.seq, 0) if row.epoch == end.epoch else end.last)


def _keyset(work: Work, name: str, cursor: str | None, limit: int | None) -> Keyset:
    bound_to = {"client": _client(work), "name": name}
    return keyset(work.district_id, "consumer", bound_to, cursor, limit, work.keyring)


def _number_and_seeks(work: Work, name: str, cursor: str, end: FeedEnd) -> tuple[int, int]:
    """Returns the event number in a consumer's cursor, and the consumer's count of seeks when the cursor was issued.

    Raises `Invalid` or `Gone`.
    """
    try:
        parsed = _keyset(work, name, cursor, None)
        seeks = parsed.after_number(2)
        return number_of(replace(parsed, after=(parsed.after or ())[:2]), end, RESYNC), seeks
    except Malformed:
        detail = "This is not a cursor of this consumer. Read its events, and commit the `next` of that page."
        raise Invalid([Violation("/cursor", "consumer.cursor", detail)]) from None


async def _any_number(work: Work, name: str, cursor: str, end: FeedEnd) -> int:
    """Returns the event number in a cursor of this consumer, or in a cursor of the feed.

    A cursor of the feed is accepted if the feed was read with the consumer's types or with all types.
    """
    types: Sequence[str] = (await _require(work, name)).event_types
    for filters in ({"type": None}, {"type": list(types) or None}):
        try:
            feed = keyset(work.district_id, "events", filters, cursor, None, work.keyring)
            return number_of(feed, end, RESYNC)
        except Malformed:
            continue
    return _number_and_seeks(work, name, cursor, end)[0]
