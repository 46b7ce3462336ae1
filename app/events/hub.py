"""Wakes the event streams of this process when their district's feed has new events. Reads no event.

Once a second, the process reads the number of the last event (the head) of each feed that has a stream in this process.
One statement reads all heads. A process without streams reads nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import feed_heads
from app.core.errors import Busy
from app.core.fault_report import describe_fault

POLL_SECONDS: Final = 1.0
"""The seconds between two polls of the feeds' heads."""
MAX_CLIENT_STREAMS, MAX_DISTRICT_STREAMS, MAX_STREAMS = 25, 50, 500
"""The maximum numbers of streams in one process: for a client in a district, for a district, and in total."""
MAX_READERS: Final = 4
"""The maximum number of streams that use the database at the same time in one process.

The limit is needed because a new event wakes all streams of its district at once, and because one caller can open
hundreds of subscriptions at once. Without it, they would use all connections of the process to the database.
"""
log = structlog.get_logger()


class Stopping(Exception):
    """Raised in a stream when the process ends. The client is expected to connect to another process."""


class Subscription:
    """The registration of one event stream, through which the stream waits for new events."""

    def __init__(self, client_id: UUID | None = None) -> None:
        self.client_id = client_id
        self.has_waited = self.is_stopping = False
        self._moved = asyncio.Event()

    def wake(self) -> None:
        """Records that the feed has new events, and wakes the stream if it waits for them."""
        self._moved.set()

    async def moved(self, seconds: float) -> bool:
        """Waits at most `seconds` seconds for events that came after the last call. Returns whether there are any.

        Raises `Stopping` when the process ends.
        """
        self.has_waited = True
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return False
        if self.is_stopping:
            raise Stopping
        self._moved.clear()
        return True


class FeedHub:
    """The event streams of one process.

    A single task regularly reads the number of the last event of each feed that has a stream.
    """

    def __init__(self, engine: AsyncEngine, every: float = POLL_SECONDS) -> None:
        self._engine, self._every = engine, every
        self._subscriptions: defaultdict[UUID, set[Subscription]] = defaultdict(set)
        self._heads: dict[UUID, tuple[UUID, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self.readers = asyncio.Semaphore(MAX_READERS)
        self.polls = 0
        """The number of polls so far; each is one statement."""

    def __len__(self) -> int:
        return sum(map(len, self._subscriptions.values()))

    @property
    def waiting(self) -> int:
        """Returns the number of streams that have waited for new events at least once.

        Before its first wait, a stream is still reading earlier events. After it, every new event wakes the stream.
        """
        return sum(
            subscription.has_waited for of_district in self._subscriptions.values() for subscription in of_district
        )

    def stop(self) -> None:
        """Ends every stream, because the process ends."""
        for of_district in self._subscriptions.values():
            for subscription in of_district:
                subscription.is_stopping = True
                subscription.wake()

    @contextmanager
    def subscribe(self, district_id: UUID, client_id: UUID | None = None) -> Iterator[Subscription]:
        """Registers a stream for the duration of a `with` block.

        If the number of the feed's last event (the head) is known already, the stream is woken once. Otherwise, if an
        event came after the stream's first read and before this call, the stream would notice it only with the next
        event.

        Raises `Busy` if the client, the district or the process already has the largest number of streams.
        """
        of_district = self._subscriptions.get(district_id, set())
        of_client = sum(client_id is not None and one.client_id == client_id for one in of_district)
        if len(of_district) >= MAX_DISTRICT_STREAMS or len(self) >= MAX_STREAMS or of_client >= MAX_CLIENT_STREAMS:
            detail = (
                f"There are too many streams already: at most {MAX_CLIENT_STREAMS} of one client and "
                f"{MAX_DISTRICT_STREAMS} of one district in a process."
            )
            raise Busy(detail, code="streams.too_many")
        subscription = Subscription(client_id)
        self._subscriptions[district_id].add(subscription)
        if district_id in self._heads:
            subscription.wake()
        if self._task is None:
            # The task gets an empty context, because it must not log the trace id of the first stream's request.
            self._task = Context().run(asyncio.create_task, self._poll())
        try:
            yield subscription
        finally:
            self._subscriptions[district_id].discard(subscription)
            if not self._subscriptions[district_id]:
                del self._subscriptions[district_id]
                self._heads.pop(district_id, None)
            if not self._subscriptions and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _poll(self) -> None:
        while True:
            try:
                self.polls += 1
                async with asyncio.timeout(10):
                    heads = await feed_heads(self._engine, list(self._subscriptions))
                for district_id, head in heads.items():
                    if self._heads.get(district_id) != head:
                        self._heads[district_id] = head
                        for subscription in self._subscriptions.get(district_id, ()):
                            subscription.wake()
            except Exception as error:  # the streams wait, and the next poll may succeed
                log.warning("feed_heads_not_read", **describe_fault(error))
            await asyncio.sleep(self._every)
