"""Tests mutations that are sent twice, and changes of a row that was changed since the client read it."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from app.main import build
from tests.faces.cutting_proxy import cutting_proxy
from tests.faces.faulty import ask_graphql, code_of, concerns_of
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import caller
from tests.town import Town

RAISE = """mutation ($input: RaiseConcernInput!, $key: String) {
  raiseConcern(input: $input, idempotencyKey: $key) { concern { id description } problems { code } } }"""
TWICE = """mutation ($input: RaiseConcernInput!, $other: RaiseConcernInput!) { ...F }
fragment F on Mutation {
  one: raiseConcern(input: $input, idempotencyKey: "one") { ...P }
  two: raiseConcern(input: $other, idempotencyKey: "two") { ...P }
  __typename }
fragment P on RaiseConcernPayload { concern { id } problems { code } }"""
AMEND = """mutation ($input: AmendMeasureInput!, $version: Int) {
  amendMeasure(input: $input, version: $version) { measure { name version } problems { code pointer } } }"""


def concern(town: Town, **more: Any) -> dict[str, Any]:
    """Returns the input of a concern about amy."""
    area = ids.format_id("area", next(iter(town.areas.values())))
    return {"student": ids.format_id("student", town.students["amy"]), "area": area, "description": "Quiet.", **more}


async def send(app: FastAPI, town: Town, key: str | None = "k", **more: Any) -> httpx.Response:
    """Raises a concern by a mutation with an idempotency key."""
    return await ask_graphql(app, town, RAISE, {"input": concern(town, **more), "key": key})


async def test_the_second_mutation_is_answered_as_the_first(app: FastAPI, north: Town) -> None:
    """A repeated mutation returns the data of the first one and raises no second concern.

    The `extensions` of the response name the repeated fields.
    """
    first, repeated = await send(app, north), await send(app, north)
    assert first.json()["data"] == repeated.json()["data"]
    assert first.json()["data"]["raiseConcern"]["concern"]["id"]
    assert "idempotencyReplayed" not in first.json()["extensions"]
    assert repeated.json()["extensions"]["idempotencyReplayed"] == ["raiseConcern"]
    assert await concerns_of(north) == ["Quiet."]


async def test_other_variables_are_refused(app: FastAPI, north: Town) -> None:
    """An idempotency key that was used with other variables is refused with REST's code."""
    assert (await send(app, north)).status_code == 200
    other = await send(app, north, description="Loud.")
    assert code_of(other) == "idempotency.mismatch"
    assert await concerns_of(north) == ["Quiet."]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "é"])
async def test_a_bad_key_is_refused(app: FastAPI, north: Town, key: str) -> None:
    """An invalid key is refused with 400 and REST's code, and nothing is changed."""
    answer = await send(app, north, key)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["problems"][0]["code"] == "idempotency.key_malformed"
    assert await concerns_of(north) == []


async def test_each_field_has_a_key_of_its_own(app: FastAPI, north: Town) -> None:
    """In a mutation with several fields, each field has its own idempotency key. If the mutation is repeated, only the
    refused fields run again.
    """
    wrong = {"input": concern(north), "other": concern(north, area="no-such-area")}
    first = (await ask_graphql(app, north, TWICE, wrong)).json()
    assert first["data"]["one"]["concern"] is not None
    assert first["data"]["two"]["problems"][0]["code"] == "area.unknown"
    repeated = (await ask_graphql(app, north, TWICE, wrong)).json()
    assert repeated["data"] == first["data"]
    assert list(repeated["data"]) == ["one", "two", "__typename"]
    assert repeated["extensions"]["idempotencyReplayed"] == ["one"]
    assert await concerns_of(north) == ["Quiet."]


