"""Follows the change feed for the streams of both APIs: reads batches of events, as they come.

A stream outlives its request's turn and transaction. So every batch is read in a transaction of its own, by a caller
who is authorized again: a token that ends or is revoked ends the stream, and a caseload that changes narrows it.
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
"""Seconds after which a stream without events gives a sign of life, so that no proxy thinks it dead."""
BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of a stream with the cursor of each, and the cursor after them. It `is_idle` if no event came in time."""

    events: Sequence[tuple[str, Event]]
    cursor: str
    is_idle: bool = False


@dataclass(frozen=True, slots=True)
class FeedReader:
    """The events that a stream reads. `authorize` returns the caller as it is now, and raises once it may not read.

    `operation` names the stream in the disclosure log.
    """

    engine: AsyncEngine
    keyring: Keyring
    authorize: Callable[[], Awaitable[Principal]]
    operation: str
    types: list[str] | None = None
    heartbeat: float = HEARTBEAT

    async def read(self, principal: Principal, cursor: str | None) -> Batch:
        """Returns the events after a cursor; without one, no event and the cursor of the end."""
        return await run_with_retry(partial(self._read, principal, cursor), reads=True)

    async def follow(self, hub: FeedHub, subscription: Subscription, batch: Batch) -> AsyncIterator[Batch]:
        """Yields this batch, then each that comes, and an idle one for each stretch of time without an event."""
        while True:
            yield batch
            has_more = len(batch.events) == BATCH
            if not has_more and not await subscription.moved(self.heartbeat):
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
