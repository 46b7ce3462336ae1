"""Measures how many webhook deliveries a worker sends per second, and how much memory it uses.

The rate is compared with the rate of a loop that only signs and sends, with httpx over the aiohttp transport.
"""

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from app.core.ids import format_id, new_id
from app.webhooks import sign
from bench.webhooks.district import Bench, working
from bench.webhooks.latency import arrived

CONCURRENCIES = (8, 16, 32, 64, 128)
POSTS = 4000
DELIVERIES = 20_000
BACKLOG = int(os.environ.get("AIMLINE_BENCH_BACKLOG", "100000"))
TRANSACTION = 500  # events committed at once


async def throughput(bench: Bench) -> list[tuple[str, float, str]]:
    """Returns how many webhook deliveries one worker sends per second.

    Also returns this rate as a share of the rate of a loop that only signs and sends.
    """
    rates = {at_once: await _bare(bench, at_once) for at_once in CONCURRENCIES}
    best = max(rates, key=lambda at_once: rates[at_once])
    bench.take_arrivals()
    await _lay(bench, DELIVERIES)
    with working(bench.settings):
        rate = _rate(await arrived(bench, DELIVERIES))
    repeated = await _bare(bench, best)
    bare = (rates[best] + repeated) / 2
    bench.take_arrivals()
    return [
        (f"bare loop, posts a second at {best} at once", bare, ""),
        ("deliveries a second, one worker", rate, ""),
        ("share of the bare loop", rate / bare, "≥ .5"),
    ]


async def backlog(bench: Bench) -> list[tuple[str, float, str]]:
    """Returns the rate of deliveries from a long backlog, and how much the worker's memory grows meanwhile.

    The memory after nine tenths of the backlog is compared with that after one tenth.
    """
    await _lay(bench, BACKLOG)
    memory: dict[int, int] = {}
    arrivals: list[tuple[float, str]] = []
    with working(bench.settings) as worker:
        while len(arrivals) < BACKLOG:
            await asyncio.sleep(0.2)
            arrivals += bench.take_arrivals()
            for mark in (BACKLOG // 10, BACKLOG * 9 // 10):
                if len(arrivals) >= mark and mark not in memory:
                    memory[mark] = _resident(worker.pid)
    early, late = memory[BACKLOG // 10], memory[BACKLOG * 9 // 10]
    tenth = BACKLOG // 10
    return [
        (f"backlog of {BACKLOG:,}: deliveries a second", _rate(arrivals), "as above"),
        ("the same, the last tenth", _rate(arrivals[-tenth:]), "as above"),
        (f"worker's memory at {BACKLOG - tenth:,} sent, MB", late / 1e6, ""),
        (f"the same over that at {tenth:,}", late / early, "≤ 1.1"),
    ]


async def _lay(bench: Bench, count: int) -> None:
    for begin in range(0, count, TRANSACTION):
        await bench.commit_events(range(begin, begin + TRANSACTION))


def _rate(arrivals: list[tuple[float, str]]) -> float:
    return (len(arrivals) - 1) / (arrivals[-1][0] - arrivals[0][0])


def _resident(pid: int) -> int:
    """Returns how many bytes of memory a process uses (on Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


async def _bare(bench: Bench, at_once: int) -> float:
    """Returns the requests per second of a loop that signs and sends, and stores nothing."""
    secret = b"x" * sign.SECRET_BYTES
    body = orjson.dumps({"type": "concern.raised", "timestamp": "2026-11-22T00:00:00Z", "data": {"id": "x" * 200}})
    numbers = iter(range(POSTS))

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async with httpx.AsyncClient(transport=AiohttpTransport(client=session), trust_env=False) as client:

        async def loop() -> None:
            for number in numbers:
                headers = sign.headers([secret], format_id("event", new_id()), datetime.now(UTC), body)
                headers = {"content-type": "application/json", **headers}
                url = f"http://127.0.0.1:{bench.port}/{number % 20}"
                (await client.post(url, content=body, headers=headers)).raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(loop() for _ in range(at_once)))
        return POSTS / (time.perf_counter() - began)