async def test_of_sixteen_at_once_one_has_an_effect(app: FastAPI, north: Town) -> None:
    """Of sixteen equal mutations at the same time, one has an effect. The others get its data, or 409."""
    answers = await asyncio.gather(*(send(app, north) for _ in range(16)))
    assert await concerns_of(north) == ["Quiet."]
    for answer in answers:
        assert answer.status_code == 200 or code_of(answer) == "idempotency.in_flight"
    assert len({str(answer.json()["data"]) for answer in answers if answer.status_code == 200}) == 1


async def test_a_commit_whose_answer_is_lost_is_asked_for_again(north: Town, tmp_path: Path) -> None:
    """If the connection is lost during the commit of a mutation, the server runs the mutation again under its
    idempotency key.

    The caller gets the stored response of the first run, and only one concern is raised.
    """
    async with cutting_proxy(north.settings.url_of("api"), tmp_path) as proxy:
        app = build(north.settings.model_copy(update={"api_database_url": proxy.url}))
        proxy.cut_after = b"COMMIT"
        answer = await send(app, north)
        assert proxy.cuts == 1
        await app.state.services.engine.dispose()
    assert answer.json()["extensions"]["idempotencyReplayed"] == ["raiseConcern"], answer.text
    assert await concerns_of(north) == ["Quiet."]


async def test_a_change_needs_the_version_that_was_read(app: FastAPI, north: Town) -> None:
    """A GraphQL mutation without the row's current version gets a problem, as PATCH over REST does."""
    given = {"input": {"measure": "orf", "name": "Mine"}}
    for version, problem in ((None, "version.required"), (7, "version.mismatch")):
        answer = (await ask_graphql(app, north, AMEND, {**given, "version": version})).json()
        assert answer["data"]["amendMeasure"]["problems"] == [{"code": problem, "pointer": ""}]
    answer = (await ask_graphql(app, north, AMEND, {**given, "version": 1})).json()
    assert answer["data"]["amendMeasure"]["measure"] == {"name": "Mine", "version": 2}
    assert (await caller(app, north).get("/v1/measures")).json()["items"]


async def test_a_version_is_of_its_field_only(app: FastAPI, north: Town) -> None:
    """If a field of a mutation fails because of its version, the next field is still checked with its own version."""
    query = """mutation {
      a: amendMeasure(input: {measure: "orf", name: "A"}, version: 9) { problems { code } }
      b: amendMeasure(input: {measure: "orf", name: "B"}, version: 1) { measure { version } problems { code } } }"""
    data = (await ask_graphql(app, north, query)).json()["data"]
    assert data["a"]["problems"] == [{"code": "version.mismatch"}]
    assert data["b"] == {"measure": {"version": 2}, "problems": []}


@pytest.mark.parametrize(
    ("more", "code", "pointer"),
    [
        ({"mapping": 7}, "shape.dict_type", "/mapping"),
        ({"limits": {str(number): 0 for number in range(21)}}, "shape.too_long", "/limits"),
        ({"leftOut": ["demographics"] * 51}, "shape.too_long", "/leftOut"),
        ({"fullCron": "x" * 201}, "shape.string_too_long", "/fullCron"),
        ({"clientSecret": None}, "client_secret.missing", "/clientSecret"),
        ({"limits": {"page_size": 1}}, "limit.unknown", "/limits/page_size"),
    ],
)
async def test_a_derived_command_keeps_the_bounds_of_its_inputs(
    north: Town, more: dict[str, Any], code: str, pointer: str
) -> None:
    """A generated GraphQL command checks the limits of its inputs. Its problems name the inputs as GraphQL does.

    A key within a JSON object is named as the caller sent it. No input causes an internal error.
    """
    given = {"name": "other", "kind": "oneroster-1.1", "url": "https://sis.example/a", "clientId": "a"}
    query = "mutation ($input: RegisterSourceInput!) { registerSource(input: $input) { problems { code pointer } } }"
    answer = await query_data(north, query, {"input": given | {"clientSecret": "of-a-test"} | more})
    assert {"code": code, "pointer": pointer} in answer["registerSource"]["problems"], answer
