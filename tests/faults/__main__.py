"""Runs seeded schedules of faults: `python -m tests.faults syncs --schedules 200 [--first 0] [--jobs 2]`.

The first argument is `syncs`, `webhooks` or `records`. If a check fails, the command exits with a non-zero code, and
prints the seed and the steps of the schedule.
"""

import argparse
import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog
from rich.progress import Progress

from tests.faults import records, syncs, webhooks
from tests.faults.machine import Machine, machine


def _webhooks(first: int, schedules: int) -> str:
    return _webhooks_summary(_play(first, schedules, lambda ours, seed, _: webhooks.play(ours, seed)))


def _syncs(first: int, schedules: int) -> str:
    return _syncs_summary(_play(first, schedules, syncs.play))


def _records(first: int, schedules: int) -> str:
    return records.summary(_play(first, schedules, records.play))


Outcome = TypeVar("Outcome")
SUMMARY_BY_SUBJECT = {"webhooks": _webhooks, "syncs": _syncs, "records": _records}


def _play(first: int, schedules: int, play: Callable[[Machine, int, Path], Awaitable[Outcome]]) -> list[Outcome]:
    async def go(place: Path) -> list[Outcome]:
        async with machine(place) as ours:
            outcomes = []
            with Progress(transient=True) as bar:
                task = bar.add_task("schedules", total=schedules)
                for seed in range(first, first + schedules):
                    outcomes.append(await play(ours, seed, place))
                    bar.advance(task)
                    if not bar.console.is_terminal:
                        sys.stderr.write(f"seed {seed} holds\n")
            return outcomes

    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        return asyncio.run(go(Path(name)))


def _syncs_summary(outcomes: list[syncs.Outcome]) -> str:
    steps = Counter(step.split(" at ")[0] for one in outcomes for step in one.steps)
    return "\n".join(
        [
            f"{len(outcomes)} schedules (seeds {outcomes[0].seed}–{outcomes[-1].seed}): all hold.",
            f"after a fault: as before {sum(one.unchanged for one in outcomes)}, "
            f"as after {sum(one.applied for one in outcomes)}, between 0; every run completed, one more changed none",
            "faults: " + ", ".join(f"{name} {count}" for name, count in steps.most_common()),
            "at the end of a run: " + str(sum(step.endswith("the end") for one in outcomes for step in one.steps)),
            f"written meanwhile {sum(one.written.total() for one in outcomes):,}, rows out of step 0",
        ]
    )


def _webhooks_summary(outcomes: list[webhooks.Outcome]) -> str:
    steps = Counter(step for one in outcomes for step in one.steps)
    lines = [
        f"{len(outcomes)} schedules (seeds {outcomes[0].seed}–{outcomes[-1].seed}): all hold.",
        f"committed {sum(len(one.committed) for one in outcomes):,}, "
        f"rolled back {sum(len(one.rolled_back) for one in outcomes):,}",
        f"requests {sum(one.requests for one in outcomes):,}, lost 0, phantom 0, "
        f"acknowledged twice {sum(one.repeats for one in outcomes):,} (one event at most "
        f"{1 + max(one.most_repeats for one in outcomes)} times), replayed {sum(one.replayed for one in outcomes):,}",
        "faults: " + ", ".join(f"{name} {count}" for name, count in steps.most_common()),
    ]
    return "\n".join(lines)


def main() -> None:
    """Runs the command line."""
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # of servers that a schedule has ended
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    parser = argparse.ArgumentParser(prog="tests.faults", description="Play seeded schedules of faults.")
    parser.add_argument("what", choices=list(SUMMARY_BY_SUBJECT))
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="machines at once")
    arguments = parser.parse_args()
    began = time.monotonic()
    if arguments.jobs > 1:
        each = -(-arguments.schedules // arguments.jobs)
        parts = range(arguments.first, arguments.first + arguments.schedules, each)
        last = arguments.first + arguments.schedules
        command = [sys.executable, "-m", "tests.faults", arguments.what]
        runs = [
            subprocess.Popen([*command, "--first", str(part), "--schedules", str(min(each, last - part))])
            for part in parts
        ]
        raise SystemExit(max(run.wait() for run in runs))
    summary = SUMMARY_BY_SUBJECT[arguments.what](arguments.first, arguments.schedules)
    sys.stdout.write(f"{summary}\n{time.monotonic() - began:,.0f} s\n")


if __name__ == "__main__":
    main()
