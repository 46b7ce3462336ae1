"""Sends every GraphQL query and mutation with the ids of the district North, as a client of another district.

No answer may contain a value of North, and North's rows must not change. The queries and mutations are found by
introspection. If one has an argument that the test does not know, the test fails.
"""

from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, ids_of, rows_of, spellings
from tests.house.walk import Unwalkable, leaks
from tests.house.walk_graphql import CORE, IN_BULK, OF_ITS_CLIENT, argument_values, commands, reads


async def test_the_towns_own_client_reads_everything(app: FastAPI, full_north: FullDistrict) -> None:
    """The district's own client reads every GraphQL field without an error. Otherwise the tests with another district's
    client would check nothing.
    """
    north = caller(app, full_north.town)
    for name, document, variables in reads(full_north):
        answer = await north.post("/graphql", {"query": document, "variables": variables})
        assert "errors" not in answer.json(), (name, variables, answer.text)
        if "id" in variables and name not in OF_ITS_CLIENT:
            assert answer.json()["data"][name] is not None, (name, variables)


async def test_a_stranger_reads_and_changes_nothing(
    app: FastAPI, full_north: FullDistrict, full_south: FullDistrict, owner: asyncpg.Connection
) -> None:
    """A client of another district gets null for ids of the district North, and a problem for a command that uses one.

    No answer contains a value of North, and no row of North changes.
    """
    before = await rows_of(owner, full_north.town.district_id)
    spelt = spellings(await ids_of(owner, full_north.town.district_id))
    south = caller(app, full_south.town)

    async def asked(document: str, variables: dict[str, Any]) -> httpx.Response:
        answer = await south.post("/graphql", {"query": document, "variables": variables})
        assert leaks(answer.text, str(variables), full_north.town.canary, spelt) == [], (document, answer.text)
        assert answer.status_code < 500, answer.text
        return answer

    for name, document, variables in reads(full_north):
        answer = await asked(document, variables)
        if variables.keys() & {"id", "name"}:
            assert answer.json()["data"] == {name: None}, (name, variables, answer.text)
    for name, document, variables, field in commands(full_south, full_north):
        answer = await asked(document, variables)
        assert "data" in answer.json(), (name, field, variables, answer.text)
        data = answer.json()["data"][name]
        refused = any(one["outcome"] == "REFUSED" for one in data.get("results", ())) or bool(data["problems"])
        assert refused, (name, field, data)
    assert await rows_of(owner, full_north.town.district_id) == before


async def test_the_towns_own_client_can_do_everything(app: FastAPI, full_north: FullDistrict) -> None:
    """The district's own client can execute each mutation that the tests send as another district's client."""
    north = caller(app, full_north.town)
    # The test clock is moved last: on the earlier day, the teams do not serve their students yet.
    ordered = sorted(commands(full_north, None), key=lambda one: one[0] == "moveTestClock")
    for name, document, variables, _ in ordered:
        answer = (await north.post("/graphql", {"query": document, "variables": variables})).json()
        assert "errors" not in answer, (name, answer)
        assert answer["data"][name].get("problems", []) == [], (name, answer)
        if name in IN_BULK:
            assert answer["data"][name]["results"][0]["outcome"] != "REFUSED", str(answer)


def test_every_subscription_is_walked() -> None:
    """The schema has exactly three subscriptions.

    The module test_subscriptions tests each of them with another district's client.
    """
    assert CORE.subscription_type is not None
    assert CORE.subscription_type.fields.keys() == {"events", "verdictChanged", "syncChanged"}


def test_an_unknown_argument_fails_the_walk(full_north: FullDistrict) -> None:
    """`argument_values` raises an error for an argument for which it has no value, so that no new argument stays
    untested.
    """
    with pytest.raises(Unwalkable, match="planted"):
        argument_values("students", "planted", CORE.type_map["String"], full_north)
