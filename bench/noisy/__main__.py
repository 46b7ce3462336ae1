"""Measures how much the requests of district B are delayed while district A sends load, and compares it with the limit.

The delay is the 95th percentile (p95) of B's latencies. The limit is B's p95 without other load plus the time of A's
longest allowed request. The program prints both, and exits with 1 if B's p95 exceeds the limit in REST or in GraphQL.
"""

import argparse
import asyncio
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import ClientSession

from app.core.db import open_engine
from app.graphql.limits import Limits
from app.settings import Settings
from bench.noisy.districts import open_with_students, serving, token_of
from bench.noisy.load import Call, closed_loop, fixed_rate, in_another_process, latencies_of, new_session
from bench.server import migrated

CONNECTIONS, RATE, STUDENTS = 16, 5, 2000
NODES = (
    "id givenName familyName grades schoolIds departed",
    "id givenName familyName schools { id name }",
    "id givenName familyName enrollments { classId role } schools { id name }",
)
"""The fields of a student in A's candidates for the longest query. The district has no other rows."""
PATHS = ("/v1/students?limit=200", "/v1/students?limit=200&expand=schools,enrollments")
"""A's candidates for the longest request of REST."""
PAGE = "students(first: {first}) {{ edges {{ cursor node {{ {node} }} }} pageInfo {{ endCursor hasNextPage }} }}"


def query_of(node: str, pages: int, first: int = 200) -> str:
    """Returns a query of some pages of students."""
    page = PAGE.format(first=first, node=node)
    return "{ " + " ".join(f"a{number}: {page}" for number in range(pages)) + " }"


@dataclass(frozen=True, slots=True)
class Figures:
    """The measured latencies of one API, in seconds.

    `alone` and `beside` are those of B, without and with the load of A. `longest` is the p95 of A's longest request on
    one connection. `loud` are the latencies of A's load, which took `seconds`.
    """

    alone: list[float]
    longest: float
    beside: list[float]
    loud: list[float]
    seconds: float

    @property
    def limit(self) -> float:
        """Returns the largest p95 that district B may have."""
        return p95(self.alone) + self.longest

    @property
    def is_exceeded(self) -> bool:
        """Returns whether B's p95 beside A is over the limit."""
        return p95(self.beside) > self.limit


def p95(latencies: list[float]) -> float:
    """Returns the smallest latency that 95 % of the latencies do not exceed."""
    return sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1]


async def _longest(candidates: Sequence[Call]) -> tuple[Call, float]:
    """Returns the candidate that takes longest on one connection, with its p95 in seconds."""
    seconds: dict[Call, float] = {}
    for call in candidates:
        await closed_loop(call, 1, 1)
        seconds[call] = p95(await closed_loop(call, 1, 8))
    return max(seconds.items(), key=lambda item: item[1])


async def _costliest_queries(base_url: str, token: str) -> list[Call]:
    """Returns for each of `NODES` a query of as many pages as the limits of cost and aliases allow."""
    limits, calls = Limits(), []
    async with new_session() as session:
        for node in NODES:
            cost = await _cost(session, Call(base_url, token, "/graphql", query_of(node, 1)))
            pages = min(limits.cost // cost, limits.aliases)
            calls.append(Call(base_url, token, "/graphql", query_of(node, pages)))
            print(f"A may send {pages} pages of {{ {node} }}, at a cost of {pages * cost} of {limits.cost}.")
    return calls


async def _cost(session: ClientSession, call: Call) -> int:
    return int(json.loads(await call.send(session))["extensions"]["cost"])


async def _measure(candidates: Sequence[Call], quiet: Call, seconds: float) -> Figures:
    count = int(RATE * seconds)
    await fixed_rate(quiet, RATE, 10)
    alone = await fixed_rate(quiet, RATE, count)
    loud, longest = await _longest(candidates)
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
        "REST": ([Call(base_url, loud, path) for path in PATHS], Call(base_url, quiet, "/v1/students?limit=20")),
        "GraphQL": (
            await _costliest_queries(base_url, loud),
            Call(base_url, quiet, "/graphql", query_of(NODES[0], 1, first=20)),
        ),
    }
    return {face: await _measure(long, short, seconds) for face, (long, short) in calls.items()}


def report(figures: dict[str, Figures]) -> int:
    """Prints a table of the figures of each API; returns 1 if B exceeds its limit in any of them, otherwise 0."""
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
    exceeded = [face for face, face_figures in figures.items() if face_figures.is_exceeded]
    if exceeded:
        print(f"\nB's p95 exceeds its limit over {' and '.join(exceeded)}.")
    else:
        print("\nB's p95 is within its limit.")
    return 1 if exceeded else 0


def main() -> None:
    """Measures both APIs, prints a table, and exits with 1 if B exceeds its limit."""
    parser = argparse.ArgumentParser(
        prog="bench.noisy", description="Measure what one district's load does to another."
    )
    parser.add_argument("--seconds", type=float, default=30, help="seconds of each measurement of B (30)")
    parser.add_argument("--concurrency", type=int, help="concurrent requests, if other than the product's default")
    parsed = parser.parse_args()
    options = {"concurrency": parsed.concurrency} if parsed.concurrency else {}
    with migrated(**options) as settings, serving(settings) as base_url:
        print(f"{settings.concurrency} requests at once; milliseconds\n")
        figures = asyncio.run(_run(settings, base_url, parsed.seconds))
    sys.exit(report(figures))


if __name__ == "__main__":
    main()
