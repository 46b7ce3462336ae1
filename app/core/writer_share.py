"""Owns how many connections of a pool writers may have at once: what is left over serves reads, whatever writers wait
for. Never opens a connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.errors import Unavailable

READS_KEEP = 4
"""Reads keep one connection in so many, and always one."""


class WriterShare:
    """The writers' share of a pool of so many connections; a writer waits for its turn before it takes one."""

    def __init__(self, connections: int, wait: float) -> None:
        self.most = max(1, connections - max(1, connections // READS_KEEP))
        self._turns = asyncio.Semaphore(self.most)
        self._wait = wait

    @asynccontextmanager
    async def turn(self, *, writes: bool = True) -> AsyncIterator[None]:
        """Waits for a writer's turn, for nothing where nothing is written; raises `Unavailable` after the wait."""
        if not writes:
            yield
            return
        try:
            async with asyncio.timeout(self._wait):
                await self._turns.acquire()
        except TimeoutError:
            detail = "Too many other requests are writing. Nothing was changed. Try again."
            raise Unavailable(detail, code="database.busy") from None
        try:
            yield
        finally:
            self._turns.release()
