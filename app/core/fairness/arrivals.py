"""Holds running requests back for a moment, so that the event loop first receives the requests that have arrived."""

import asyncio

MOST_TURNS = 32
"""The largest number of turns of the event loop for which running requests are held back.

The loop accepts one connection in each turn, and a request on a new connection takes three more turns.
"""
QUIET_TURNS = 6
"""Running requests continue after this many turns in which nothing arrived.

A turn takes ten to thirty microseconds of the processor even if nothing happens in it.
"""


class Arrivals:
    """Counts new connections and requests, and tells running requests to wait while more of them arrive."""

    def __init__(self) -> None:
        self._count = 0
        self._received: asyncio.Future[None] | None = None

    def note(self) -> None:
        """Records that a connection was opened or that a request has come."""
        self._count += 1

    def receive(self) -> None:
        """Makes running requests wait until the event loop has read the requests that have already arrived."""
        if self.awaited is None:
            self._received = asyncio.get_running_loop().create_future()
            self._turn(MOST_TURNS, QUIET_TURNS, self._count, self._received)

    @property
    def awaited(self) -> "asyncio.Future[None] | None":
        """Returns the future that running requests must wait for, or None if they may continue now."""
        return None if self._received is None or self._received.done() else self._received

    def _turn(self, turns: int, quiet: int, count: int, received: "asyncio.Future[None]") -> None:
        if self._count != count:
            quiet = QUIET_TURNS
        if turns == 0 or quiet == 0:
            if not received.done():
                received.set_result(None)
            return
        asyncio.get_running_loop().call_soon(self._turn, turns - 1, quiet - 1, self._count, received)
