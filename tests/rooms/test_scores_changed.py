"""Tests invalid and wrong scores: they are refused with the reason, or amended and removed with a logged change."""

import asyncio
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.errors import Invalid
from app.evidence.amend import Amendment, amend_score
from app.evidence.service import NewScore, record_scores
from app.playbook.models import Measure
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.rooms.verdict_town import BEGINS, supported
from tests.town import Town


def new(town: Town, **more: Any) -> dict[str, Any]:
    """Returns the input for a valid score of amy."""
    student = ids.format_id("student", town.students["amy"])
    return {"student": student, "measure": "orf", "taken_on": str(BEGINS), "value": 40.0} | more


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("value", True, "shape.number"),
        ("value", "40", "shape.number"),
        ("value", 9999.0, "score.out_of_range"),
        ("taken_on", f"{BEGINS}T00:00:00Z", "shape.day"),
        ("taken_on", 20000, "shape.day"),
        ("taken_on", str(date.today() + timedelta(days=30)), "score.in_the_future"),
        ("attempt", True, "shape.number"),
        ("attempt", 0, "score.attempt"),
        ("form", "nobody's", "score.unknown_form"),
    ],
)
async def test_a_score_that_cannot_be_is_refused(
    app: FastAPI, north: Town, field: str, value: object, code: str
) -> None:
    """Invalid scores are refused: wrong types, a future day, a value out of range, or a form that the measure does not
    list.
    """

    @needs(Can.OPERATE)
    async def list_forms(work: Work) -> None:
        await work.db.execute(
            update(Measure)
            .where(Measure.district_id == work.district_id, Measure.code == "orf")
            .values(forms=["W1", "W2"])
        )

    async with north.house() as work:
        await list_forms(work)
    answer = await caller(app, north).post("/v1/scores", new(north, **{field: value}))
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["violations"]] == [(f"/{field}", code)]
    assert (await caller(app, north).post("/v1/scores", new(north, form="W1"))).status_code == 201


async def test_a_score_is_amended_and_removed_and_all_of_it_can_be_read(app: FastAPI, north: Town) -> None:
    """The changes of a score can be read with author, reason and earlier values, even after it was removed."""
    await supported(north, "amy")
    asks = caller(app, north)
    score = (await asks.post("/v1/scores", new(north))).json()
    path = f"/v1/scores/{score['id']}"
    amended = await asks.post(f"{path}/amend", {"because": "Misread.", "value": 42.0, "by": "sis:sis:teacher-1"})
    assert (amended.json()["value"], amended.json()["version"]) == (42.0, 2)
    assert (await asks.post(f"{path}/remove", {"because": "Another child's."})).status_code == 200
    assert (await asks.get(path)).status_code == 404
    assert (await asks.post(f"{path}/amend", {"because": "Again.", "value": 1.0})).status_code == 404
    first, second = (await asks.get(f"{path}/changes")).json()["items"]
    assert (first["action"], first["because"], first["before"]["value"]) == ("amended", "Misread.", 40.0)
    assert first["changed_by"] == ids.format_id("person", north.staff["teacher"])
    assert (second["action"], second["version"]) == ("removed", 2)
    assert (await asks.post("/v1/scores", new(north))).json()["id"] == score["id"]
    assert (await asks.get(f"{path}/changes")).json()["items"][2]["action"] == "restored"


async def test_an_amendment_is_held_to_the_same_rules(app: FastAPI, north: Town) -> None:
    """An amendment is refused without a reason or a change, with an invalid value, or with another score's date."""
    asks = caller(app, north)
    score = (await asks.post("/v1/scores", new(north))).json()
    await asks.post("/v1/scores", new(north, taken_on=str(BEGINS + timedelta(days=1))))
    path = f"/v1/scores/{score['id']}/amend"

    async def codes(**given: Any) -> list[str]:
        answer = await asks.post(path, given)
        assert answer.status_code == 422, answer.text
        return [one["code"] for one in answer.json()["violations"]]

    assert await codes(value=50.0) == ["shape.missing"]
    assert await codes(because="Nothing.") == ["score.nothing"]
    assert await codes(because="Typo.", value=-1.0) == ["score.out_of_range"]
    assert await codes(because="Another day.", taken_on=str(BEGINS + timedelta(days=1))) == ["score.doubled"]
    assert (await asks.get(f"/v1/scores/{score['id']}/changes")).json()["items"] == []


async def test_of_two_amendments_onto_one_day_the_later_is_refused(north: Town) -> None:
    """Of two concurrent amendments that move scores to the same day, the second is refused and changes nothing."""
    day = BEGINS + timedelta(days=9)
    student = ids.format_id("student", north.students["amy"])
    async with north.unit() as work:
        new_ones = [NewScore(student, "orf", BEGINS + timedelta(days=n), 40.0) for n in range(2)]
        first, second = [one.score.id for one in await record_scores(work, new_ones) if one.score]
    async with north.unit() as one:
        await amend_score(one, first, Amendment("Another day.", taken_on=day))

        async def late() -> None:
            async with north.unit() as other:
                await amend_score(other, second, Amendment("Another day.", taken_on=day))

        waits = asyncio.create_task(late())
        await _someone_waits(north)
    with pytest.raises(Invalid) as refused:
        await waits
    assert [one.code for one in refused.value.violations] == ["score.doubled"]


async def _someone_waits(town: Town) -> None:
    owner = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        while not await owner.fetchval(
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE NOT l.granted AND a.datname = current_database()"
        ):
            await owner.execute("SELECT pg_sleep(0.02)")
    finally:
        await owner.close()


async def test_another_teachers_student_is_not_amended(app: FastAPI, north: Town) -> None:
    """A teacher cannot amend a score of a student outside the caseload."""
    score = (await caller(app, north).post("/v1/scores", new(north))).json()
    other = caller(app, north, CLIENT_SCOPES, act_for="sis:sis:other_teacher-1")
    assert (await other.post(f"/v1/scores/{score['id']}/remove", {"because": "No."})).status_code == 404
    assert (await other.get(f"/v1/scores/{score['id']}/changes")).status_code == 404
