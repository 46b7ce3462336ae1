"""Limits how many connections of a pool are in use for requests that write, so that reads always get a connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.errors import Unavailable

READS_KEEP = 4
"""One in `READS_KEEP` connections is reserved for readers, and at least one in a pool of two or more connections."""


class WriterShare:
    """Limits how many connections are in use for writing at the same time.

    A request that writes waits for its turn before it takes a connection.
    """

    def __init__(self, connections: int, wait: float) -> None:
        self.most = max(1, connections - max(1, connections // READS_KEEP))
        self._turns = asyncio.Semaphore(self.most)
        self._wait = wait

    @asynccontextmanager
    async def turn(self, *, writes: bool = True) -> AsyncIterator[None]:
        """Waits until the caller may take a connection; readers do not wait.

        Raises `Unavailable` if the wait is too long.
        """
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
