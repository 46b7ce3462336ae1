"""Compares the signals that SQL computes for a generated district with those of a plain computation in Python."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.ids import new_id, parse_id
from app.gradebook.models import LineItem, Result
from app.roster.models import AcademicSession
from app.signal import compute, progress
from app.signal.compute import compute_signals
from app.signal.models import Signal
from app.signal.progress import mark_due
from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import named
from tests.rooms.test_screening_windows import scheduled, window
from tests.rooms.test_signals import NOW, TODAY
from tests.sent import statements_sent
from tests.town import Town, lay, person_rows

RULES: tuple[dict[str, Any], ...] = (
    {"kind": "failing", "percent": 60, "least": 3, "days": 30},
    {"kind": "grade_drop", "points": 10, "least": 2, "days": 28},
    {"kind": "missing_work", "least": 2, "days": 40},
)
STUDENTS = 15
RISK, GOAL = 60.0, 80.0
Seen = dict[tuple[UUID, str, str], tuple[UUID, ...]]
"""The results that are the evidence of each signal, by student, kind and digest."""


LastScore = tuple[UUID, date, UUID | None]
"""The student, the day, and the id of the score if it is under the cut."""


def digest(kind: str, basis: str) -> str:
    """Returns the digest of the evidence of a signal."""
    return hashlib.md5(f"{kind} {basis}".encode(), usedforsecurity=False).hexdigest()


@dataclass
class Grades:
    """The gradebook results of a generated district, by student, class and grading period.

    Each result has an id, a day and a percentage, which is None for missing work.
    """

    random: Random
    rows: dict[tuple[UUID, UUID, UUID | None], list[tuple[UUID, date, float | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, town: Town, student: UUID, class_id: UUID, period: UUID | None) -> list[Any]:
        """Adds a line item in a class and grading period, with a result of a student. Returns the new rows."""
        day = TODAY - timedelta(days=self.random.randrange(90))
        percent = None if self.random.random() < 0.2 else float(self.random.randrange(25, 95))
        about = {"district_id": town.district_id, "id": new_id()}
        work = LineItem(**about, title="Work", class_id=class_id, grading_period_id=period, result_value_max=50.0)
        result = Result(
            **about | {"id": new_id()},
            line_item_id=work.id,
            class_id=class_id,
            student_id=student,
            school_ids=[town.schools[0]],
            score=None if percent is None else percent / 2,
            missing=percent is None,
            score_date=day,
            source_id=town.source_id,
            sourced_id=str(work.id),
        )
        self.rows[student, class_id, period].append((result.id, day, percent))
        return [work, result]

    def expected(self) -> Seen:
        """Returns the expected signals about grades, computed in Python for each student, class and grading period."""
        seen: Seen = {}
        for (student, class_id, period), rows in self.rows.items():
            for rule in RULES:
                recent = [row for row in rows if row[1] > TODAY - timedelta(days=rule["days"])]
                earlier = [row[2] for row in rows if row not in recent and row[2] is not None]
                percents = [row[2] for row in recent if row[2] is not None]
                evidence = recent
                if rule["kind"] == "failing":
                    holds = len(percents) >= rule["least"] and sum(percents) / len(percents) < rule["percent"]
                elif rule["kind"] == "grade_drop":
                    holds = min(len(percents), len(earlier)) >= rule["least"]
                    holds = holds and sum(earlier) / len(earlier) - sum(percents) / len(percents) >= rule["points"]
                else:
                    evidence = [row for row in recent if row[2] is None]
                    holds = len(evidence) >= rule["least"]
                if holds:
                    ordered = sorted(evidence, key=lambda row: (-row[1].toordinal(), row[0]))
                    basis = f"{class_id}{period or ''}"
                    seen[student, rule["kind"], digest(rule["kind"], basis)] = tuple(row[0] for row in ordered[:20])
        return seen


@needs(Can.SYNC_ROSTER)
async def add_students(work: Work, town: Town) -> list[UUID]:
    """Adds the students, and returns their ids."""
    students = [new_id() for _ in range(STUDENTS)]
    for number, student in enumerate(students):
        town.students[f"child{number}"] = student
        await lay(work, *person_rows(town, f"child{number}", "student", student, town.schools[0]))
    return students


@needs(Can.SYNC_ROSTER)
async def add_work(work: Work, town: Town, grades: Grades, students: list[UUID], count: int) -> None:
    """Adds line items with results of random students, in two classes, in a grading period or in none."""
    about = {"district_id": work.district_id, "id": new_id()}
    year = (date(TODAY.year, 1, 1), date(TODAY.year, 12, 31))
    period = AcademicSession(**about, title="First", type="gradingPeriod", starts_on=year[0], ends_on=year[1])
    rows: list[Any] = [period]
    for _ in range(count):
        of = grades.random.choice(students), grades.random.choice(town.classes), grades.random.choice((None, period.id))
        rows += grades.add(town, *of)
    await lay(work, *rows)


async def add_benchmark(asks: Caller) -> None:
    """Publishes the cut scores, and schedules a window that is open."""
    cuts = {"risk_cut": RISK, "benchmark_goal": GOAL}
    benchmark = {"measure": "orf", "grade": "03", "season": "fall", "citation": "Our own", **cuts}
    answer = await asks.post("/v1/benchmarks", {"benchmarks": [benchmark]})
    assert answer.status_code == 200, answer.text
    await scheduled(asks, window(*NOW))


async def add_scores(asks: Caller, random: Random, students: list[UUID], days: range) -> list[LastScore]:
    """Records scores within the window and before it; returns the last one of each student."""
    given = [
        (student, TODAY - timedelta(days=day), float(random.randrange(50, 100)), random.random() < 0.8)
        for student in students
        for day in random.sample(days, random.randrange(4))
    ]
    scores = [
        {"student": named("student", student), "measure": "orf", "taken_on": str(day), "value": value}
        | {"purpose": "screening" if screening else "progress"}
        for student, day, value, screening in given
    ]
    results = (await asks.post("/v1/scores/bulk", {"scores": scores})).json()["results"]
    last: dict[UUID, tuple[date, float, UUID]] = {}
    for (student, day, value, screening), result in zip(given, results, strict=True):
        row_id = parse_id("score", result["score"]["id"], "/id")
        if screening and day >= date.fromisoformat(NOW[0]) and day >= last.get(student, (day,))[0]:
            last[student] = day, value, row_id
    return [(student, day, row_id if value < GOAL else None) for student, (day, value, row_id) in last.items()]


def screened(scores: Iterable[LastScore]) -> Seen:
    """Returns the signals that follow from the last score of each student."""
    kind = "screening_under_cut"
    return {(student, kind, digest(kind, str(row_id))): () for student, _, row_id in scores if row_id is not None}


@needs(Can.READ_SIGNALS)
async def suggested(work: Work) -> Seen:
    """Returns the suggested signals."""
    rows = await work.db.scalars(
        select(Signal).where(Signal.district_id == work.district_id, Signal.state == "suggested")
    )
    return {(row.student_id, row.kind, row.digest): tuple(row.result_ids) for row in rows}


async def computed(town: Town) -> Seen:
    """Computes the signals, and returns those that are suggested."""
    async with town.house() as work:
        await compute_signals(work)
    async with town.house() as work:
        return await suggested(work)


@pytest.mark.parametrize(("seed", "few", "many"), [(1, 500, 20_000), (2, 0, 20_000), (3, 0, 1)])
async def test_signals_equal_those_of_a_plain_computation(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch, seed: int, few: int, many: int
) -> None:
    """The signals that SQL computes equal those of a plain computation in Python.

    This is checked for all students and for the changed students only, with each variant of the SQL.
    """
    monkeypatch.setattr(compute, "FEW", few)
    monkeypatch.setattr(progress, "MANY", many)
    asks, random = caller(app, north), Random(seed)
    await add_benchmark(asks)
    for rule in ({"kind": "screening_under_cut"}, *({**rule, "area": "math"} for rule in RULES)):
        answer = await asks.post("/v1/signal-rules", {"code": rule["kind"], **rule})
        assert answer.status_code == 201, answer.text
    grades = Grades(random)
    async with north.house() as work:
        students = await add_students(work, north)
        await add_work(work, north, grades, students, 250)
    scores = await add_scores(asks, random, students, range(3, 10))
    expected = {**grades.expected(), **screened(scores)}
    assert {key[1] for key in expected} == {"screening_under_cut", *(rule["kind"] for rule in RULES)}
    assert await computed(north) == expected
    changed = students[:4]
    async with north.house() as work:
        await add_work(work, north, grades, changed, 60)
        await mark_due(work, set(changed))
    later = {one[0]: one for one in await add_scores(asks, random, students[2:6], range(3))}
    expected = {**grades.expected(), **screened(({one[0]: one for one in scores} | later).values())}
    assert (await computed(north)).keys() == expected.keys()


async def test_what_was_read_is_not_read_again(app: FastAPI, north: Town) -> None:
    """Signals are computed again only if data have changed since the last computation.

    Each computation takes a fixed number of statements.
    """
    asks, random = caller(app, north), Random(4)
    await add_benchmark(asks)
    answer = await asks.post("/v1/signal-rules", {"code": "under-cut", "kind": "screening_under_cut"})
    assert answer.status_code == 201, answer.text
    async with north.house() as work:
        students = await add_students(work, north)
    await add_scores(asks, random, students, range(3))

    async def count() -> int:
        with statements_sent(north.worker_engine) as statements:
            await computed(north)
        return len(statements)

    first = await count()
    assert (first, await count()) == (19, 8)
    await add_scores(asks, random, students[:5], range(3, 6))
    assert (await count(), await count()) == (15, 8)
