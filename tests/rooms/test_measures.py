"""Tests measures that a district creates and amends: what may change, what is refused, and the verdicts after a new
SEM.
"""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.playbook.defaults import SEMS
from app.playbook.measures.noise import ranges_as_stored, sem_for
from app.response.judging.finalize import finalize_district
from app.response.models import FinalizationJob
from app.response.service import record_scores
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.verdict_town import BEGINS, reader, response_events, scores, settlements, supported, verdicts
from tests.town import Town

NEW: dict[str, Any] = {
    "code": "orf-2",
    "name": "Oral reading, second set",
    "area": "ela.fluency",
    "unit": "words correct a minute",
    "direction": "up",
    "lowest": 0,
    "highest": 300,
    "sem": 7.5,
    "forms": ["A", "B"],
}


async def made(asks: Caller, **more: Any) -> dict[str, Any]:
    """Creates a measure, and returns it."""
    answer = await asks.post("/v1/measures", NEW | more)
    assert answer.status_code == 201, answer.text
    measure: dict[str, Any] = answer.json()
    return measure


async def codes(asks: Caller, measure: str, **changes: Any) -> list[tuple[str, str]]:
    """Tries to amend a measure, and returns the pointers and codes of the violations."""
    answer = await asks.patch(f"/v1/measures/{measure}", changes)
    assert answer.status_code == 422, answer.text
    return [(one["pointer"], one["code"]) for one in answer.json()["violations"]]


async def scored(asks: Caller, town: Town, **more: Any) -> Any:
    """Sends a score of amy for the new measure, and returns the response."""
    score = {"student": ids.format_id("student", town.students["amy"]), "measure": "orf-2", "value": 40.0}
    return await asks.post("/v1/scores", score | {"taken_on": str(BEGINS)} | more)


async def test_a_measure_is_made_and_its_forms_hold(app: FastAPI, north: Town) -> None:
    """A new measure is listed and can be scored at once, and a score with a form that the measure does not list is
    refused.
    """
    asks = caller(app, north)
    measure = await made(asks)
    assert (measure["sem"], measure["kind"], measure["forms"]) == (7.5, "growth", ["A", "B"])
    assert measure in await asks.items("/v1/measures")
    refused = await scored(asks, north, form="C")
    assert refused.status_code == 422
    assert [(one["pointer"], one["code"]) for one in refused.json()["violations"]] == [("/form", "score.unknown_form")]
    for day, more in enumerate(({"form": "B"}, {}, {"purpose": "baseline"}, {"purpose": "screening"})):
        taken = await scored(asks, north, taken_on=str(BEGINS + timedelta(days=day)), **more)
        assert taken.status_code == 201, taken.text
    open_to_any = await made(asks, code="orf-3", forms=None, sem=None)
    assert (open_to_any["forms"], open_to_any["sem"]) == (None, None)
    assert (await scored(asks, north, measure="orf-3", form="C")).status_code == 201


async def test_a_measure_that_cannot_be_is_refused_with_every_reason(app: FastAPI, north: Town) -> None:
    """An invalid measure is refused with every violation; a code that exists already gives a conflict."""
    asks = caller(app, north)
    wrong = {"code": "ORF:2", "name": " ", "area": "nothing", "sem": 0, "forms": ["A", "", "A"]}
    answer = await asks.post("/v1/measures", NEW | wrong)
    assert answer.status_code == 422
    assert [(one["pointer"], one["code"]) for one in answer.json()["violations"]] == [
        ("/code", "measure.code"),
        ("/name", "measure.name"),
        ("/sem", "measure.sem"),
        ("/forms/1", "measure.form"),
        ("/forms/2", "measure.form_doubled"),
        ("/area", "area.unknown"),
    ]
    for field, value in (("highest", 0), ("sem", 300), ("forms", []), ("direction", "left"), ("kind", "guess")):
        assert (await asks.post("/v1/measures", NEW | {field: value})).status_code == 422, field
    taken = await asks.post("/v1/measures", NEW | {"code": "orf"})
    assert (taken.status_code, taken.json()["code"]) == (409, "measure.taken")
    assert (await asks.post("/v1/measures", NEW | {"norms": []})).status_code == 422
    assert "orf-2" not in {one["code"] for one in await asks.items("/v1/measures")}


async def test_another_district_has_nothing_of_it(app: FastAPI, north: Town, south: Town) -> None:
    """Another district neither lists nor amends the measure, and may have a measure with the same code."""
    measure = await made(caller(app, north))
    asks = caller(app, south)
    assert measure["id"] not in (await asks.get("/v1/measures")).text
    for name in (measure["id"], "orf-2", "mea_nothing"):
        answer = await asks.patch(f"/v1/measures/{name}", {"name": "Theirs"})
        assert answer.status_code == 404, name
    await made(asks, name="South's own")
    assert measure in await caller(app, north).items("/v1/measures")


