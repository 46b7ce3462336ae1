"""Lets other requests run during work that would otherwise occupy the event loop for long."""

import asyncio
import time
from typing import Final

STRETCH: Final = 0.02
"""The seconds for which one request may occupy the event loop before it lets other requests run."""


class Turns:
    """The time at which the work of one request must let other requests run."""

    def __init__(self) -> None:
        self._until = time.monotonic() + STRETCH

    async def give(self) -> None:
        """Lets other requests run if this work has occupied the event loop for long."""
        if time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + STRETCH
