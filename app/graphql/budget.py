"""Owns what one running operation may still use: rows, and the process's time at a stretch. Never reads a row."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from app.core.page import Page
from app.graphql.limits import TooMuch

STRETCH = 0.02
"""Seconds that one operation's resolvers run before other requests of the process have their turn."""


class Budget:
    """The budget of one operation.

    The cost of a document assumes how long a list without pages is. Here what is really read is counted, so that the
    limit holds whatever was assumed.
    """

    def __init__(self, rows: int) -> None:
        self.exceeded: TooMuch | None = None
        self._rows, self._most = 0, rows
        self._turns = asyncio.Lock()
        self._until = time.monotonic() + STRETCH

    def take(self, result: Any) -> None:
        """Counts the rows of a read; raises `TooMuch` once there are more than the operation may return."""
        self._rows += _count(result)
        if self._rows > self._most and self.exceeded is None:
            detail = f"The operation reads more than {self._most} rows; ask for shorter pages."
            self.exceeded = TooMuch(detail, code="cost.exceeded")
        if self.exceeded is not None:
            raise self.exceeded

    async def give_turn(self) -> None:
        """Lets other requests run, where this operation's resolvers have run for long.

        A batch read wakes a thousand resolvers in one turn of the event loop. They pass the lock one a turn.
        """
        if time.monotonic() < self._until:
            return
        async with self._turns:
            if time.monotonic() >= self._until:
                await asyncio.sleep(0)
                self._until = time.monotonic() + STRETCH


def _count(result: Any) -> int:
    if isinstance(result, Page):
        return len(result.rows)
    if isinstance(result, Mapping):
        return sum(len(value) if isinstance(value, list | tuple) else 1 for value in result.values())
    return len(result) if isinstance(result, list | tuple) else 1
