"""Tests goals over both APIs: the norms in the playbook, and the rates of growth that goals require."""

from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from app.core import ids
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import caller
from tests.rooms.test_loop import BEGINS, served, stu
from tests.town import Town

OWN = {"measure": "orf", "grade": "3", "citation": "Our own norms", "realistic_growth": 1.5}
PUBLISH = """mutation($input: PublishBenchmarksInput!) {
  publishBenchmarks(input: $input) {
    results { outcome benchmark { id realisticGrowth fromVersion published } problems { code } } problems { code }
  }
}"""
READ = """{ benchmarks(first: 100, grade: "03", inForce: true) {
  edges { node { season citation published riskCut benchmarkGoal p50 realisticGrowth measure { code } } }
} }"""
DECIDE = """mutation($input: DecideInput!) { decide(input: $input) {
  decision { newPhase { requiredRate requiredRateBefore realisticRate rateCheck benchmarkId } }
  problems { code pointer detail figures { name value } }
} }"""


def plan(town: Town, **more: Any) -> dict[str, Any]:
    """Returns the input for a support of 20 weeks for a reader in grade 3."""
    return {
        "student": stu(town, "amy"),
        "intervention": "Repeated reading",
        "level": 2,
        "measure": "orf",
        "starts_on": str(BEGINS),
        "goal": 60.0,
        "goal_on": str(BEGINS + timedelta(weeks=20)),
        "baseline": 40.0,
        "minutes_per_session": 30,
        "sessions_per_week": 3,
        **more,
    }


async def test_published_norms_are_in_every_playbook(app: FastAPI, north: Town) -> None:
    """The published norms, with their sources, are in each district's first playbook version, over REST and GraphQL."""
    rest = await caller(app, north).items("/v1/benchmarks", grade="03", in_force=True, measure="orf")
    nodes = [edge["node"] for edge in (await query_data(north, READ))["benchmarks"]["edges"]]
    assert len(rest) == len(nodes) == 8
    assert all(each["published"] and each["from_version"] == 1 and each["until_version"] is None for each in rest)
    cuts = {each["season"]: (each["benchmark_goal"], each["risk_cut"]) for each in rest if each["risk_cut"]}
    assert cuts == {"fall": (73.0, 55.0), "winter": (105.0, 85.0), "spring": (114.0, 96.0)}
    assert [each["realisticGrowth"] for each in nodes if each["realisticGrowth"]] == [1.0]


async def test_a_districts_own_norm_is_published_beside_the_others_and_earlier_versions_stay_readable(
    app: FastAPI, north: Town
) -> None:
    """A district's own norm is published as a row of the next version, and norms of earlier versions can still be
    read.
    """
    asks = caller(app, north)
    first = (await asks.post("/v1/benchmarks", {"benchmarks": [OWN]})).json()["results"][0]
    same = (await asks.post("/v1/benchmarks", {"benchmarks": [OWN]})).json()["results"][0]
    assert (first["outcome"], same["outcome"]) == ("recorded", "unchanged")
    assert (await asks.get("/v1/playbook")).json()["number"] == first["benchmark"]["from_version"] == 2
    input_ = {"benchmarks": [{"measure": "orf", "grade": "3", "citation": "Our own norms", "realisticGrowth": 1.2}]}
    amended = (await query_data(north, PUBLISH, {"input": input_}))["publishBenchmarks"]
    (result,) = amended["results"]
    assert (result["outcome"], result["benchmark"]["realisticGrowth"]) == ("AMENDED", 1.2)
    growth = {}
    for number in (1, 2, 3):
        rows = await asks.items("/v1/benchmarks", playbook_number=number, grade="3")
        growth[number] = [row["realistic_growth"] for row in rows]
    assert growth == {1: [], 2: [1.5], 3: [1.2]}
    removed = await asks.ask("DELETE", f"/v1/benchmarks/{result['benchmark']['id']}")
    second = await asks.ask("DELETE", f"/v1/benchmarks/{result['benchmark']['id']}")
    assert (removed.status_code, second.status_code, second.json()["code"]) == (204, 409, "benchmark.retired")
    assert [each["id"] for each in await asks.items("/v1/benchmarks", grade="3", in_force=True)] == []


async def test_invalid_norms_are_refused_alone(app: FastAPI, north: Town) -> None:
    """A wrong norm is refused with an error that points to it. The other norms of the request are published."""
    sent = [OWN, OWN, {**OWN, "measure": "none"}, {**OWN, "realistic_growth": None}, {**OWN, "grade": "4"}]
    results = (await caller(app, north).post("/v1/benchmarks", {"benchmarks": sent})).json()["results"]
    assert [each["outcome"] for each in results] == ["recorded", "refused", "refused", "refused", "recorded"]
    codes = [(each["violations"][0]["pointer"], each["violations"][0]["code"]) for each in results[1:4]]
    assert codes == [
        ("/benchmarks/1", "benchmark.doubled"),
        ("/benchmarks/2/measure", "measure.unknown"),
        ("/benchmarks/3", "benchmark.empty"),
    ]
    assert {each["benchmark"]["from_version"] for each in (results[0], results[4])} == {2}


