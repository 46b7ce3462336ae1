"""Owns named consumers: readers of the feed whose place the server remembers. A client has its own.

Reading moves nothing. A commit moves a consumer forward only, so that two readers of one consumer never undo each
other; a seek moves it anywhere. What was read before a seek, or before more types, commits nothing.
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
Where = Literal["beginning", "end", "cursor", "time"]


@dataclass(frozen=True, slots=True)
class NewConsumer:
    """What a consumer reads: types (all, where none is named), the versions asked for, where a new one begins."""

    event_types: tuple[str, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    begin: Literal["beginning", "end"] = "end"


@dataclass(frozen=True, slots=True)
class ConsumerPosition:
    """A consumer, the cursor of its place, and how many events of the district lie between it and the end."""

    consumer: EventConsumer
    cursor: str
    behind: int


@needs(Can.READ_EVENTS)
async def save_consumer(work: Work, name: str, wanted: NewConsumer) -> tuple[ConsumerPosition, bool]:
    """Makes a consumer, or gives the one of this name other types; whether it is new.

    One that is there keeps its place, and the versions of the types that it keeps; given more types, a cursor of
    before commits nothing. Raises `Invalid`; `Forbidden` to who asks for a person.
    """
    client_id = _client(work)
    _check(name, wanted)
    at = await feed_end(work)
    found = await _found(work, name, removed=True)
    kept = {} if found is None or found.removed_at else dict(found.versions)
    types = sorted(set(wanted.event_types))
    versions = newest(types or CATALOGUE, {**kept, **wanted.versions})
    reads: dict[str, Any] = {"event_types": types, "versions": versions}
    fresh = found is None or found.removed_at is not None
    if fresh:
        seq = await feed_start(work) if wanted.begin == "beginning" else at.last
        reads |= {"epoch": at.epoch, "seq": seq, "created_at": now(), "committed_at": None, "removed_at": None}
    key = {"district_id": work.district_id, "client_id": client_id, "name": name}
    # Two who make it at once make one.
    moved = true() if fresh else _widened(types)
    await work.db.execute(
        insert(EventConsumer)
        .values(**key, **({"epoch": at.epoch, "seq": at.last, "created_at": now()} | reads), seeks=1)
        .on_conflict_do_update(
            index_elements=list(key),
            set_=reads | {"seeks": case((moved, EventConsumer.seeks + 1), else_=EventConsumer.seeks)},
        )
    )
    return _place(work, await _one(work, name), at), fresh


@needs(Can.READ_EVENTS)
async def consumers(work: Work, keyset: Keyset) -> Page[ConsumerPosition]:
    """A page of the caller's consumers, by name."""
    query = select(EventConsumer).where(_theirs(work)).order_by(EventConsumer.name).limit(keyset.limit + 1)
    if keyset.after is not None:
        query = query.where(EventConsumer.name > str(keyset.after[0]))
    page: Page[EventConsumer] = keyset.cut((await work.db.scalars(query)).all(), lambda row: (row.name,))
    at = await feed_end(work)
    return Page([_place(work, row, at) for row in page.rows], page.next)


@needs(Can.READ_EVENTS)
async def consumer(work: Work, name: str) -> ConsumerPosition:
    """One of the caller's consumers; raises `NotFound`."""
    return _place(work, await _one(work, name), await feed_end(work))


@needs(Can.READ_EVENTS)
async def remove_consumer(work: Work, name: str) -> None:
    """Forgets a consumer and its place. Raises `NotFound`."""
    (await _one(work, name)).removed_at = now()
    await work.db.flush()


@needs(Can.READ_EVENTS)
async def consumer_events(work: Work, name: str, limit: int | None) -> tuple[EventConsumer, Page[Event]]:
    """The events after a consumer's place; `next` is the cursor to commit when they are dealt with.

    Raises `NotFound`; `Gone` where something after its place is kept no longer, or the feed began anew.
    """
    found = await _one(work, name)
    asked, at = _keyset(work, name, None, limit), await feed_end(work)
    if found.epoch != at.epoch:
        raise Gone(f"The feed began anew since this consumer came to its place. {RESYNC}", code="feed.epoch")
    if found.seq > at.last:
        raise Gone(f"This consumer's place is beyond the end of the feed. {RESYNC}", code="feed.beyond")
    read = await read_range(work, at, found.seq, asked.limit, found.event_types, RESYNC)
    return found, Page(read.rows, asked.mark(at.epoch, read.until, found.seeks))


@needs(Can.READ_EVENTS)
async def commit(work: Work, name: str, cursor: str) -> ConsumerPosition:
    """Moves a consumer to a cursor that reading it gave; never back: what is behind its place already changes nothing.

    Raises `NotFound`, `Invalid`; `Gone` for a cursor of another epoch; `Conflict` for one of before the last move.
    """
    await _one(work, name)
    at = await feed_end(work)
    number, seeks = _read(work, name, cursor, at)
    moved = await work.db.execute(
        update(EventConsumer)
        .where(_theirs(work), EventConsumer.name == name, EventConsumer.seeks == seeks, EventConsumer.epoch == at.epoch)
        .values(seq=func.greatest(EventConsumer.seq, number), committed_at=now())
        .returning(EventConsumer.seq)
    )
    if moved.one_or_none() is None:
        detail = "The consumer was moved by a seek, or given more types, since this was read: read again."
        raise Conflict(detail, code="consumer.moved")
    return _place(work, await _one(work, name), at)


