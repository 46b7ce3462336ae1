"""Decides which collection of a source may send the next request, and how many pages are requested in advance.

Fetches no page itself. Several collections are read at the same time, so that a request is always running. Collections
that are earlier in the order have priority: a collection sends a request only if no earlier collection is waiting to
send one.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class TurnQueue:
    """Limits the number of concurrent requests.

    The request with the lowest priority number is sent next. Of several requests with the same number, the request that
    has waited longest is sent first.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = count()

    @asynccontextmanager
    async def turn(self, number: int) -> AsyncIterator[None]:
        """Waits until a request with the priority `number` may be sent. The turn ends with the `async with` block.

        If the waiting is cancelled, the turn goes to the next request.
        """
        if self._free:
            self._free -= 1
        else:
            mine = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (number, next(self._ticket), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if not mine.cancelled():  # the turn was granted at the same moment
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
    """How many pages all collections of a source together may request in advance.

    In addition, each collection may always request one page.
    """

    def __init__(self, pages: int) -> None:
        self._free = pages

    def reserve(self) -> bool:
        """Takes one page from the budget. Returns False if the budget is used up."""
        if self._free < 1:
            return False
        self._free -= 1
        return True

    def release(self) -> None:
        """Gives one page back to the budget."""
        self._free += 1
