"""Measures the time from the commit of an event to its first attempt at the receiver, at a constant rate of events.

The figure has no target.
"""

import asyncio
import statistics
import time

from bench.webhooks.district import Bench, working

RATE = 50  # events a second
SECONDS = 60
PATIENCE = 30  # seconds without an arrival
WARM = 100  # events before the measurement, so that connections are open


async def latency(bench: Bench) -> list[tuple[str, float, str]]:
    """Measures the milliseconds from the commit of an event to its first arrival at an endpoint.

    Events are committed at a rate of 50 a second. There are 20 endpoints, and each event goes to one of them.
    """
    committed: dict[str, float] = {}
    with working(bench.settings):
        for number in range(WARM):
            await bench.commit_events(range(number, number + 1))
        await arrived(bench, WARM)
        began = time.perf_counter()
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            (event,) = await bench.commit_events(range(number, number + 1))
            committed[event] = time.time()
        arrivals = await arrived(bench, RATE * SECONDS)
    first: dict[str, float] = {}
    for at, event in arrivals:
        first.setdefault(event, at)
    waits = sorted((first[event] - at) * 1000 for event, at in committed.items())
    cut = statistics.quantiles(waits, n=100)
    return [("commit to first attempt, p50, ms", cut[49], "< 50"), ("the same, p99, ms", cut[98], "< 250")]


async def arrived(bench: Bench, count: int) -> list[tuple[float, str]]:
    """Waits for this many arrivals and returns them; raises `TimeoutError` if no more arrive."""
    arrivals, last = bench.take_arrivals(), time.monotonic()
    while len(arrivals) < count:
        await asyncio.sleep(0.25)
        if new_arrivals := bench.take_arrivals():
            arrivals, last = arrivals + new_arrivals, time.monotonic()
        elif time.monotonic() - last > PATIENCE:
            raise TimeoutError(f"{len(arrivals)} of {count} came.")
    return arrivals
