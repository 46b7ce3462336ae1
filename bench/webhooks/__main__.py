"""Runs the benchmarks of webhooks and the feed, and prints each figure with its limit."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from app.core.db import open_engine
from app.settings import Settings
from bench.server import as_owner, migrated
from bench.webhooks.district import Bench, open_bench, receiving
from bench.webhooks.feed import feed
from bench.webhooks.latency import latency
from bench.webhooks.throughput import backlog, throughput

Line = tuple[str, float, str]
PARTS: dict[str, Callable[[Bench], Awaitable[list[Line]]]] = {
    "latency": latency,
    "throughput": throughput,
    "backlog": backlog,
    "feed": feed,
}


async def _run(settings: Settings, port: int, parts: list[str]) -> list[Line]:
    engine = open_engine(settings.url_of("worker"), name="bench")
    lines = []
    try:
        for part in parts:
            lines += await PARTS[part](await open_bench(settings, engine, port, part))
    finally:
        await engine.dispose()
    return lines


def main() -> None:
    """Runs the parts of the benchmark that the command line names, and prints a table of the results."""
    parser = argparse.ArgumentParser(prog="bench.webhooks", description="Measure webhooks and the feed.")
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    options = parser.parse_args().parts
    if unknown := set(options) - set(PARTS):
        parser.error(f"There is no part {', '.join(sorted(unknown))}.")
    with migrated(sandbox=True) as settings, receiving() as port:
        version = asyncio.run(as_owner(settings, "SHOW server_version"))
        lines = asyncio.run(_run(settings, port, options))
    print(f"PostgreSQL {version}")
    print("| figure | measured | limit |\n|---|---:|---:|")
    for name, measured, limit in lines:
        print(f"| {name} | {measured:,.2f} | {limit} |")


if __name__ == "__main__":
    main()
