"""Measures how much the requests of district B are delayed while district A sends load, and prints it with the limit.

The delay is the 95th percentile (p95) of B's latencies. The limit is B's p95 without other load plus A's longest
request.
"""

import argparse
import asyncio
import math
import statistics
from dataclasses import dataclass

from app.core.db import open_engine
from app.settings import Settings
from bench.noisy.districts import open_with_students, serving, token_of
from bench.noisy.load import Call, closed_loop, fixed_rate, in_another_process, latencies_of
from bench.server import migrated

CONNECTIONS, RATE, STUDENTS, PAGES = 16, 5, 2000, 5
PAGE = "students(first: {first}) {{ edges {{ node {{ id givenName familyName grades schoolIds departed }} }} }}"
LONG_QUERY = "{ " + " ".join(f"a{n}: {PAGE.format(first=200)}" for n in range(PAGES)) + " }"
QUERY = "{ " + PAGE.format(first=20) + " }"


@dataclass(frozen=True, slots=True)
class Figures:
    """The measured latencies of one API, in seconds."""

    alone: list[float]
    longest: float
    beside: list[float]
    loud: list[float]
    seconds: float

    @property
    def limit(self) -> float:
        """Returns the largest p95 that district B may have."""
        return p95(self.alone) + self.longest


def p95(latencies: list[float]) -> float:
    """Returns the smallest latency that 95 % of the latencies do not exceed."""
    return sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]


async def _measure(loud: Call, quiet: Call, seconds: float) -> Figures:
    count = int(RATE * seconds)
    await fixed_rate(quiet, RATE, 10)
    alone = await fixed_rate(quiet, RATE, count)
    await closed_loop(loud, 1, 1)
    longest = p95(await closed_loop(loud, 1, 8))
    process = await in_another_process(loud, CONNECTIONS, seconds + 6)
    await asyncio.sleep(3)
    latencies_under_load = await fixed_rate(quiet, RATE, count)
    return Figures(alone, longest, latencies_under_load, await latencies_of(process), seconds + 6)


async def _run(settings: Settings, base_url: str, seconds: float) -> dict[str, Figures]:
    engine = open_engine(settings.url_of("worker"), name="bench")
    try:
        loud, quiet = [
            token_of(settings, await open_with_students(engine, settings, slug, STUDENTS), base_url)
            for slug in ("loud", "quiet")
        ]
    finally:
        await engine.dispose()
    calls = {
        "REST": (("/v1/students?limit=200", ""), ("/v1/students?limit=20", "")),
        "GraphQL": (("/graphql", LONG_QUERY), ("/graphql", QUERY)),
    }
    return {
        face: await _measure(Call(base_url, loud, *long), Call(base_url, quiet, *short), seconds)
        for face, (long, short) in calls.items()
    }


def main() -> None:
    """Measures both APIs and prints a table."""
    parser = argparse.ArgumentParser(
        prog="bench.noisy", description="Measure what one district's load does to another."
    )
    parser.add_argument("--seconds", type=float, default=30, help="seconds of each measurement of B (30)")
    parser.add_argument("--concurrency", type=int, help="concurrent requests, if other than the product's default")
    parsed = parser.parse_args()
    options = {"concurrency": parsed.concurrency} if parsed.concurrency else {}
    with migrated(**options) as settings, serving(settings) as base_url:
        figures = asyncio.run(_run(settings, base_url, parsed.seconds))
    print(f"{settings.concurrency} requests at once; milliseconds\n")
    print(
        "| face | B alone, p50 | p95 | A's longest, p95 alone | limit | B beside A, p50 | p95 | A, requests a second |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for face, face_figures in figures.items():
        cells = [
            statistics.median(face_figures.alone),
            p95(face_figures.alone),
            face_figures.longest,
            face_figures.limit,
        ]
        cells += [statistics.median(face_figures.beside), p95(face_figures.beside)]
        rates = f"{len(face_figures.loud) / face_figures.seconds:.1f}"
        print(f"| {face} | " + " | ".join(f"{1000 * cell:.1f}" for cell in cells) + f" | {rates} |")


if __name__ == "__main__":
    main()