async def test_planning_a_goal_above_the_norms_must_be_confirmed(app: FastAPI, north: Town) -> None:
    """A goal that needs more growth than the norms call realistic is refused, unless the request confirms it.

    The refusal states the required growth and a realistic goal.
    """
    asks = caller(app, north)
    refused = await asks.post("/v1/supports", plan(north, goal=80.0))
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "goal.unrealistic")
    assert (await asks.get("/docs/problems/goal.unrealistic")).status_code == 200
    (violation,) = problem["violations"]
    assert violation["pointer"] == "/goal"
    figures = violation["figures"]
    assert figures["realistic_rate"] == 1.0
    assert figures["required_rate"] == (80 - 40) / figures["weeks"]
    accepted = await asks.post("/v1/supports", plan(north, goal=figures["proposed_goal"]))
    (phase,) = accepted.json()["phases"]
    assert (phase["rate_check"], phase["realistic_rate"], phase["required_rate_before"]) == ("realistic", 1.0, None)
    (norm,) = [each for each in await asks.items("/v1/benchmarks") if each["id"] == phase["benchmark"]]
    assert (norm["grade"], norm["realistic_growth"]) == ("03", 1.0)
    confirmed = await asks.post("/v1/supports", plan(north, goal=80.0, confirm_rate=True))
    (phase,) = confirmed.json()["phases"]
    assert (phase["rate_check"], phase["required_rate"]) == ("confirmed", figures["required_rate"])


async def test_a_measure_without_a_norm_refuses_nothing_and_says_so(app: FastAPI, north: Town) -> None:
    """If a measure has no norm, no goal is refused. The answer has the result `no_norm` for the comparison."""
    planned = await caller(app, north).post("/v1/supports", plan(north, measure="maze", baseline=5.0, goal=55.0))
    (phase,) = planned.json()["phases"]
    assert (planned.status_code, phase["rate_check"], phase["realistic_rate"]) == (201, "no_norm", None)
    assert phase["required_rate"] > 2


async def test_intensifying_states_the_rate_before_and_after_and_refuses_a_kept_goal_that_is_too_near(
    app: FastAPI, north: Town
) -> None:
    """If a support is intensified, the answer has the required growth before and after.

    A goal that is kept is refused if it needs more growth than the norms call realistic.
    """
    support = await served(north, "amy")
    scores = [
        {"student": stu(north, "amy"), "measure": "orf", "taken_on": str(BEGINS + timedelta(weeks=week)), "value": 47.0}
        for week in range(1, 11)
    ]
    asks = caller(app, north)
    await asks.post("/v1/scores/bulk", {"scores": scores})
    new = {
        "kind": "INTENSIFY",
        "support": ids.format_id("support", support.id),
        "decidedOn": str(BEGINS + timedelta(weeks=10, days=1)),
    }
    refused = (await query_data(north, DECIDE, {"input": new}))["decide"]
    (problem,) = refused["problems"]
    assert (problem["code"], problem["pointer"]) == ("goal.unrealistic", "/change/goal")
    figures = {each["name"]: each["value"] for each in problem["figures"]}
    change = {"because": "Daily.", "goal": figures["proposed_goal"]}
    decided = (await query_data(north, DECIDE, {"input": {**new, "change": change}}))["decide"]
    assert decided["problems"] == []
    phase = decided["decision"]["newPhase"]
    assert phase["rateCheck"] == "REALISTIC"
    assert phase["requiredRate"] <= phase["realisticRate"] == 1.0 < figures["required_rate"]
    assert phase["requiredRateBefore"] > 1.0
    body = {"because": "The goal is kept.", "begins_on": str(BEGINS + timedelta(weeks=11)), "goal": 90.0}
    path = f"/v1/supports/{new['support']}/change"
    kept = await asks.post(path, body)
    assert (kept.status_code, kept.json()["code"]) == (422, "goal.unrealistic")
    last = (await asks.post(path, body | {"confirm_rate": True})).json()["phases"][-1]
    assert (last["rate_check"], last["required_rate_before"]) == ("confirmed", phase["requiredRate"])


async def test_a_later_start_is_compared_too(app: FastAPI, north: Town) -> None:
    """If a support starts later than planned, fewer weeks remain, and the required rate is compared with the norms
    again.
    """
    asks = caller(app, north)
    planned = (await asks.post("/v1/supports", plan(north))).json()
    path, late = f"/v1/supports/{planned['id']}/start", str(BEGINS + timedelta(weeks=8))
    refused = await asks.post(path, {"on": late})
    assert (refused.status_code, refused.json()["code"]) == (422, "goal.unrealistic")
    started = (await asks.post(path, {"on": late, "confirm_rate": True})).json()
    assert started["phases"][0]["rate_check"] == "confirmed"
    assert started["phases"][0]["required_rate"] > 1.0 >= planned["phases"][0]["required_rate"]