async def test_who_may_not_publish_changes_no_measure(app: FastAPI, north: Town) -> None:
    """A teacher, and a client without the scope, can read the playbook but not change a measure."""
    for asks in (
        caller(app, north, CLIENT_SCOPES, act_for="sis:sis:teacher-1"),
        caller(app, north, frozenset({"playbook:read"})),
    ):
        assert (await asks.post("/v1/measures", NEW)).status_code == 403
        assert (await asks.patch("/v1/measures/orf", {"sem": 1.0})).status_code == 403


async def test_a_measure_without_use_changes_in_all_but_its_code(app: FastAPI, north: Town) -> None:
    """While a measure is unused, all its values except the code can be changed.

    Values that the request leaves out stay.
    """
    asks = caller(app, north)
    measure = await made(asks)
    changes = {"direction": "down", "kind": "count", "area": "behaviour", "lowest": -5, "sem": None, "forms": None}
    answer = await asks.patch("/v1/measures/orf-2", changes | {"code": "orf-2"})
    assert answer.status_code == 200, answer.text
    area = next(one["id"] for one in await asks.items("/v1/areas") if one["code"] == "behaviour")
    assert answer.json() == measure | changes | {"area": area, "lowest": -5.0, "version": 2}
    assert answer.json() in await asks.items("/v1/measures")
    assert await codes(asks, "orf-2") == [("", "measure.nothing")]
    violations = await codes(asks, "orf-2", code="orf-4", name="", highest=-6, area="nothing")
    assert violations == [
        *(("/name", "measure.name"), ("/highest", "measure.range")),
        *(("/code", "measure.code_stays"), ("/area", "area.unknown")),
    ]
    assert [pointer for pointer, _ in await codes(asks, "orf-2", unit=None, norms=[])] == ["/unit", "/norms"]


async def test_what_gives_kept_scores_their_meaning_stays(app: FastAPI, north: Town) -> None:
    """If a measure has scores, its direction, kind and area cannot change, and its range and forms cannot exclude a
    score.

    Scores that the caller may not see, and removed scores, count too.
    """
    asks = caller(app, north)
    await made(asks)
    cy = ids.format_id("student", north.students["cy"])
    score = (await scored(asks, north, student=cy, form="B", value=120.0)).json()["id"]
    # A client of the other school sees no score of cy's, and must not make nonsense of it.
    narrow = caller(app, north, schools=(north.schools[0],))
    turned = {"direction": "down", "kind": "percentage", "area": "math"}
    wrong = await codes(narrow, "orf-2", **turned, lowest=130, highest=200, forms=["A"])
    in_use = [(f"/{field}", "measure.in_use") for field in turned]
    assert wrong == [*in_use, ("/lowest", "measure.scores_outside"), ("/forms", "measure.form_in_use")]
    assert await codes(asks, "orf-2", highest=100) == [("/highest", "measure.scores_outside")]
    free = {"name": "Again", "unit": "words", "lowest": 120, "highest": 121, "sem": 0.5, "forms": ["C", "B"]}
    same = {"direction": "up", "kind": "growth", "area": "ela.fluency"}
    answer = await asks.patch("/v1/measures/orf-2", free | same)
    assert (answer.status_code, answer.json() | free) == (200, answer.json())
    assert (await scored(asks, north, value=120.5, form="C")).status_code == 201
    for one in (score, (await asks.items("/v1/scores", measure="orf-2"))[-1]["id"]):
        assert (await asks.post(f"/v1/scores/{one}/remove", {"because": "Not theirs."})).status_code == 200
    assert await codes(asks, "orf-2", **turned) == in_use
    gone = await asks.patch("/v1/measures/orf-2", {"lowest": 0, "highest": 10, "sem": 1, "forms": ["D"]})
    assert gone.status_code == 200, gone.text


async def test_a_support_alone_keeps_the_direction(app: FastAPI, north: Town) -> None:
    """While a measure has a support but no scores, its direction cannot be changed, but its standard error (SEM)
    can.
    """
    asks = caller(app, north)
    await supported(north, "amy")
    assert await codes(asks, "orf", direction="down") == [("/direction", "measure.in_use")]


@needs(Can.JUDGE)
async def _due(work: Work) -> None:
    await work.db.execute(
        update(FinalizationJob).where(FinalizationJob.district_id == work.district_id).values(due=now())
    )


