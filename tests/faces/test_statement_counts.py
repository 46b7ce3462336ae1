"""Pins the statements of the reads that the benchmarks measure, and the way that they take through the process."""

from typing import Any

import pytest
from fastapi import FastAPI

from app.core import ids
from app.rest import retry
from bench.graphql.__main__ import OURS
from tests.faces.rest_town import caller
from tests.sent import statements_sent
from tests.town import Town

MARKS = {"log": "INSERT INTO disclosure", "caseload": "FROM caseload", "read": "concat("}
REST = ("students", "concerns", "supports")


async def _sent(app: FastAPI, town: Town, query: str, act_for: str | None) -> list[str]:
    """Returns what each statement does that answers a GraphQL query, or a REST path."""
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
    """A read of any depth is one statement and the log's row; for an acting person, one more statement finds the
    caseload.
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
    """A GraphQL request is answered before the framework's routing, which REST's requests pass."""

    async def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(retry, "run_with_retry", fail)
    client = caller(app, north)
    assert (await client.ask("POST", "/graphql", json={"query": "{ __typename }"})).status_code == 200
    assert (await client.get("/v1/students")).status_code == 500
