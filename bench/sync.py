"""Measures the sync, and prints each figure with its target. A figure is the ratio of two times from the same run.

`python -m bench.sync [--students 100000] [--rounds 3] [--dlt PYTHON [--dlt-whole]]`; see `bench/README.md`. Every sync
runs in a separate process. The database is on the embedded server in a temporary folder, or on the server of
`AIMLINE_DATABASE_URL`.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.engine import make_url

from app.cli.district import open_district
from app.core.db import open_engine
from app.settings import Settings
from app.sis.kinds import KINDS
from bench import sync_files
from bench.server import as_owner, migrated
from bench.sync_peer import bare_copy, peer, streamed_copy

SMALLER = 10  # the factor by which the district for growth and dlt is smaller
TABLES = ", ".join(f"'{name}'" for name in (*(kind.table for kind in KINDS), "external_id", "school_membership"))
WRITTEN = (
    "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables "
    f"WHERE schemaname = 'public' AND relname IN ({TABLES})"
)


@dataclass
class Measured:
    """The results of the runs.

    * `seconds`: the durations of the runs, keyed by the name of the run.
    * `rows`: the number of rows of the first load. `changes`: the number of changed rows in a later run.
    * `written`: the number of roster rows that unchanged runs wrote, which should be 0.
    * `peak`: the largest memory of a process, in MiB.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    rows: int = 0
    changes: int = 0
    written: int = 0
    peak: float = 0.0

    def note(self, name: str, seconds: float) -> None:
        """Records the time of one run and prints it."""
        self.seconds.setdefault(name, []).append(seconds)
        print(f"  {name:<32}{seconds:9.2f} s   load {os.getloadavg()[0]:.1f}", flush=True)

    def of(self, name: str) -> float:
        """Returns the median time of the runs with this name."""
        return statistics.median(self.seconds[name])