async def run_settlements(town: Town) -> int:
    """Carries out the scheduled final judging as the worker does, and returns the number of judged weeks."""
    async with town.house() as work:
        await _due(work)
    return await finalize_district(town.worker_engine, town.settings.keyring, town.district_id)


async def test_a_sem_that_is_entered_gives_the_next_judgement_a_statistic(app: FastAPI, north: Town) -> None:
    """After a SEM is set for a measure, its series are judged again and get a statistic, without alerts."""
    asks = caller(app, north)
    assert (await asks.patch("/v1/measures/orf", {"sem": None})).status_code == 200
    support = await supported(north, "amy")
    await supported(north, "ben", measure="maze", baseline=10.0, goal=30.0)
    async with north.unit() as work:
        await record_scores(work, scores(north, "amy", reader(3, 11, rate=0.0)))
    (before,) = (await verdicts(north, support))[-1:]
    assert (before.state, before.statistic, before.sem) == ("insufficient_data", None, None)
    assert (before.because[0]["code"], before.label) == ("no_sem", "Cannot be judged")
    await run_settlements(north)
    answer = await asks.patch("/v1/measures/orf", {"sem": 4.0})
    assert answer.status_code == 200, answer.text
    scheduled = [one for one in await settlements(north) if one.kind == "rules"]
    assert [(one.measure_id, one.quiet) for one in scheduled] == [(north.measures["orf"], True)]
    assert await run_settlements(north) == 1
    after = (await verdicts(north, support))[-1]
    assert after.number > before.number
    assert (after.state, after.sem, after.statistic is None) == ("not_responding", 4.0, False)
    shown = (await asks.get(f"/v1/supports/{ids.format_id('support', support.id)}/verdict")).json()
    assert (shown["sem"], shown["state"]) == (4.0, "not_responding")
    assert await response_events(north) == []


@pytest.mark.parametrize("changes", [{"name": "By another name"}, {"highest": 250.0}, {"sem": 8.0}])
async def test_what_no_verdict_rests_on_has_nothing_judged_again(
    app: FastAPI, north: Town, changes: dict[str, Any]
) -> None:
    """A change of a measure causes no judging if no verdict depends on the changed value.

    Examples are the measure's name and range, and an SEM that equals the present one.
    """
    await supported(north, "amy")
    answer = await caller(app, north).patch("/v1/measures/orf", changes)
    assert answer.status_code == 200, answer.text
    assert [one for one in await settlements(north) if one.kind == "rules"] == []


async def test_the_same_over_graphql(app: FastAPI, north: Town) -> None:
    """GraphQL creates and amends measures like REST.

    A field that is sent as null becomes null, and a field that is not sent keeps its value.
    """
    asks = caller(app, north)
    make = (
        "mutation ($input: MakeMeasureInput!) { makeMeasure(input: $input) { measure { code sem forms area { code } }"
    )
    amend = (
        "mutation ($input: AmendMeasureInput!) { amendMeasure(input: $input, version: 0) { measure { name sem forms }"
    )
    problems = " problems { code pointer } } }"

    async def sent(document: str, values: dict[str, Any]) -> Any:
        answer = await asks.post("/graphql", {"query": document + problems, "variables": {"input": values}})
        return answer.json()

    answer = (await sent(make, NEW))["data"]["makeMeasure"]
    measure = {"code": "orf-2", "sem": 7.5, "forms": ["A", "B"], "area": {"code": "ela.fluency"}}
    assert answer == {"measure": measure, "problems": []}
    repeated = (await sent(make, NEW))["data"]["makeMeasure"]
    assert repeated == {"measure": None, "problems": [{"code": "measure.taken", "pointer": ""}]}
    answer = (await sent(amend, {"measure": "orf-2", "sem": None, "name": "New"}))["data"]["amendMeasure"]
    assert answer["measure"] == {"name": "New", "sem": None, "forms": ["A", "B"]}
    answer = (await sent(amend, {"measure": "orf-2", "unit": "", "lowest": 400.0}))["data"]["amendMeasure"]
    assert [one["pointer"] for one in answer["problems"]] == ["/unit", "/highest"]
    answer = (await sent(amend, {"measure": "nothing", "unit": "words"}))["data"]["amendMeasure"]
    assert [one["code"] for one in answer["problems"]] == ["not_found"]
    assert "errors" in await sent(amend, {"measure": "orf-2", "name": None})


YOUNG: dict[str, Any] = {"sem": 3.5, "grade": "1", "from_score": None, "to_score": 30.0}
LOW: dict[str, Any] = {"sem": 4, "to_score": 45}


