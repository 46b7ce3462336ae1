"""Measures a REST pull beside a bare client that fetches the same pages. Owns no threshold: it prints ratios.

`python -m bench.pull [--students 10000] [--version 1.1] [--tries 3]` starts the sandbox SIS in a process of its own. A
first pull, which is not timed, says which pages there are. Then, in turns: httpx fetches them, in that order, as many
at once as the adapter has, and drops the bodies; the adapter pulls: signs in, walks, translates, writes its spool.
"""

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import httpx

from app.sis.oneroster_rest.connection import Connection
from app.sis.oneroster_rest.pull import Pull
from app.sis.oneroster_rest.signin import Token
from app.sis.oneroster_rest.wire import Answer, Headers, Wire

SECRET = "of-a-bench"  # noqa: S105  # of a throw-away server
BASES = {"1.1": "ims/oneroster/v1p1", "1.2": "ims/oneroster/rostering/v1p2"}


@contextmanager
def sandbox(students: int) -> Iterator[str]:
    """The address of a sandbox SIS."""
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


class Noting(Wire):
    """Notes the pages that are asked for."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.pages: list[str] = []

    async def ask(self, method: str, url: str, headers: Headers, body: bytes | None = None) -> Answer:
        """As ever."""
        if method == "GET":
            self.pages.append(url)
        return await super().ask(method, url, headers, body)


async def adapter(connection: Connection) -> tuple[float, int, list[str]]:
    """Seconds of a whole pull, the rows that it spooled, and the pages that it asked for."""
    pull = Pull(connection, None, lambda _doing, _done, _of: None)
    began = time.perf_counter()
    try:
        async with Noting(connection) as wire:
            source = await pull.source(wire)
        took = time.perf_counter() - began
        rows = sum(chunk.count(b"\n") for one in source.deliveries.values() for chunk in one.read())
        return took, rows - len(source.deliveries), wire.pages
    finally:
        pull.close()


async def bare(connection: Connection, pages: list[str]) -> float:
    """Seconds that httpx takes to fetch the pages, as many at once; it signs in before the clock starts."""
    async with Wire(connection) as wire:
        token = await Token(wire, []).header("GET", connection.url)
    waiting = iter(pages)
    async with httpx.AsyncClient(headers={"Authorization": token}, timeout=120) as client:

        async def work() -> None:
            for page in waiting:
                answer = await client.get(page)
                answer.raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connection.concurrency)))
        return time.perf_counter() - began


async def measure(connection: Connection, tries: int) -> None:
    """Prints the table."""
    _, rows, pages = await adapter(connection)
    print(f"{rows:,} rows on {len(pages):,} pages, {connection.concurrency} requests at once, OneRoster", end=" ")
    print(f"{connection.version}; {tries} tries in turns, medians\n")
    times: dict[str, list[float]] = {"bare httpx": [], "adapter": []}
    for _ in range(tries):
        times["bare httpx"].append(await bare(connection, pages))
        times["adapter"].append((await adapter(connection))[0])
    middle = {name: statistics.median(took) for name, took in times.items()}
    print("| | seconds | each | rows/s | ratio |\n|---|---:|---|---:|---:|")
    for name, took in times.items():
        each = " ".join(f"{one:.2f}" for one in took)
        ratio = middle[name] / middle["bare httpx"]
        print(f"| {name} | {middle[name]:.2f} | {each} | {rows / middle[name]:,.0f} | {ratio:.2f} |")
    print(f"\npeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.pull", description="Measure a REST pull beside a bare client.")
    parser.add_argument("--students", type=int, default=10_000)
    parser.add_argument("--version", choices=tuple(BASES), default="1.1")
    parser.add_argument("--page-size", type=int, default=1000)
    parser.add_argument("--tries", type=int, default=3)
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
        asyncio.run(measure(connection, options.tries))


if __name__ == "__main__":
    main()
