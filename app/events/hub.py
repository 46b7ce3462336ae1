"""Tells the streams of a process that their district's feed has moved on. Reads no event.

Each process asks once a second for the heads of the feeds that have a stream, with one statement however many streams
there are. It asks for nothing while there is none.
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

EVERY: Final = 1.0
"""Seconds between two looks at the heads."""
OF_CLIENT, OF_DISTRICT, OF_PROCESS = 25, 50, 500
"""The largest number of streams of one client in a district, of one district, and of all, in one process."""
READERS: Final = 4
"""The number of streams of a process that read events at once: a head that moves wakes all of its district."""
log = structlog.get_logger()


class Subscription:
    """One stream's place at the hub."""

    def __init__(self, client_id: UUID | None = None) -> None:
        self.client_id = client_id
        self._moved = asyncio.Event()

    def wake(self) -> None:
        """Notes that the feed has moved on."""
        self._moved.set()

    async def moved(self, seconds: float) -> bool:
        """Waits until the feed has moved on since the last call, or for so long; returns whether it has."""
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            return False
        self._moved.clear()
        return True


class FeedHub:
    """The streams of one process, and the task that looks at the heads for all of them."""

    def __init__(self, engine: AsyncEngine, every: float = EVERY) -> None:
        self._engine, self._every = engine, every
        self._subscriptions: defaultdict[UUID, set[Subscription]] = defaultdict(set)
        self._heads: dict[UUID, tuple[UUID, int]] = {}
        self._task: asyncio.Task[None] | None = None
        self.readers = asyncio.Semaphore(READERS)
        self.looks = 0
        """The number of statements so far."""

    def __len__(self) -> int:
        return sum(map(len, self._subscriptions.values()))

    @contextmanager
    def subscribe(self, district_id: UUID, client_id: UUID | None = None) -> Iterator[Subscription]:
        """Gives a stream its place; raises `Busy` where the client, the district or the process has as many as it may
        have.
        """
        of_district = self._subscriptions.get(district_id, set())
        of_client = sum(client_id is not None and one.client_id == client_id for one in of_district)
        if len(of_district) >= OF_DISTRICT or len(self) >= OF_PROCESS or of_client >= OF_CLIENT:
            detail = (
                f"There are too many streams already: at most {OF_CLIENT} of one client and {OF_DISTRICT} of one "
                "district in a process."
            )
            raise Busy(detail, code="streams.too_many")
        subscription = Subscription(client_id)
        self._subscriptions[district_id].add(subscription)
        if self._task is None:
            # Outside of the context of the first request: its turn and trace id are not those of the others.
            self._task = Context().run(asyncio.create_task, self._look_again_and_again())
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

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                self.looks += 1
                async with asyncio.timeout(10):
                    heads = await feed_heads(self._engine, list(self._subscriptions))
                for district_id, head in heads.items():
                    if self._heads.get(district_id) != head:
                        self._heads[district_id] = head
                        for subscription in self._subscriptions.get(district_id, ()):
                            subscription.wake()
            except Exception as error:  # whatever it is: the streams wait, and the next look may succeed
                log.warning("feed_heads_not_read", **describe_fault(error))
            await asyncio.sleep(self._every)
