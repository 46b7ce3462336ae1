"""Tests signals: what rules suggest, what accepting and dismissing does, and when a signal lapses."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import today_in
from app.core.ids import new_id
from app.gradebook.models import LineItem, Result
from app.response.service import plan_support
from app.signal.compute import compute_signals
from app.signal.progress import mark_due
from app.support.service import NewSupport
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import named
from tests.rooms.test_screening_report import screened
from tests.rooms.test_screening_windows import scheduled, window
from tests.town import YEAR_BEGINS, Town

TODAY = today_in("America/Chicago")
NOW = (str(TODAY - timedelta(days=5)), str(TODAY + timedelta(days=20)))
QUERY = "{ signals(first: 10, state: SUGGESTED) { edges { node { kind student { id } rule { code number } } } } }"


async def published(asks: Caller, code: str = "under-cut", **more: Any) -> dict[str, Any]:
    """Publishes a rule about screening, and returns it."""
    answer = await asks.post("/v1/signal-rules", {"code": code, "kind": "screening_under_cut", **more})
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def computed(asks: Caller, town: Town, state: str = "suggested") -> dict[str, dict[str, Any]]:
    """Computes the signals, and returns those in this state by the name of the student."""
    async with town.house() as work:
        await compute_signals(work)
    names = {named("student", row_id): name for name, row_id in town.students.items()}
    return {names[one["student"]]: one for one in await asks.items("/v1/signals", state=state)}


async def test_a_score_under_the_cut_is_suggested_and_becomes_a_concern(app: FastAPI, north: Town) -> None:
    """A score under the cut is suggested as a signal. Accepting the signal creates the concern."""
    asks = caller(app, north)
    await scheduled(asks, window(*NOW))
    await screened(asks, north, str(TODAY), amy=50.0, ben=120.0)
    body = {"code": "under-cut", "kind": "screening_under_cut"}
    assert (await asks.post("/v1/signal-rules/preview", body)).json() == {"students": 1, "grades": 0}
    await published(asks)
    assert (await computed(asks, north)).keys() == {"amy"}
    nodes = [edge["node"] for edge in (await query_data(north, QUERY))["signals"]["edges"]]
    assert [(one["kind"], one["rule"]) for one in nodes] == [
        ("SCREENING_UNDER_CUT", {"code": "under-cut", "number": 1})
    ]
    signal = (await computed(asks, north))["amy"]
    accepted = (await asks.post(f"/v1/signals/{signal['id']}/accept", {})).json()
    assert accepted["state"] == "accepted"
    concern = (await asks.get(f"/v1/concerns/{accepted['concern']}")).json()
    assert (concern["state"], concern["student"]) == ("accepted", signal["student"])
    again = await asks.post(f"/v1/signals/{signal['id']}/dismiss", {"because": "No."})
    assert (again.status_code, again.json()["code"]) == (409, "signal.settled")
    types = [one["type"] for one in (await asks.get("/v1/events", limit=200)).json()["items"]]
    assert [one for one in types if one.startswith("signal.")] == ["signal.suggested", "signal.accepted"]


async def test_a_dismissed_digest_never_returns(app: FastAPI, north: Town) -> None:
    """If a signal was dismissed, it is not suggested again, even by another version of its rule or by another rule."""
    asks = caller(app, north)
    await scheduled(asks, window(*NOW))
    await screened(asks, north, str(TODAY), amy=50.0)
    await published(asks)
    signal = (await computed(asks, north))["amy"]
    assert (await asks.post(f"/v1/signals/{signal['id']}/dismiss", {"because": ""})).status_code == 422
    assert (await asks.post(f"/v1/signals/{signal['id']}/dismiss", {"because": "Ill."})).is_success
    assert (await published(asks, days=90))["number"] == 2
    await published(asks, "another", measure="orf")
    assert await computed(asks, north) == {}
    await screened(asks, north, str(TODAY - timedelta(days=1)), amy=40.0)
    assert await computed(asks, north) == {}


async def test_a_signal_lapses_when_the_data_no_longer_bear_it_out(app: FastAPI, north: Town) -> None:
    """A signal lapses when the data no longer support it, and is suggested again when they do."""
    asks = caller(app, north)
    await scheduled(asks, window(*NOW))
    await screened(asks, north, str(TODAY), amy=50.0)
    rule = await published(asks)
    signal = (await computed(asks, north))["amy"]
    await screened(asks, north, str(TODAY), amy=120.0)
    assert await computed(asks, north) == {}
    assert (await computed(asks, north, "lapsed")).keys() == {"amy"}
    await screened(asks, north, str(TODAY), amy=45.0)
    assert (await computed(asks, north))["amy"]["id"] == signal["id"]
    assert (await asks.post(f"/v1/signal-rules/{rule['id']}/retire", {})).is_success
    assert await computed(asks, north) == {}
    refused = await asks.post(f"/v1/signals/{signal['id']}/accept", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "signal.lapsed")


async def test_every_fault_of_a_rule_is_named_at_once(app: FastAPI, north: Town) -> None:
    """All violations of a signal rule are returned at once, including unused parameters and a measure that does not
    exist.
    """
    asks = caller(app, north)
    body = {"code": "f", "kind": "failing", "points": 3, "percent": 0, "measure": "gone"}
    answer = await asks.post("/v1/signal-rules", body)
    assert answer.status_code == 422
    assert {(one["pointer"], one["code"]) for one in answer.json()["violations"]} == {
        ("/points", "signal_rule.parameter"),
        ("/percent", "signal_rule.value"),
        ("/measure", "measure.unknown"),
        ("/area", "signal_rule.area"),
    }


@needs(Can.SYNC_ROSTER)
async def graded(work: Work, town: Town, student: str, scores: Mapping[int, float | None]) -> None:
    """Adds results of a student in the first class.

    The keys of `scores` are numbers of days before today. A score of None means missing work.
    """
    for days, score in scores.items():
        about = {"district_id": work.district_id, "id": new_id()}
        line_item = LineItem(**about, title="Work", class_id=town.classes[0], result_value_max=20.0)
        result = Result(
            **about | {"id": new_id()},
            line_item_id=line_item.id,
            class_id=town.classes[0],
            student_id=town.students[student],
            school_ids=[town.schools[0]],
            score=score,
            missing=score is None,
            score_date=TODAY - timedelta(days=days),
            source_id=town.source_id,
            sourced_id=str(line_item.id),
        )
        for row in (line_item, result):
            work.db.add(row)
            await work.db.flush()


@needs(Can.SYNC_ROSTER)
async def age_people(work: Work) -> None:
    """Makes all people look as if they had not changed for an hour."""
    sql = "UPDATE person SET updated_at = now() - interval '1 hour' WHERE district_id = :district"
    await work.db.execute(text(sql), {"district": work.district_id})


async def test_grades_are_read_by_class_and_only_for_changed_students(app: FastAPI, north: Town) -> None:
    """Signals about failing grades, dropping grades and missing work are suggested.

    The job reads only the students that a sync has marked, because their gradebook changed.
    """
    asks = caller(app, north)
    for kind in ("failing", "grade_drop", "missing_work"):
        body = {"code": kind, "kind": kind, "area": "math", "least": 3}
        assert (await asks.post("/v1/signal-rules", body)).status_code == 201
    async with north.house() as work:
        await graded(work, north, "amy", {1: 8.0, 2: 9.0, 3: 10.0})
        await graded(work, north, "ben", {1: 13.0, 2: 13.0, 3: 13.0, 40: 19.0, 41: 19.0, 42: 19.0})
    assert {name: one["kind"] for name, one in (await computed(asks, north)).items()} == {
        "amy": "failing",
        "ben": "grade_drop",
    }
    amy = (await computed(asks, north))["amy"]
    assert (amy["school_class"], len(amy["results"])) == (named("class", north.classes[0]), 3)
    async with north.house() as work:
        await graded(work, north, "cy", {1: None, 2: None, 3: None})
        await age_people(work)
    assert "cy" not in await computed(asks, north)
    async with north.house() as work:
        await mark_due(work, {north.students["cy"]})
    assert (await computed(asks, north))["cy"]["kind"] == "missing_work"


async def test_a_signal_that_returns_names_its_evidence_of_today(app: FastAPI, north: Town) -> None:
    """A signal that lapsed and is suggested again lists the evidence of today, and not the earlier evidence."""
    asks = caller(app, north)
    body = {"code": "failing", "kind": "failing", "area": "math", "least": 3, "days": 30}
    assert (await asks.post("/v1/signal-rules", body)).status_code == 201
    async with north.house() as work:
        await graded(work, north, "amy", {6: 8.0, 7: 9.0, 8: 10.0})
    first = (await computed(asks, north))["amy"]
    for scores, states in (({4: 20.0, 5: 20.0}, []), ({1: 2.0, 2: 3.0, 3: 2.0}, ["amy"])):
        async with north.house() as work:
            await graded(work, north, "amy", scores)
            await mark_due(work, {north.students["amy"]})
        assert [*await computed(asks, north)] == states
    again = (await computed(asks, north))["amy"]
    assert (again["id"], len(first["results"]), len(again["results"])) == (first["id"], 3, 8)


async def test_each_rule_looks_back_its_own_days(app: FastAPI, north: Town) -> None:
    """A rule about screening suggests no signal for a window that closed more days ago than the rule looks back.

    Another rule with more days suggests the signal.
    """
    asks = caller(app, north)
    closed = str(TODAY - timedelta(days=20))
    await scheduled(asks, window(str(TODAY - timedelta(days=40)), closed))
    await screened(asks, north, str(TODAY - timedelta(days=30)), amy=50.0)
    await published(asks, "soon", days=10)
    await published(asks, "maze", days=60, measure="maze")
    assert await computed(asks, north) == {}
    await published(asks, "late", days=60)
    assert (await computed(asks, north)).keys() == {"amy"}


async def test_a_goal_that_was_not_met_in_time_is_suggested(app: FastAPI, north: Town) -> None:
    """A signal is suggested for a support whose goal date is past and whose goal was not met."""
    asks = caller(app, north)
    async with north.unit() as work:
        await plan_support(
            work,
            NewSupport(
                student=named("student", north.students["amy"]),
                intervention="Repeated reading",
                level=2,
                measure="orf",
                starts_on=YEAR_BEGINS,
                goal=60.0,
                goal_on=TODAY - timedelta(days=10),
                minutes_per_session=30,
                sessions_per_week=3,
                baseline=55.0,
                confirm_rate=True,
            ),
        )
    assert (await asks.post("/v1/signal-rules", {"code": "goal", "kind": "unmet_goal"})).status_code == 201
    signal = (await computed(asks, north))["amy"]
    assert (signal["kind"], signal["area"]) == ("unmet_goal", named("area", north.areas["ela.fluency"]))
    assert signal["support"].startswith("sup_")


async def test_a_retired_area_has_no_rule_and_no_suggestion(app: FastAPI, north: Town) -> None:
    """A rule for a retired area, or for a measure of one, is refused. What was suggested in the area lapses.

    Nobody could accept such a signal, because no concern can be raised in the area.
    """
    asks = caller(app, north)
    await scheduled(asks, window(*NOW))
    await screened(asks, north, str(TODAY), amy=50.0)
    await published(asks)
    assert (await computed(asks, north)).keys() == {"amy"}
    area = named("area", north.areas["ela.fluency"])
    assert (await asks.post(f"/v1/areas/{area}/retire", {})).is_success
    assert await computed(asks, north) == {}
    of_measure = {"code": "a", "kind": "screening_under_cut", "measure": "orf"}
    of_area = {"code": "b", "kind": "failing", "area": "ela.fluency"}
    for rule, pointer in ((of_measure, "/measure"), (of_area, "/area")):
        for path in ("", "/preview"):
            refused = await asks.post(f"/v1/signal-rules{path}", rule)
            violations = [(one["pointer"], one["code"]) for one in refused.json()["violations"]]
            assert (refused.status_code, violations) == (422, [(pointer, "area.not_in_force")])
    preview = await asks.post("/v1/signal-rules/preview", {"code": "under-cut", "kind": "screening_under_cut"})
    assert preview.json() == {"students": 0, "grades": 0}
    assert (await asks.post(f"/v1/areas/{area}/restore", {})).is_success
    assert (await computed(asks, north)).keys() == {"amy"}
