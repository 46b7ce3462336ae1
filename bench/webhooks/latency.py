"""From the commit of an event to the first attempt at the receiver, at a steady rate. Owns no threshold."""

import asyncio
import statistics
import time

from bench.webhooks.district import Bench, working

RATE = 50  # events a second
SECONDS = 60
PATIENCE = 30  # seconds without an arrival
WARM = 100  # events before the measurement, so that connections stand


async def latency(bench: Bench) -> list[tuple[str, float, str]]:
    """Milliseconds at 50 events a second over 20 endpoints, each event for one of them."""
    committed: dict[str, float] = {}
    with working(bench.settings):
        for number in range(WARM):
            await bench.happen(range(number, number + 1))
        await arrived(bench, WARM)
        began = time.perf_counter()
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            (event,) = await bench.happen(range(number, number + 1))
            committed[event] = time.time()
        came = await arrived(bench, RATE * SECONDS)
    first: dict[str, float] = {}
    for at, event in came:
        first.setdefault(event, at)
    waits = sorted((first[event] - at) * 1000 for event, at in committed.items())
    cut = statistics.quantiles(waits, n=100)
    return [("commit to first attempt, p50, ms", cut[49], "< 50"), ("the same, p99, ms", cut[98], "< 250")]


async def arrived(bench: Bench, count: int) -> list[tuple[float, str]]:
    """Waits until so many have come; what came. Raises `TimeoutError` where none comes any more."""
    came, last = bench.came(), time.monotonic()
    while len(came) < count:
        await asyncio.sleep(0.25)
        if more := bench.came():
            came, last = came + more, time.monotonic()
        elif time.monotonic() - last > PATIENCE:
            raise TimeoutError(f"{len(came)} of {count} came.")
    return came
