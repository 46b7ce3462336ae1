"""Measures REST's pages of 50 rows, each compared with a route that only runs the same SQL statement.

`python -m bench.graphql.page [--seconds 8] [--rounds 3]`. The servers take turns within each round.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from app.access.permission import GRANTABLE
from app.settings import Settings
from bench.graphql.bare import PAGES
from bench.graphql.district import Made, make_district
from bench.noisy.districts import serving, token_of
from bench.noisy.load import Call, closed_loop
from bench.server import migrated

CONNECTIONS = (1, 8)


@contextmanager
def serving_bare(settings: Settings, made: Made) -> Iterator[str]:
    """Runs the routes of the bare server in a process, and yields their address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIMLINE_")}
    env = inherited | {"AIMLINE_DATABASE_URL": settings.database_url, "AIMLINE_KEY": settings.key}
    command = [sys.executable, "-m", "bench.graphql.bare", str(port), str(made.district_id)]
    with subprocess.Popen(command, env=env) as process:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


async def _rate(call: Call, connections: int, seconds: float) -> float:
    """Returns the number of answers per second."""
    await closed_loop(call, connections, min(1.5, seconds))
    return len(await closed_loop(call, connections, seconds)) / seconds


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(prog="bench.graphql.page", description="Measure REST's pages against bare routes.")
    parser.add_argument("--seconds", type=float, default=8, help="seconds of each measurement (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median is taken (3)")
    parsed = parser.parse_args()
    rates: defaultdict[tuple[str, int, str], list[float]] = defaultdict(list)
    quotas = {"district_requests": 10_000_000, "client_requests": 10_000_000}
    with migrated(sandbox=True, **quotas) as settings:
        made = asyncio.run(make_district(settings))
        with serving(settings) as base_url, serving_bare(settings, made) as bare_url:
            token = token_of(settings, made.district_id, base_url, tuple(sorted(can.value for can in GRANTABLE)))
            for _ in range(parsed.rounds):
                for page in PAGES:
                    for connections in CONNECTIONS:
                        for who, address in (("bare", bare_url), ("ours", base_url)):
                            call = Call(address, token, f"/v1/{page}?limit=50")
                            rate = asyncio.run(_rate(call, connections, parsed.seconds))
                            rates[page, connections, who].append(rate)
    print("| page of 50 | connections | bare route, a second | ours, a second | ratio |")
    print("|---|---:|---:|---:|---:|")
    for page in PAGES:
        for connections in CONNECTIONS:
            bare, ours = (statistics.median(rates[page, connections, who]) for who in ("bare", "ours"))
            print(f"| {page} | {connections} | {bare:.1f} | {ours:.1f} | {ours / bare:.2f} |")
    print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
