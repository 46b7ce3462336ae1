"""Measures processor time. On a busy machine a single measurement can be too high, so the least of several is
returned.
"""

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
    """Awaits `work()` until it takes less than `limit` seconds of processor time, at most `TRIES` times.

    Returns the least processor time of a run, in seconds.
    """
    least = float("inf")
    for _ in range(TRIES):
        began = time.process_time()
        await work()
        least = min(least, time.process_time() - began)
        if least < limit:
            break
    return least
