"""Measures processor time. On a busy machine one measurement can be too high, so the least of several counts."""

import time
from collections.abc import Awaitable, Callable

TRIES = 10
"""The number of repetitions, if none of them is below the limit."""


def least_seconds(work: Callable[[], object], limit: float, tries: int = TRIES) -> float:
    """Runs `work` until it takes less than `limit` seconds of processor time, at most `tries` times.

    Returns the least processor time of a run.
    """
    least = float("inf")
    for _ in range(tries):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
        if least < limit:
            break
    return least


async def least_seconds_awaited(work: Callable[[], Awaitable[object]], limit: float) -> float:
    """Returns the least processor time of awaiting `work()`, in seconds, in the same way as `least_seconds`."""
    least = float("inf")
    for _ in range(TRIES):
        began = time.process_time()
        await work()
        least = min(least, time.process_time() - began)
        if least < limit:
            break
    return least
