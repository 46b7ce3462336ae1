"""Measures judging all series of a district in its database, and judging one new score.

`python3 dev.py python -m bench.response.district`. First it measures, without a database, the rule's own part of a
request, as `bench.response.one` does.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import event, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import client_principal, system_principal
from app.access.work import Work, needs, unit
from app.cli.district import open_district
from app.core.clock import monday_of, now
from app.core.db import open_engine
from app.core.ids import format_id, new_id
from app.evidence.models import Score
from app.evidence.service import NewScore
from app.playbook.models import Level, Measure, PlaybookVersion
from app.response.service import judge_many, record_scores
from app.roster.models import Org, Person, SchoolWeek
from app.settings import Settings
from app.support.models import Phase, Support
from bench.response import one
from bench.response.world import World, simulate
from bench.server import as_owner, migrated

WEEKS, CLASS = 20, 25
BEGINS = monday_of(datetime.now(UTC).date()) - timedelta(weeks=WEEKS)


@dataclass(frozen=True, slots=True)
class Codes:
    """The ids that the rows of a district refer to."""

    district_id: UUID
    measure: Measure
    level_id: UUID
    version_id: UUID


@needs(Can.OPERATE)
async def _codes(work: Work) -> Codes:
    district = work.district_id
    measure = await work.db.scalar(select(Measure).where(Measure.district_id == district, Measure.code == "orf"))
    level = await work.db.scalar(select(Level.id).where(Level.district_id == district).limit(1))
    version = await work.db.scalar(select(PlaybookVersion.id).where(PlaybookVersion.district_id == district).limit(1))
    if measure is None or level is None or version is None:
        raise RuntimeError("A new district has a measure, a level and a playbook.")
    return Codes(district, measure, level, version)


@needs(Can.SYNC_ROSTER)
async def _create_series(work: Work, codes: Codes, students: int) -> list[UUID]:
    """Creates schools with one grade and one class each, and a series for each student; returns the students' ids in
    order.
    """
    year = simulate(World(weeks=WEEKS, cohort=CLASS), students, 1)
    rows: dict[type[Any], list[dict[str, Any]]] = {
        kind: [] for kind in (Org, SchoolWeek, Person, Support, Phase, Score)
    }
    of, at, ids = {"district_id": codes.district_id}, now(), []
    for row in range(len(year.scores)):
        if row % CLASS == 0:
            school = new_id()
            rows[Org].append({**of, "id": school, "name": f"School {row // CLASS}", "type": "school"})
            rows[SchoolWeek] += [
                {**of, "school_id": school, "monday": BEGINS + timedelta(weeks=n), "instructional": True, "n": n + 1}
                for n in range(40)
            ]
        person, support = new_id(), new_id()
        ids.append(person)
        about = {**of, "student_id": person, "school_ids": [school], "secured_area": None}
        rows[Person].append(_person(of, person, school))
        rows[Support].append(_support(about, support, codes, at))
        base = float(sorted(year.baseline[row])[1])
        rows[Phase].append(_phase(about, support, codes, base, base + 39 * (0.8 + 0.4 * (row % CLASS) / CLASS)))
        rows[Score] += [
            _score(about, codes.measure.id, BEGINS + timedelta(weeks=week), float(value), f"F{week}", at)
            for week, value in enumerate(year.scores[row], 1)
            if value == value
        ]
    for model, values in rows.items():
        for begin in range(0, len(values), 5000):
            await work.db.execute(insert(model), values[begin : begin + 5000])
    return ids


def _person(of: dict[str, Any], person: UUID, school: UUID) -> dict[str, Any]:
    fields = {"role": "student", "is_student": True, "given_name": "A", "family_name": "B", "enabled": True}
    lists: dict[str, list[Any]] = {"grades": ["03"], "user_ids": [], "agent_sourced_ids": [], "pinned": []}
    return {**of, "id": person, **fields, **lists, "school_ids": [school]}


def _support(about: dict[str, Any], support: UUID, codes: Codes, at: datetime) -> dict[str, Any]:
    chosen = {"area_id": codes.measure.area_id, "level_id": codes.level_id, "measure_id": codes.measure.id}
    plan = {"intervention": "Repeated reading", "starts_on": BEGINS, "playbook_version_id": codes.version_id}
    return {**about, "id": support, **chosen, **plan, "state": "active", "created_at": at, "version": 1}


def _phase(about: dict[str, Any], support: UUID, codes: Codes, base: float, goal: float) -> dict[str, Any]:
    line = {"begins_on": BEGINS, "baseline": base, "goal": goal, "goal_on": BEGINS + timedelta(weeks=26)}
    dosage = {"minutes_per_session": 30, "sessions_per_week": 3, "because": "plan", "level_id": codes.level_id}
    return {**about, "id": new_id(), "support_id": support, "number": 1, **line, **dosage}


def _score(about: dict[str, Any], measure: UUID, day: date, value: float, form: str, at: datetime) -> dict[str, Any]:
    fields = {"measure_id": measure, "purpose": "progress", "taken_on": day, "attempt": 1, "value": value, "form": form}
    return {**about, "id": new_id(), **fields, "recorded_at": at, "version": 1}


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
        codes = await _codes(work)
        ids = await _create_series(work, codes, students)
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
    """Sends one score after another, each of another student, in a unit of work of its own, as a request does."""
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
