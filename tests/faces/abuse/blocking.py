"""Measures for how long a test's event loop is blocked, in processor time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass
class Blocking:
    """The longest time for which the event loop was blocked so far.

    It is measured in seconds of processor time of the event loop's thread.
    """

    longest: float = 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Blocking]:
    """Measures for how long the event loop is blocked while the `async with` block runs."""
    blocking = Blocking()

    async def watch() -> None:
        began = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            blocking.longest, began = max(blocking.longest, now - began), now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    try:
        yield blocking
    finally:
        watching.cancel()