async def test_the_sem_of_a_verdict_is_that_of_the_grade_and_the_baseline(app: FastAPI, north: Town) -> None:
    """A verdict uses the standard error (SEM) of the score range that contains the student's baseline.

    If the ranges change, the series is judged again.
    """
    asks, support = caller(app, north), await supported(north, "amy")
    await send_flat(north)
    assert (await verdicts(north, support))[-1].sem == 8.0
    for ranges, sem in (([LOW], 4.0), ([LOW | {"grade": "11"}], 8.0), ([LOW | {"to_score": 40}], 8.0)):
        answer = await asks.patch("/v1/measures/orf", {"sems": ranges})
        assert answer.status_code == 200, answer.text
        assert [each["sem"] for each in answer.json()["sems"]] == [4.0]
        await finalize_district(north.worker_engine, north.settings.keyring, north.district_id)
        assert (await verdicts(north, support))[-1].sem == sem
    assert (await asks.patch("/v1/measures/orf", {"sems": []})).json()["sems"] == []


async def test_a_district_without_a_calibration_judges_by_the_published_sem(app: FastAPI, north: Town) -> None:
    """A new district judges by the published standard errors (SEMs) of oral reading, which both APIs list.

    The verdict on a beginning reader uses the published SEM of 3.5, and not the measure's own SEM of 8.
    """
    asks, support = caller(app, north), await supported(north, "amy", baseline=20.0, goal=50.0)
    document = "{ measures { code sems { sem grade fromScore toScore } } }"
    measures = (await asks.post("/graphql", {"query": document})).json()["data"]["measures"]
    measure = next(each for each in measures if each["code"] == "orf")
    published = [(each["sem"], each["grade"], each["fromScore"], each["toScore"]) for each in measure["sems"]]
    assert published == list(SEMS["orf"])
    rows = (await asks.get("/v1/measures")).json()["items"]
    listed = next(each["sems"] for each in rows if each["code"] == "orf")
    assert [(each["sem"], each["grade"], each["from_score"], each["to_score"]) for each in listed] == published
    await send_flat(north)
    assert (await verdicts(north, support))[-1].sem == 3.5
    answer = (await asks.get(f"/v1/supports/{ids.format_id('support', support.id)}/verdict")).json()
    assert answer["sem"] == 3.5


async def send_flat(town: Town) -> None:
    async with town.unit() as work:
        await record_scores(work, scores(town, "amy", [40.0] * 10))


async def test_both_faces_take_the_sem_by_grade_and_range(app: FastAPI, north: Town) -> None:
    """REST and GraphQL both store SEMs by grade and range, and both refuse invalid SEMs."""
    asks = caller(app, north)
    assert (await made(asks, sems=[YOUNG]))["sems"] == [YOUNG]
    amend = (
        "mutation ($input: AmendMeasureInput!) { amendMeasure(input: $input, version: 0) "
        "{ measure { sems { sem grade fromScore toScore } } problems { code } } }"
    )

    async def sent(sems: Any) -> Any:
        answer = await asks.post(
            "/graphql", {"query": amend, "variables": {"input": {"measure": "orf-2", "sems": sems}}}
        )
        return answer.json()["data"]["amendMeasure"]

    by_graphql = {"sem": 5.0, "grade": "02", "fromScore": 10.0, "toScore": None}
    assert (await sent([by_graphql]))["measure"]["sems"] == [by_graphql]
    assert [each["code"] for each in (await sent([by_graphql | {"sem": 0.0}]))["problems"]] == ["measure.sem"]
    wrong = [
        YOUNG,
        YOUNG | {"grade": "01", "from_score": 20},
        LOW | {"to_score": 5, "from_score": 5},
        LOW | {"sem": -1},
    ]
    assert await codes(asks, "orf-2", sems=[*wrong, LOW | {"grade": " "}]) == [
        ("/sems/1", "measure.sem_range"),
        ("/sems/2/to_score", "measure.sem_range"),
        ("/sems/3/sem", "measure.sem"),
        ("/sems/4/grade", "measure.sem_grade"),
    ]


def test_a_range_of_the_grade_precedes_one_of_every_grade() -> None:
    """The SEM for the student's grade applies before the SEM for all grades.

    If no range contains the baseline, the measure's own SEM applies. Grades are compared without leading zeros.
    """
    ranges = ranges_as_stored([LOW, YOUNG])
    series = [("01", 20.0), ("2", 20.0), ("01", 30.0), ("01", 45.0), (None, 20.0)]
    assert [sem_for(8.0, ranges, grade, baseline) for grade, baseline in series] == [3.5, 4.0, 4.0, 8.0, 4.0]
    assert sem_for(None, [], "01", 20.0) is None