def sync(settings: Settings, district: UUID, path: Path, measured: Measured, name: str) -> dict[str, Any]:
    """Runs one sync in a separate process and returns the figures that it prints."""
    environment = {"AIMLINE_DATABASE_URL": settings.database_url, "AIMLINE_KEY": settings.key}
    process = subprocess.run(
        [sys.executable, "-m", "bench.sync_one", str(path), str(district)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    # The run prints its log lines before the report.
    report: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    if report["state"] != "applied" or report["quarantined"]:
        raise SystemExit(f"{name}: {report['sentence']}")
    measured.note(name, report["seconds"])
    measured.peak = max(measured.peak, report["peak"])
    return report


def measure(students: int, rounds: int, *, with_peer: bool) -> Measured:
    """Measures a first load, unchanged runs and changed runs.

    With `with_peer`, also measures the loading of the same files by plain COPY.
    """
    measured, path = Measured(), sync_files.base(students)
    unchanged, news = sync_files.shuffled(path), sync_files.changed(path)
    print(f"{path.name}:", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = sync_files.unpacked(path, Path(name))
        if with_peer:
            with migrated() as settings:
                measured.note(
                    "peer's load", asyncio.run(peer(settings, asyncio.run(_district(settings)), path, folder))
                )
        with migrated() as settings:
            district = asyncio.run(_district(settings))
            measured.rows = sync(settings, district, path, measured, "first load")["rows"]
            for number in range(rounds):
                # The order alternates, because the second of the two finds the files in memory.
                for screened in (False, True) if number % 2 else (True, False):
                    took, spent = asyncio.run(streamed_copy(settings, path, screened=screened))
                    measured.note(f"streamed COPY, {'checked' if screened else 'unchecked'}", took)
                    measured.seconds.setdefault(f"our processor, {'checked' if screened else 'unchecked'}", []).append(
                        spent
                    )
                measured.note("bare COPY", asyncio.run(bare_copy(settings, path, folder)))
                rows_before = asyncio.run(as_owner(settings, WRITTEN))
                sync(settings, district, unchanged, measured, "unchanged, shuffled")
                measured.written += asyncio.run(as_owner(settings, WRITTEN)) - rows_before
                measured.changes = sync(settings, district, news, measured, "1 % changed")["changes"]
                sync(settings, district, path, measured, "1 % changed")
                measured.note("bare COPY", asyncio.run(bare_copy(settings, path, folder)))
    return measured


def measure_dlt(python: str, students: int) -> list[float]:
    """Returns the seconds of the first load by the library dlt, and of its second run with the same files."""
    with tempfile.TemporaryDirectory() as name, migrated() as settings:
        folder = sync_files.unpacked(sync_files.base(students), Path(name))
        url = make_url(settings.database_url)
        if socket := url.query.get("host"):  # dlt accepts the folder of a socket only in place of a host
            url = url.set(host=quote(str(socket), safe=""), port=int(str(url.query.get("port", 5432))), query={})
        address = url.render_as_string(hide_password=False)
        command = [python, str(Path(__file__).with_name("sync_dlt.py")), str(folder), address]
        process = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # runs the caller's Python
    return [json.loads(line)["seconds"] for line in process.stdout.splitlines() if line.startswith(b"{")]


async def _district(settings: Settings) -> UUID:
    engine = open_engine(settings.url_of("worker"), name="bench")
    try:
        return await open_district(engine, settings.keyring, "bench", "Bench", "America/Chicago")
    finally:
        await engine.dispose()


def table(large: Measured, small: Measured, dlt: list[float], same_files: Measured) -> list[tuple[str, str, str, bool]]:
    """Returns the rows of the result table: target, limit, figure, and whether the target was reached.

    `same_files` has the times of the product's syncs of the files that dlt loaded.
    """
    copy, unchanged = large.of("bare COPY"), large.of("unchanged, shuffled")
    rate = large.of("peer's load") / large.of("first load")
    news = large.of("1 % changed") / unchanged
    rows = large.rows / small.rows
    lines = [
        ("first load: rate beside the peer's", "≥ 0.6", f"{rate:.2f}", rate >= 0.6),
        ("unchanged, shuffled: × bare COPY", "≤ 4", f"{unchanged / copy:.2f}", unchanged <= 4 * copy),
        ("unchanged: roster rows written", "0", f"{large.written + small.written}", not large.written + small.written),
        ("1 % changed: × unchanged", "≤ 1.5", f"{news:.2f}", news <= 1.5),
    ]
    for name in ("first load", "unchanged, shuffled"):
        grows = large.of(name) / small.of(name) / rows * SMALLER
        lines.append((f"{SMALLER} × the rows: {name}", "≤ 11 ×", f"{grows:.1f} ×", grows <= 11))
    lines.append((f"{SMALLER} × the rows: peak memory", "≤ 1.5 ×", f"{large.peak / small.peak:.2f} ×", True))
    lines[-1] = (*lines[-1][:3], large.peak <= 1.5 * small.peak)
    lines.append(("peak memory of our process", "< 400 MiB", f"{large.peak:.0f} MiB", large.peak < 400))
    for name, seconds in zip(("first load", "unchanged, shuffled"), dlt, strict=False):
        faster = seconds / same_files.of(name)
        of = f"dlt: {name}, {same_files.rows:,} rows"
        lines.append((of, "≥ 10 ×", f"{faster:.1f} × ({seconds:.0f} s)", faster >= 10))
    return lines


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="bench.sync", description="Measure the sync against its targets.")
    parser.add_argument("--students", type=int, default=100_000, help="ten enrollments and ten results each")
    parser.add_argument("--rounds", type=int, default=3, help="of unchanged and changed runs; the median counts")
    parser.add_argument("--dlt", default="", metavar="PYTHON", help="a Python that has dlt[postgres]")
    parser.add_argument("--dlt-whole", action="store_true", help="dlt takes the whole district, not a tenth")
    options = parser.parse_args()
    began = time.perf_counter()
    small = measure(options.students // SMALLER, options.rounds, with_peer=False)
    large = measure(options.students, options.rounds, with_peer=True)
    dlts = options.students if options.dlt_whole else options.students // SMALLER
    dlt = measure_dlt(options.dlt, dlts) if options.dlt else []
    print(f"\n{large.rows:,} rows; {large.changes:,} of them changed; {os.cpu_count()} processors")
    print(f"{'run':<32}{'median s':>10}{'least':>8}{'most':>8}{'× COPY':>8}")
    for name, seconds in large.seconds.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds):>8.2f}{max(seconds):>8.2f}{median / large.of('bare COPY'):>8.1f}"
        print(f"{name:<32}{median:>10.2f}{spread}")
    cost = large.of("streamed COPY, checked") / large.of("streamed COPY, unchecked")
    extra = large.of("our processor, checked") - large.of("our processor, unchecked")
    print(f"\nThe check of the stream: COPY takes {cost:.2f} times as long, and {extra:.2f} s more of our processor.")
    print(f"\n{'target':<44}{'asked':>10}{'measured':>18}")
    for name, limit, measured, reached in table(large, small, dlt, large if options.dlt_whole else small):
        print(f"{name:<44}{limit:>10}{measured:>18}  {'reached' if reached else 'NOT reached'}")
    print(f"\nTook {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
