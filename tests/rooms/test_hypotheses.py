"""Tests hypotheses: a team states a cause of a concern, a support tests it, and the team is asked for the result."""

from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from app.hypothesis.due import ask_about_hypotheses
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.test_concerns_repeated import raised
from tests.rooms.test_concerns_unserved import TODAY, accepted, planned
from tests.town import Town, maintain


async def proposed(asks: Caller, concern: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Proposes a hypothesis, and returns it."""
    body = {"concern": concern["id"], "kind": "skill", "statement": "Cannot decode.", "refuted_if": "She decodes."}
    answer = await asks.post("/v1/hypotheses", body | more)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def carry_out(asks: Caller, hypothesis: dict[str, Any], verb: str, **body: Any) -> dict[str, Any]:
    """Carries out a command on a hypothesis, and returns the hypothesis."""
    answer = await asks.post(f"/v1/hypotheses/{hypothesis['id']}/{verb}", body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def due(asks: Caller, town: Town) -> list[str | None]:
    """Makes the worker look for hypotheses that are due for review. Returns why each of them is due."""
    async with town.house() as work:
        await ask_about_hypotheses(work)
    return [row["due_because"] for row in await asks.items("/v1/hypotheses", due="true", sort="due")]


async def scored(asks: Caller, student: str, *values: float) -> list[str]:
    """Records these scores, one in each of the last weeks, and returns their ids."""
    scores = [
        {
            "student": student,
            "measure": "orf",
            "taken_on": str(TODAY - timedelta(weeks=len(values) - place)),
            "value": value,
        }
        for place, value in enumerate(values)
    ]
    answer = await asks.post("/v1/scores/bulk", {"scores": scores})
    assert answer.is_success, answer.text
    return [one["score"]["id"] for one in answer.json()["results"]]


async def test_a_hypothesis_goes_from_proposal_to_outcome(app: FastAPI, north: Town) -> None:
    """A closed hypothesis has its evidence, its test, its outcome, and the dosage up to the day of the outcome."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    (score,) = await scored(asks, concern["student"], 40.0)
    hypothesis = await proposed(asks, concern, evidence_for=[score])
    assert (hypothesis["state"], hypothesis["evidence_for"]) == ("open", [score])
    support = await planned(asks, concern, starts_on=str(TODAY - timedelta(weeks=3)))
    tested = await carry_out(asks, hypothesis, "test", support=support)
    assert (tested["state"], tested["support"], tested["testing_since"]) == ("testing", support, str(TODAY))
    weighed = await carry_out(asks, hypothesis, "evidence", evidence_against=[concern["id"]])
    assert weighed["evidence_against"] == [concern["id"]]
    closed = await carry_out(asks, hypothesis, "close", outcome="supported", because="She decodes now.")
    assert (closed["state"], closed["closed_on"]) == ("supported", str(TODAY))
    assert closed["dosage"]["since"] == closed["dosage"]["until"] == str(TODAY)
    document = "{ concern(id: %s) { hypotheses { state kind { code } support { id } } } }"
    shown = await query_data(north, document.replace("%s", f'"{concern["id"]}"'))
    assert shown["concern"]["hypotheses"] == [
        {"state": "SUPPORTED", "kind": {"code": "skill"}, "support": {"id": support}}
    ]
    again = await asks.post(f"/v1/hypotheses/{hypothesis['id']}/close", {"outcome": "refuted", "because": "No."})
    assert (again.status_code, again.json()["code"]) == (409, "hypothesis.closed")


async def test_the_verdict_of_the_day_is_kept(app: FastAPI, north: Town) -> None:
    """The verdict on the day of the outcome is stored with a hypothesis, because later rules may judge otherwise."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    support = await planned(asks, concern, starts_on=str(TODAY - timedelta(weeks=8)))
    await scored(asks, concern["student"], 41.0, 43.0, 45.0)
    verdict = (await asks.get(f"/v1/supports/{support}/verdict")).json()["id"]
    hypothesis = await proposed(asks, concern)
    await carry_out(asks, hypothesis, "test", support=support)
    closed = await carry_out(asks, hypothesis, "close", outcome="unclear", because="Too early.")
    assert closed["verdict"] == verdict


async def test_the_team_is_asked_once_when_the_support_ends(app: FastAPI, north: Town) -> None:
    """When the support that tests a hypothesis has ended, a review of the hypothesis is requested exactly once."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    support, hypothesis = await planned(asks, concern), await proposed(asks, concern)
    await carry_out(asks, hypothesis, "test", support=support)
    assert await due(asks, north) == []
    assert (await asks.post(f"/v1/supports/{support}/end", {"because": "It moved."})).is_success
    for _ in range(2):
        assert await due(asks, north) == ["support_ended"]
    events = (await asks.get("/v1/events", type="hypothesis.due")).json()["items"]
    assert [event["data"]["subject"] for event in events] == [hypothesis["id"]]
    await carry_out(asks, hypothesis, "close", outcome="refuted", because="She decoded all along.")
    assert await due(asks, north) == []


async def test_the_team_is_asked_when_the_verdict_turns(app: FastAPI, north: Town) -> None:
    """If the state of a verdict on a support changes, the hypothesis that the support tests is due for review."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    support = await planned(asks, concern, starts_on=str(TODAY - timedelta(weeks=12)))
    hypothesis = await proposed(asks, concern)
    await carry_out(asks, hypothesis, "test", support=support)
    await scored(asks, concern["student"], *(40.0 for _ in range(11)))
    assert (await asks.get(f"/v1/supports/{support}/verdict")).json()["state"] not in ("insufficient_data", "uncertain")
    assert await due(asks, north) == ["verdict_turned"]
    await carry_out(asks, hypothesis, "test", support=support)
    assert await due(asks, north) == []


async def test_the_hourly_task_asks(app: FastAPI, north: Town) -> None:
    """The worker's hourly task marks hypotheses as due for review, without any request of a client."""
    asks = caller(app, north)
    concern = await accepted(asks, north)
    support, hypothesis = await planned(asks, concern), await proposed(asks, concern)
    await carry_out(asks, hypothesis, "test", support=support)
    assert (await asks.post(f"/v1/supports/{support}/end", {"because": "It moved."})).is_success
    await maintain(north)
    assert [row["id"] for row in await asks.items("/v1/hypotheses", due="true")] == [hypothesis["id"]]


async def test_all_that_is_wrong_with_a_hypothesis_is_reported_at_once(app: FastAPI, north: Town) -> None:
    """All violations of a hypothesis are reported at once. Evidence about another child is refused like unknown
    evidence.
    """
    asks = caller(app, north)
    mine, other = await raised(asks, north), await raised(asks, north, student="ben")
    body = {
        "concern": mine["id"],
        "kind": "bad luck",
        "statement": "",
        "refuted_if": "She decodes.",
        "evidence_for": [mine["id"], other["id"], mine["student"]],
        "evidence_against": [mine["id"]],
    }
    answer = await asks.post("/v1/hypotheses", body)
    assert answer.status_code == 422
    assert {(one["pointer"], one["code"]) for one in answer.json()["violations"]} == {
        ("/kind", "hypothesis_kind.unknown"),
        ("/statement", "shape.string_too_short"),
        ("/evidence_for/1", "concern.unknown"),
        ("/evidence_for/2", "hypothesis.evidence"),
        ("/evidence_against/0", "hypothesis.evidence_doubled"),
    }


async def test_a_support_of_a_secured_area_tests_no_hypothesis_outside_of_it(app: FastAPI, north: Town) -> None:
    """A support in a secured area cannot test a hypothesis outside of this area.

    Readers of the hypothesis would otherwise see the outcome of the support.
    """
    asks = caller(app, north)
    secured, plain = await accepted(asks, north, area="sel"), await accepted(asks, north)
    support = await planned(asks, secured)
    inside, outside = await proposed(asks, secured), await proposed(asks, plain)
    refused = await asks.post(f"/v1/hypotheses/{outside['id']}/test", {"support": support})
    assert (refused.status_code, refused.json()["violations"][0]["code"]) == (422, "hypothesis.secured_area")
    await carry_out(asks, inside, "test", support=support)
    without_area = caller(app, north, CLIENT_SCOPES - {"area:sel"})
    assert [row["id"] for row in await without_area.items("/v1/hypotheses")] == [outside["id"]]


async def test_a_record_of_a_secured_area_is_no_evidence_outside_of_it(app: FastAPI, north: Town) -> None:
    """A caller without the area's scope does not learn from a hypothesis that a record of that area exists."""
    asks = caller(app, north)
    secured, plain = await accepted(asks, north, area="sel"), await accepted(asks, north)
    support = await planned(asks, secured)
    body = {"concern": plain["id"], "kind": "skill", "statement": "s", "refuted_if": "r", "evidence_for": [support]}
    refused = await asks.post("/v1/hypotheses", body)
    assert [(one["pointer"], one["code"]) for one in refused.json()["violations"]] == [
        ("/evidence_for/0", "hypothesis.secured_area")
    ]
    outside, inside = await proposed(asks, plain), await proposed(asks, secured, evidence_for=[plain["id"]])
    path = f"/v1/hypotheses/{outside['id']}/evidence"
    refused = await asks.post(path, {"evidence_against": [secured["id"], plain["id"]]})
    assert [(one["pointer"], one["code"]) for one in refused.json()["violations"]] == [
        ("/evidence_against/0", "hypothesis.secured_area")
    ]
    added = await asks.post(f"/v1/hypotheses/{inside['id']}/evidence", {"evidence_against": [support]})
    assert added.status_code == 200, added.text


async def test_the_playbook_has_the_kinds(app: FastAPI, north: Town) -> None:
    """A district adds and retires kinds of hypotheses by new playbook versions, and existing hypotheses keep a retired
    kind.
    """
    asks = caller(app, north)
    concern = await accepted(asks, north)
    answer = await asks.post("/v1/hypothesis-kinds", {"code": "sleep", "name": "Sleep"})
    assert answer.status_code == 201, answer.text
    assert (await asks.post("/v1/hypothesis-kinds", {"code": "sleep", "name": "Sleep"})).status_code == 200
    hypothesis = await proposed(asks, concern, kind="sleep")
    assert (await asks.ask("DELETE", f"/v1/hypothesis-kinds/{answer.json()['id']}")).status_code == 204
    in_force = await asks.items("/v1/hypothesis-kinds", in_force="true")
    assert [row["code"] for row in in_force] == [
        *("skill", "task", "environment", "motivation", "attendance", "language", "health")
    ]
    assert (await asks.get(f"/v1/hypotheses/{hypothesis['id']}")).json()["kind"] == answer.json()["id"]
    body = {"concern": concern["id"], "kind": "sleep", "statement": "Tired.", "refuted_if": "Not tired."}
    assert (await asks.post("/v1/hypotheses", body)).status_code == 422
