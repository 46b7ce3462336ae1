"""Checks how many SQL statements are sent for the reads that the benchmarks measure, and for recording one score.

Also checks that a GraphQL request does not go through the routing of REST.
"""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI

from app.access.principal import Reach
from app.core import ids
from app.response.service import record_scores
from app.rest import retry
from bench.graphql.__main__ import OURS
from tests.faces.rest_town import caller
from tests.rooms.verdict_town import BEGINS, classmates, reader, response_events, scores, supported
from tests.sent import statements_sent
from tests.town import Town

MARKS = {"log": "INSERT INTO disclosure", "caseload": "FROM caseload", "read": "concat("}
REST = ("students", "concerns", "supports")


async def _sent(app: FastAPI, town: Town, query: str, act_for: str | None) -> list[str]:
    """Returns a summary of each statement that is sent for a GraphQL query or a REST path."""
    client = caller(app, town, act_for=act_for)
    with statements_sent(app.state.services.engine) as statements:
        if query.startswith("/"):
            answer = await client.get(query)
        else:
            answer = await client.ask("POST", "/graphql", json={"query": query})
    assert answer.status_code == 200, answer.text
    assert "errors" not in answer.json()
    return [next((name for name, mark in MARKS.items() if mark in statement), statement) for statement in statements]


@pytest.mark.parametrize("name", [*OURS, *REST])
async def test_a_read_is_one_statement_and_one_row_of_the_log(app: FastAPI, north: Town, name: str) -> None:
    """A read of any depth sends one statement, and a second one that writes a row of the disclosure log.

    For a caller that acts for a person, one more statement reads the caseload.
    """
    if name in REST:
        query = f"/v1/{name}?limit=50"
    else:
        query = OURS[name] % ids.format_id("student", north.students["amy"]) if name == "tiny" else OURS[name]
    log = [] if name in ("concerns", "supports") else ["log"]  # there are none in this district
    assert await _sent(app, north, query, None) == ["read", *log]
    teacher = ids.format_id("person", north.staff["teacher"])
    assert await _sent(app, north, query, teacher) == ["caseload", "read", *log]


async def test_graphql_does_not_pass_the_routing_of_rest(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GraphQL request is answered without going through the framework's routing of REST requests."""

    async def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(retry, "run_with_retry", fail)
    client = caller(app, north)
    assert (await client.ask("POST", "/graphql", json={"query": "{ __typename }"})).status_code == 200
    assert (await client.get("/v1/students")).status_code == 500


RECORD = """mutation($input: RecordScoresInput!, $key: String!) { recordScores(input: $input, idempotencyKey: $key) {
    results { outcome score { id value student { id } } } problems { code } } }"""
MOST = 10
"""The largest number of statements that record one score, without BEGIN with the principal, SAVEPOINT and COMMIT."""
BOUND = "SELECT current_setting('app.reach'), current_setting('app.opens')"


async def _plan(north: Town) -> None:
    """Plans a support for amy in a class of six."""
    for name in await classmates(north, 5):
        await supported(north, name)
        async with north.unit() as work:
            await record_scores(work, scores(north, name, reader(1, 9)))
    await supported(north, "amy")


@pytest.mark.parametrize("by", ["client", "id", "external id"])
async def test_a_score_takes_at_most_ten_statements_over_rest(app: FastAPI, north: Town, by: str) -> None:
    """A score with its verdict, alert, events, disclosure and idempotency key takes at most ten statements.

    This holds for a client as such and for a teacher, however the teacher is named. A teacher who was named by an
    external id once took one more. If the database is on another machine, each statement is a step over the network.
    """
    await _plan(north)
    teacher = {
        "client": None,
        "id": ids.format_id("person", north.staff["teacher"]),
        "external id": "sis:sis:teacher-1",
    }
    client, counts = caller(app, north, act_for=teacher[by]), []
    for week in range(1, 10):
        day = BEGINS + timedelta(weeks=week)
        body = {"student": ids.format_id("student", north.students["amy"]), "measure": "orf", "value": 40.0}
        with statements_sent(app.state.services.engine) as statements:
            answer = await client.ask(
                "POST", "/v1/scores", json=body | {"taken_on": str(day)}, headers={"Idempotency-Key": f"one-{week}"}
            )
        assert answer.status_code == 201, answer.text
        counts.append(len(statements))
    assert "response.off_track" in await response_events(north)
    # The first request of a process reads the playbook, which is kept.
    assert max(counts[1:]) <= MOST


async def test_a_score_takes_at_most_ten_statements_over_graphql(app: FastAPI, north: Town) -> None:
    """Recording a score over GraphQL takes the same statements as over REST, and one more that reads the selected
    fields.
    """
    await _plan(north)
    client, counts = caller(app, north), []
    for week in range(1, 10):
        score = {"student": ids.format_id("student", north.students["amy"]), "measure": "orf", "value": 40.0}
        score["takenOn"] = str(BEGINS + timedelta(weeks=week))
        variables = {"input": {"scores": [score]}, "key": f"one-{week}"}
        with statements_sent(app.state.services.engine) as statements:
            answer = await client.ask("POST", "/graphql", json={"query": RECORD, "variables": variables})
        assert answer.json()["data"]["recordScores"]["results"][0]["outcome"] == "RECORDED", answer.text
        counts.append(len(statements))
    assert "response.off_track" in await response_events(north)
    assert max(counts[1:]) <= MOST


async def test_the_callers_reach_is_bound_again_after_judging(north: Town) -> None:
    """While verdicts are written, the transaction may see more students than the caller. Afterwards it sees only the
    caller's students again.
    """
    await supported(north, "amy")
    principal = replace(north.client(), reach=Reach.CASELOAD, students=(north.students["amy"],))
    for week in (1, 2):
        async with north.unit(principal) as work:
            await record_scores(work, scores(north, "amy", [40.0], since=week))
            rows = await work.run_step(partial(work.run, BOUND, ()))
        assert tuple(rows[0]) == ("caseload", principal.binding_arguments()[4])
