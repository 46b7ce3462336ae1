"""Measures a REST pull against a bare client that fetches the same pages, and prints the ratios.

`python -m bench.pull [--students 10000] [--version 1.1] [--rounds 7]` starts the sandbox SIS in a separate process.
First, a pull that is not timed records the pages. Then two clients are measured in each round, and take turns in going
first:

* The bare client fetches the recorded pages with httpx, in the same order and with the adapter's concurrency. It reads
  each body and drops it.
* The adapter signs in, reads the pages, and translates and stores the rows.

The time to open a client is measured for both, but only the adapter also signs in.
"""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import httpx

from app.sis.oneroster_rest.connection import Connection
from app.sis.oneroster_rest.pull import RestPull
from app.sis.oneroster_rest.signin import BearerToken
from app.sis.oneroster_rest.wire import Answer, Headers, Wire

SECRET = "of-a-bench"  # noqa: S105  # for a temporary server only
BASES = {"1.1": "ims/oneroster/v1p1", "1.2": "ims/oneroster/rostering/v1p2"}


@contextmanager
def sandbox(students: int) -> Iterator[str]:
    """Runs a sandbox SIS and yields its address."""
    command = [sys.executable, "-m", "app", "sandbox", "sis", "--students", str(students), "--until-stdin-closes"]
    process = subprocess.Popen(
        [*command, "--on", "2026-11-21", "--client", f"bench:{SECRET}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("The sandbox SIS has no streams.")
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(timeout=30)


class RecordingWire(Wire):
    """A wire (the adapter's HTTP connection) that records which pages are requested."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.pages: list[str] = []

    async def send(self, method: str, url: str, headers: Headers, body: bytes | None = None) -> Answer:
        """Sends a request, records its address, and returns the answer."""
        if method == "GET":
            self.pages.append(url)
        return await super().send(method, url, headers, body)


class Duration(NamedTuple):
    """A duration in seconds: the elapsed time, and the processor time of this process."""

    clock: float
    processor: float


@contextmanager
def timed(into: list[Duration]) -> Iterator[None]:
    """Measures the duration of the block and appends it to `into`."""
    began, worked = time.perf_counter(), time.process_time()
    yield
    into.append(Duration(time.perf_counter() - began, time.process_time() - worked))


async def adapter(connection: Connection, times: list[Duration]) -> tuple[int, list[str]]:
    """Reads a whole source; returns the number of stored rows and the addresses of the requested pages."""
    pull = RestPull(connection, None, lambda _doing, _done, _of: None)
    try:
        with timed(times):
            async with RecordingWire(connection) as wire:
                source = await pull.source(wire)
        rows = sum(chunk.count(b"\n") for delivery in source.deliveries.values() for chunk in delivery.read())
        return rows - len(source.deliveries), wire.pages
    finally:
        pull.close()


async def bare(connection: Connection, pages: list[str], times: list[Duration]) -> None:
    """Fetches the pages with httpx alone, with as many requests at once as the adapter sends."""
    async with Wire(connection) as wire:
        token = await BearerToken(wire, []).header("GET", connection.url)
    waiting = iter(pages)
    with timed(times):
        async with httpx.AsyncClient(headers={"Authorization": token}, timeout=120) as client:

            async def work() -> None:
                for page in waiting:
                    answer = await client.get(page)
                    answer.raise_for_status()

            await asyncio.gather(*(work() for _ in range(connection.concurrency)))


async def measure(connection: Connection, rounds: int) -> None:
    """Runs the rounds of the benchmark, and prints a table of the results."""
    rows, pages = await adapter(connection, [])
    print(
        f"{rows:,} rows on {len(pages):,} pages of at most {connection.page_size:,}, OneRoster {connection.version};",
        end=" ",
    )
    print(f"{connection.concurrency} requests at once; {rounds} rounds, medians\n")
    ours: list[Duration] = []
    theirs: list[Duration] = []
    for number in range(rounds):
        if number % 2 == 0:
            await bare(connection, pages, theirs)
        _, requested = await adapter(connection, ours)
        if sorted(requested) != sorted(pages):
            raise RuntimeError("The adapter asked for other pages than before: the two cannot be compared.")
        if number % 2:
            await bare(connection, pages, theirs)
    print("| | seconds | each | processor, seconds | rows/s | ratio |\n|---|---:|---|---:|---:|---:|")
    base = statistics.median(duration.clock for duration in theirs)
    for name, durations in (("bare httpx", theirs), ("adapter", ours)):
        middle = statistics.median(duration.clock for duration in durations)
        worked = statistics.median(duration.processor for duration in durations)
        each = " ".join(f"{duration.clock:.2f}" for duration in durations)
        print(f"| {name} | {middle:.2f} | {each} | {worked:.2f} | {rows / middle:,.0f} | {middle / base:.2f} |")
    pairs = statistics.median(mine.clock / other.clock for mine, other in zip(ours, theirs, strict=True))
    ratio = statistics.median(duration.clock for duration in ours) / base
    print(f"\nratio {ratio:.2f} (aim: at most 1.15); median of the rounds' own ratios {pairs:.2f}")
    print(
        f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; peak memory of this process",
        end=" ",
    )
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def main() -> None:
    """Runs the benchmark's command line."""
    parser = argparse.ArgumentParser(prog="bench.pull", description="Measure a REST pull against a bare client.")
    parser.add_argument("--students", type=int, default=10_000)
    parser.add_argument("--version", choices=tuple(BASES), default="1.1")
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    version: Literal["1.1", "1.2"] = options.version
    with sandbox(options.students) as address:
        connection = Connection(
            version=version,
            url=address + BASES[version],
            gradebook_url=None,
            token_url=f"{address}oauth/token",
            auth="oauth2-basic",
            client_id="bench",
            client_secret=SECRET,
            page_size=options.page_size,
            sandbox=True,
        )
        asyncio.run(measure(connection, options.rounds))


if __name__ == "__main__":
    main()
