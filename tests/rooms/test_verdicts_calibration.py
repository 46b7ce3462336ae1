"""Tests calibration from a district's own series: results are stored and numbered, and too little data is reported."""

from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.core.ids import new_id
from app.evidence.models import Score
from app.playbook.lookup import published
from app.response.administration.calibration import calibrate_district
from app.response.models import CalibrationRow, FinalizationJob, ResponseState, VerdictRow
from app.response.rules.monitor.calibration import PUBLISHED
from app.response.service import judge_many, record_scores
from app.roster.models import Person
from app.support.models import Phase, Support
from tests.faces.rest_town import caller
from tests.rooms.test_verdicts import settle_all
from tests.rooms.verdict_town import BEGINS, reader, response_events, rows, scores, supported, verdicts
from tests.town import Town


async def many(town: Town, students: int, weeks: int) -> list[UUID]:
    """Plans an active support with weekly scores for each of `students` students of one school.

    The students of a grade form a cohort.
    """
    rng = Random(7)
    people: list[dict[str, Any]] = []
    supports: list[dict[str, Any]] = []
    phases: list[dict[str, Any]] = []
    taken: list[dict[str, Any]] = []
    hard = {(grade, week): rng.gauss(0, 4) for grade in range(students // 25 + 1) for week in range(weeks + 1)}
    of = {"district_id": town.district_id, "school_ids": [town.schools[0]]}
    for number in range(students):
        student, support, grade = new_id(), new_id(), number // 25
        row = {**of, "student_id": student, "secured_area": None}
        names = {"given_name": "A", "family_name": "B", "user_ids": [], "agent_sourced_ids": [], "pinned": []}
        people.append(
            {
                **of,
                **names,
                "id": student,
                "role": "student",
                "is_student": True,
                "enabled": True,
                "grades": [f"{grade}"],
            }
        )
        level, rate = rng.gauss(40, 8), max(rng.gauss(1.3, 0.6), -0.5)
        base = sorted(round(level + rng.gauss(0, 8)) for _ in range(3))[1]
        supports.append(
            {**row, "id": support, "intervention": "Reading", "area_id": town.areas["ela.fluency"]}
            | {"level_id": town.levels[2], "measure_id": town.measures["orf"], "state": "active"}
            | {"starts_on": BEGINS, "created_at": now(), "version": 1}
        )
        phases.append(
            {**row, "id": new_id(), "support_id": support, "number": 1, "level_id": town.levels[2]}
            | {"begins_on": BEGINS, "baseline": float(base), "goal": base + 30.0, "because": "Planned."}
            | {"goal_on": BEGINS + timedelta(weeks=20), "minutes_per_session": 30, "sessions_per_week": 3}
        )
        taken += [
            {**row, "id": new_id(), "measure_id": town.measures["orf"], "purpose": "progress", "attempt": 1}
            | {"taken_on": BEGINS + timedelta(weeks=week), "form": f"W{week}", "recorded_at": now(), "version": 1}
            | {"value": float(max(0, round(level + rate * week + hard[grade, week] + rng.gauss(0, 6))))}
            for week in range(1, weeks + 1)
        ]

    @needs(Can.SYNC_ROSTER)
    async def write(work: Work) -> None:
        version = (await published(work)).id
        await work.db.execute(insert(Person), people)
        await work.db.execute(insert(Support), [one | {"playbook_version_id": version} for one in supports])
        await work.db.execute(insert(Phase), phases)
        await work.db.execute(insert(Score), taken)

    async with town.house() as work:
        await write(work)
    return [one["id"] for one in supports]


async def test_too_little_data_keeps_the_published_defaults(app: FastAPI, north: Town) -> None:
    """With too little data a calibration is saved that states this, and verdicts use the published defaults."""
    support = await supported(north, "amy")
    async with north.unit() as work:
        await record_scores(work, scores(north, "amy", reader(1, 8)))
    async with north.house() as work:
        made = await calibrate_district(work)
    assert {(row.grade, row.published, row.series <= 1) for row in made} == {(None, True, True), ("03", True, True)}
    answer = await caller(app, north).get("/v1/calibrations")
    assert [one["published_defaults"] for one in answer.json()["items"]] == [True, True]
    assert (await verdicts(north, support))[-1].calibration_id is None
    assert not [row for row in await rows(north, FinalizationJob) if row.kind == "rules"]


async def test_estimates_that_no_longer_hold_are_no_longer_judged_by(north: Town) -> None:
    """If too little of last year's data is left, all series are judged again with the published defaults."""
    support = await supported(north, "amy")

    @needs(Can.OPERATE)
    async def estimated(work: Work) -> None:
        of = {"district_id": north.district_id, "id": new_id(), "number": 1, "made_at": now()}
        values = {"series": 400, "scores": 5000, "published": False, "estimates": PUBLISHED.as_json(), "report": {}}
        work.db.add(CalibrationRow(**of, **values, measure_id=north.measures["orf"], grade="03"))

    async with north.house() as work:
        await estimated(work)
    async with north.unit() as work:
        await record_scores(work, scores(north, "amy", reader(1, 8)))
    await settle_all(north)
    assert (await verdicts(north, support))[-1].calibration_id is not None
    async with north.house() as work:
        assert all(row.published for row in await calibrate_district(work))
    await settle_all(north)
    assert (await verdicts(north, support))[-1].calibration_id is None


async def test_enough_data_is_estimated_and_verdicts_name_it(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibration estimates growth, noise and the difficulty of forms (versions of a test) for each measure.

    A repetition gives the same result. After a calibration, all series are judged again, without alerts.
    """
    monkeypatch.setattr("app.response.rules.calibrate.district.IMAGINED", 1500)
    await many(north, 350, 12)
    async with north.house() as work:
        first = await judge_many(work, quiet=True)
        assert first.judged == first.appended == 350
        made = {row.grade: row for row in await calibrate_district(work)}
        repeated = {row.grade: row for row in await calibrate_district(work)}
    whole = made[None]
    assert (whole.published, whole.series >= 300, whole.scores > 3000) == (False, True, True)
    assert repeated[None].estimates == whole.estimates
    assert all(row.published for grade, row in made.items() if grade is not None)
    assert 0 < whole.report["estimates"]["form_share"] < 0.7
    async with north.house() as work:
        await judge_many(work, quiet=True)
    named = {row.calibration_id for row in await _last(north)}
    assert named == {repeated[None].id}
    assert await response_events(north) == []
    shown = (await caller(app, north).get("/v1/calibrations", limit=200)).json()["items"]
    assert ids.format_id("calibration", whole.id) in {one["id"] for one in shown}


async def _last(town: Town) -> list[Any]:
    held = {row.verdict_id for row in await rows(town, ResponseState)}
    return [row for row in await rows(town, VerdictRow) if row.id in held]
