"""Limits the rows that one running operation may read, and the time for which it may run without a pause."""

import asyncio
import time
from typing import Any

from app.core.turns import STRETCH
from app.graphql.limits import TooMuch


class Budget:
    """The number of rows that one operation may still read, and the time of its next pause for other requests.

    The cost of a document is computed before it runs, and must guess the length of lists that have no pages. The budget
    counts the rows that are really read, so that the limit applies even if a list is longer than the guess.
    """

    def __init__(self, rows: int) -> None:
        self.exceeded: TooMuch | None = None
        self._rows, self._most = 0, rows
        self._turns = asyncio.Lock()
        self._until = time.monotonic() + STRETCH

    def take(self, result: Any) -> None:
        """Counts the rows of a read; raises `TooMuch` if the operation has now read more rows than it may."""
        self.count(_count(result))

    def count(self, rows: int) -> None:
        """Counts rows that were read; raises `TooMuch` if the operation has now read more rows than it may."""
        self._rows += rows
        if self._rows > self._most and self.exceeded is None:
            detail = f"The operation reads more than {self._most} rows; ask for shorter pages."
            self.exceeded = TooMuch(detail, code="cost.exceeded")
        if self.exceeded is not None:
            raise self.exceeded

    async def give_turn(self) -> None:
        """Lets other requests run if this operation's resolvers have been running for long.

        A read of many rows at once wakes up to a thousand resolvers in one turn of the event loop. Without this pause,
        all of them would run before any other request.
        """
        if time.monotonic() < self._until:
            return
        async with self._turns:
            if time.monotonic() >= self._until:
                await asyncio.sleep(0)
                self._until = time.monotonic() + STRETCH


def _count(result: Any) -> int:
    return len(result) if isinstance(result, list | tuple) else 1
