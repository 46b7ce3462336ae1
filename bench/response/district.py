"""Measures how long it takes to judge all series of a district in its database, and to judge one new score.

`python3 dev.py python -m bench.response.district`. First it runs the measurement of `bench.response.one`, which uses no
database.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import client_principal, system_principal
from app.access.work import unit
from app.cli.district import open_district
from app.core.db import open_engine
from app.core.ids import format_id, new_id
from app.evidence.service import NewScore
from app.response.service import judge_many, record_scores
from app.settings import Settings
from bench.response import one
from bench.series import BEGINS, CLASS, WEEKS, create_series, read_codes
from bench.server import as_owner, migrated


async def _timed(run: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Returns the elapsed seconds and the processor seconds of a call."""
    began, used = time.perf_counter(), time.process_time()
    await run()
    return time.perf_counter() - began, time.process_time() - used


async def _run(settings: Settings, students: int, times: int) -> None:
    worker, api = (open_engine(settings.url_of(role), name="bench") for role in ("worker", "api"))
    district = await open_district(worker, settings.keyring, "bench", "bench", "UTC")
    house = system_principal(district, "bench")
    async with unit(worker, house, settings.keyring, "bench") as work:
        codes = await read_codes(work)
        ids = await create_series(work, codes, students)
    await as_owner(settings, "ANALYZE")

    async def judge() -> None:
        async with unit(worker, house, settings.keyring, "bench") as work:
            await judge_many(work, quiet=True)

    for label in ("first", "again, without news"):
        took, used = await _timed(judge)
        rate = f"judge_many, {label}: {len(ids)} series in {took:.2f} s, {used:.2f} s of the processor"
        print(f"{rate}; {len(ids) / took:.0f} series a second", flush=True)
    await _requests(settings, api, district, ids, times)
    await worker.dispose()
    await api.dispose()


async def _requests(settings: Settings, api: AsyncEngine, district: UUID, ids: Sequence[UUID], times: int) -> None:
    """Records `times` scores one after another, each for the next student, and prints the median times.

    Each score is recorded in a unit of work of its own, as in a request.
    """
    client = client_principal(district, new_id(), "bench", frozenset(str(can) for can in Can) | {"area:sel"}, ())
    statements = [0]
    event.listen(api.sync_engine, "before_cursor_execute", lambda *_: statements.__setitem__(0, statements[0] + 1))
    tooks, useds = [], []
    for number in range(times):
        new = NewScore(
            format_id("student", ids[number % len(ids)]), "orf", BEGINS + timedelta(weeks=WEEKS), 60.0 + number
        )

        async def request(new: NewScore = new) -> None:
            async with unit(api, client, settings.keyring, "bench") as work:
                await record_scores(work, [new])

        took, used = await _timed(request)
        tooks.append(1000 * took)
        useds.append(1000 * used)
    print(
        f"one score taken, judged with {CLASS - 1} classmates and committed, median of {times}: "
        f"{statistics.median(tooks):.1f} ms, {statistics.median(useds):.1f} ms of the processor, "
        f"{statements[0] / times:.0f} statements"
    )


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.district", description=__doc__)
    ask.add_argument("--students", type=int, default=2000)
    ask.add_argument("--requests", type=int, default=100)
    options = ask.parse_args()
    one.report(classmates=CLASS - 1, weeks=WEEKS, times=300)
    with migrated() as settings:
        asyncio.run(_run(settings, options.students, options.requests))


if __name__ == "__main__":
    main()
