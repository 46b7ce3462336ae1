"""Follows the change feed for the event streams of both APIs, by reading batches of events as they are committed.

A stream lasts longer than a transaction may. Each batch is therefore read in a transaction of its own, and the caller's
rights are checked again before it. A token that expires or is revoked ends the stream. If the caller's caseload
changes, the stream contains the events of the new caseload from then on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.principal import Principal
from app.access.retry import run_with_retry
from app.access.work import unit
from app.core.crypto import Keyring
from app.core.page import keyset
from app.events import feed
from app.events.hub import FeedHub, Subscription
from app.events.models import Event

HEARTBEAT: Final = 15.0
"""The seconds without an event after which a stream sends a sign of life, so that no proxy closes the connection."""
BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of events, each with its cursor, and the cursor from which the next batch is read.

    `is_idle` is true for an empty batch. An empty batch is yielded after a time without events, to show that the stream
    still works.
    """

    events: Sequence[tuple[str, Event]]
    cursor: str
    is_idle: bool = False


@dataclass(frozen=True, slots=True)
class FeedReader:
    """Reads the events of one stream.

    * `authorize` returns the caller's principal with its present rights, or raises an error if the caller lost access.
    * `operation` is the name of the stream in the disclosure log.
    * `types` are the types of event to read, or None for all.
    * `heartbeat` is the number of seconds without an event after which an idle batch is yielded.
    """

    engine: AsyncEngine
    keyring: Keyring
    authorize: Callable[[], Awaitable[Principal]]
    operation: str
    types: list[str] | None = None
    heartbeat: float = HEARTBEAT

    async def read(self, principal: Principal, cursor: str | None) -> Batch:
        """Returns the first batch of events after a cursor.

        Without a cursor, returns an empty batch with the cursor of the feed's end.
        """
        return await run_with_retry(partial(self._read, principal, cursor), reads=True)

    async def follow(self, hub: FeedHub, subscription: Subscription, batch: Batch) -> AsyncIterator[Batch]:
        """Yields `batch`, and then every later batch of events, as soon as it is committed.

        If no event has come for `heartbeat` seconds, yields an empty batch that is marked as idle.
        """
        while True:
            yield batch
            has_more = len(batch.events) == BATCH
            if not has_more and not await subscription.moved(self.heartbeat):
                async with hub.readers:
                    await self.authorize()
                batch = Batch((), batch.cursor, is_idle=True)
                continue
            async with hub.readers:
                principal = await self.authorize()
                batch = await self.read(principal, batch.cursor)

    async def _read(self, principal: Principal, cursor: str | None) -> Batch:
        async with unit(self.engine, principal, self.keyring, self.operation) as work:
            at = keyset(work.district_id, "events", {"type": self.types}, cursor, BATCH, work.keyring)
            if cursor is None:
                end = await feed.feed_end(work)
                return Batch((), at.mark(end.epoch, end.last))
            page = await feed.events_after(work, at, self.types)
            epoch: UUID = at.after_id()
            return Batch([(at.mark(epoch, event.seq), event) for event in page.rows], str(page.next))