@needs(Can.READ_EVENTS)
async def seek(
    work: Work, name: str, to: Where, cursor: str | None = None, time: datetime | None = None
) -> ConsumerPosition:
    """Moves a consumer to the beginning of what is kept, the end, a cursor, or what happened from an instant on.

    A cursor is one of its own, or one of the feed that was read with its types or with none. Raises `NotFound`,
    `Invalid`; `Gone` for a cursor that leads nowhere now.
    """
    if (cursor is not None) != (to == "cursor") or (time is not None) != (to == "time"):
        detail = '`cursor` goes with "to": "cursor", `time` with "to": "time", and neither with the others.'
        raise Invalid([Violation("/to", "consumer.seek", detail)])
    await _one(work, name)
    at, number = await feed_end(work), 0
    if cursor is not None:
        number = await _any_number(work, name, cursor, at)
    elif time is not None:
        number = max(await position_before(work, time), await feed_start(work))
    else:
        number = at.last if to == "end" else await feed_start(work)
    await work.db.execute(
        update(EventConsumer)
        .where(_theirs(work), EventConsumer.name == name)
        .values(seq=number, epoch=at.epoch, seeks=EventConsumer.seeks + 1)
    )
    return _place(work, await _one(work, name), at)


def _check(name: str, wanted: NewConsumer) -> None:
    """Raises `Invalid` with everything that is wrong."""
    violations = unknown_types(wanted.event_types, "/event_types")
    if not NAME.fullmatch(name):
        detail = "A consumer's name has a to z, 0 to 9, dots, hyphens and underscores; 100 at most."
        violations.append(Violation("/name", "consumer.name", detail))
    if violations:
        raise Invalid(violations)
    check_versions(wanted.versions, "/versions")


def _widened(types: list[str]) -> ColumnElement[bool]:
    """Whether these are more types than the consumer has read; none named are all."""
    some = func.cardinality(EventConsumer.event_types) > 0
    all_read = EventConsumer.event_types.bool_op("@>")(cast(types, ARRAY(Text)))
    return and_(some, ~all_read) if types else some


def _client(work: Work) -> UUID:
    """Whose consumers these are; raises `Forbidden` where a person's caseload, which changes, would bound them."""
    if work.principal.client_id is None or work.principal.reach is Reach.CASELOAD:
        raise Forbidden("A consumer belongs to a client, and is not read for a person.", code="consumer.reach")
    return work.principal.client_id


def _theirs(work: Work) -> ColumnElement[bool]:
    return and_(
        EventConsumer.district_id == work.district_id,
        EventConsumer.client_id == _client(work),
        EventConsumer.removed_at.is_(None),
    )


async def _one(work: Work, name: str) -> EventConsumer:
    found = await _found(work, name)
    if found is None:
        raise NotFound("consumer")
    return found


async def _found(work: Work, name: str, *, removed: bool = False) -> EventConsumer | None:
    if not NAME.fullmatch(name):
        return None
    mine = and_(EventConsumer.district_id == work.district_id, EventConsumer.client_id == _client(work))
    query = select(EventConsumer).where(mine if removed else _theirs(work), EventConsumer.name == name)
    found: EventConsumer | None = await work.db.scalar(query.execution_options(populate_existing=True))
    return found


def _place(work: Work, found: EventConsumer, at: FeedEnd) -> ConsumerPosition:
    """Where a consumer stands; after a new epoch everything is before it."""
    cursor = _keyset(work, found.name, None, None).mark(found.epoch, found.seq, found.seeks)
    return ConsumerPosition(found, cursor, max(at.last - found.seq, 0) if found.epoch == at.epoch else at.last)


def _keyset(work: Work, name: str, cursor: str | None, limit: int | None) -> Keyset:
    bound_to = {"client": _client(work), "name": name}
    return keyset(work.district_id, "consumer", bound_to, cursor, limit, work.keyring)


def _read(work: Work, name: str, cursor: str, at: FeedEnd) -> tuple[int, int]:
    """The number in a consumer's own cursor, and how often the consumer had been moved; raises `Invalid`, `Gone`."""
    try:
        read = _keyset(work, name, cursor, None)
        seeks = read.after_number(2)
        return number_of(replace(read, after=(read.after or ())[:2]), at, RESYNC), seeks
    except Malformed:
        detail = "This is no cursor of this consumer. Read its events, and commit the `next` that they come with."
        raise Invalid([Violation("/cursor", "consumer.cursor", detail)]) from None


async def _any_number(work: Work, name: str, cursor: str, at: FeedEnd) -> int:
    """The number in a cursor of the consumer's own, or of the feed read with its types or with none."""
    types: Sequence[str] = (await _one(work, name)).event_types
    for filters in ({"type": None}, {"type": list(types) or None}):
        try:
            feed = keyset(work.district_id, "events", filters, cursor, None, work.keyring)
            return number_of(feed, at, RESYNC)
        except Malformed:
            continue
    return _read(work, name, cursor, at)[0]
