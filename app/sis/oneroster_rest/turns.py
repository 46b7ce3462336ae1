"""Owns whose page is asked for next, and how many pages are held that nobody has taken yet. Never fetches one.

Collections are open side by side so that a request is always under way; but what comes first in their order goes first,
so that a later one is read only where the earlier ones have nothing to ask for.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class TurnQueue:
    """So many at once; of those who wait the lowest number first, and with one number the first who came."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = count()

    @asynccontextmanager
    async def of(self, number: int) -> AsyncIterator[None]:
        """A turn. Whoever is cancelled while waiting leaves no gap behind."""
        if self._free:
            self._free -= 1
        else:
            mine = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (number, next(self._ticket), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if not mine.cancelled():  # it was called in the same moment
                    self._next()
                raise
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1


class PageBudget:
    """The pages that may be under way or waiting to be taken, of all walks together. Each walk may have one beyond."""

    def __init__(self, pages: int) -> None:
        self._free = pages

    def take(self) -> bool:
        """Whether there was room for one more, which is then taken."""
        if self._free < 1:
            return False
        self._free -= 1
        return True

    def give(self) -> None:
        """There is room for one again."""
        self._free += 1
