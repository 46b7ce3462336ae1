"""Creates series of scores for a benchmark: schools of one class each, and a support with weekly scores for each
student.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of, now
from app.core.ids import new_id
from app.evidence.models import Score
from app.playbook.models import Level, Measure, PlaybookVersion
from app.roster.models import Org, Person, SchoolWeek
from app.support.models import Phase, Support
from bench.response.world import World, simulate

WEEKS, CLASS = 20, 25
BEGINS = monday_of(datetime.now(UTC).date()) - timedelta(weeks=WEEKS)


@dataclass(frozen=True, slots=True)
class Codes:
    """The measure, the level and the playbook version to which the rows of a district refer."""

    district_id: UUID
    measure: Measure
    level_id: UUID
    version_id: UUID


@needs(Can.OPERATE)
async def read_codes(work: Work) -> Codes:
    district = work.district_id
    measure = await work.db.scalar(select(Measure).where(Measure.district_id == district, Measure.code == "orf"))
    level = await work.db.scalar(select(Level.id).where(Level.district_id == district).limit(1))
    version = await work.db.scalar(select(PlaybookVersion.id).where(PlaybookVersion.district_id == district).limit(1))
    if measure is None or level is None or version is None:
        raise RuntimeError("A new district has a measure, a level and a playbook.")
    return Codes(district, measure, level, version)


@needs(Can.SYNC_ROSTER)
async def create_series(work: Work, codes: Codes, students: int, weeks: int = WEEKS) -> list[UUID]:
    """Creates schools with one grade and one class each, and a series of `weeks` weeks for each student.

    Returns the students' ids in order.
    """
    year = simulate(World(weeks=weeks, cohort=CLASS), students, 1)
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
