"""Tests that cursors, which appear in URLs, `Link` headers and proxies' logs, never reveal a child's name."""

import ast
import base64
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.crypto import generate_key
from app.main import build
from app.settings import Settings
from tests.faces.graphql_face import ask, query_data
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict
from tests.house.source import modules
from tests.house.walk import operations, own_request
from tests.town import found_town

PEOPLE = "query P($after: String) { students(first: 2, after: $after) { %s edges { cursor node { id } } } }"
PAGES = PEOPLE % "pageInfo { startCursor endCursor hasNextPage }"
OTHERS = {
    "another list": "query P($after: String) { staff(first: 1, after: $after) { edges { cursor } } }",
    "another filter": 'query P($after: String) { students(first: 1, after: $after, grade: "x") { edges { cursor } } }',
}


def decoded(cursor: str) -> bytes:
    """Returns the bytes of a cursor after Base64 decoding, as somebody who found it in a log would see them."""
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


async def test_no_cursor_of_rest_decodes_to_a_name(app: FastAPI, read_district: FullDistrict) -> None:
    """No cursor and no Link header of any list contains a person's data."""
    north, seen = caller(app, read_district.town), 0
    for operation in operations(app):
        if "after" not in operation.names("query"):
            continue
        answer = await north.get(own_request(operation, read_district).path, limit=1)
        cursor = answer.json()["next"]
        if cursor is None:
            continue
        seen += 1
        link = answer.headers.get("link", "")
        assert read_district.town.canary.encode() not in decoded(cursor) + cursor.encode() + link.encode(), (
            operation.name
        )
    assert seen >= 9


async def test_no_cursor_of_graphql_decodes_to_a_name(read_district: FullDistrict) -> None:
    """No cursor of an edge or a page contains a person's data."""
    students = (await query_data(read_district.town, PAGES))["students"]
    assert students["pageInfo"]["hasNextPage"]
    shown = [edge["cursor"] for edge in students["edges"]] + [students["pageInfo"]["endCursor"]]
    for cursor in shown:
        assert read_district.town.canary.encode() not in decoded(cursor) + cursor.encode()
        assert shown.count(cursor) <= 2


async def test_an_edited_cursor_is_refused_by_graphql(read_district: FullDistrict) -> None:
    """A cursor with one changed, added or removed character is refused with REST's code and pointer."""
    cursor = (await query_data(read_district.town, PAGES))["students"]["pageInfo"]["endCursor"]
    edits = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(0, len(cursor), 7)]
    for edited in [*edits, cursor[:-1], cursor + "A", cursor + "=", "", "x", "A" * 100_000]:
        _refused((await ask(read_district.town, PAGES, {"after": edited})).json())
    assert (await query_data(read_district.town, PAGES, {"after": cursor}))["students"]["edges"]


@pytest.mark.parametrize("query", OTHERS.values(), ids=OTHERS)
async def test_a_cursor_of_graphql_is_bound_to_its_list_and_filter(query: str, read_district: FullDistrict) -> None:
    """A cursor of another list or with another filter is refused, as in REST."""
    cursor = (await query_data(read_district.town, PAGES))["students"]["pageInfo"]["endCursor"]
    _refused((await ask(read_district.town, query, {"after": cursor})).json())


async def test_a_cursor_of_another_district_is_refused(
    app: FastAPI, read_district: FullDistrict, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings
) -> None:
    """A cursor of another district is refused in both APIs."""
    south = await found_town("south", engine, worker_engine, settings)
    cursor = (await caller(app, read_district.town).get("/v1/students", limit=1)).json()["next"]
    answer = await caller(app, south).get("/v1/students", limit=1, after=cursor)
    assert answer.status_code == 400, answer.text
    assert answer.json()["violations"][0]["code"] == "page.cursor"
    cursor = (await query_data(read_district.town, PAGES))["students"]["pageInfo"]["endCursor"]
    _refused((await ask(south, PAGES, {"after": cursor})).json())


async def test_another_process_and_a_rotated_key_open_a_cursor(
    app: FastAPI, read_district: FullDistrict, settings: Settings
) -> None:
    """A cursor from one process can be used in another process that has an additional, newer key.

    The first process lacks this key, and therefore refuses a cursor from the other one.
    """
    cursor = (await caller(app, read_district.town).get("/v1/students", limit=1)).json()["next"]
    # The roles' passwords are derived from the first key: the addresses stay those of before.
    addresses = {f"{role}_database_url": settings.url_of(role) for role in ("api", "worker")}
    keys = "\n".join((generate_key("k9"), *settings.key.splitlines()))
    other = build(Settings(**(settings.model_dump() | addresses | {"key": keys})))
    try:
        answer = await caller(other, read_district.town).get("/v1/students", limit=1, after=cursor)
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"]
        newer = answer.json()["next"]
        assert (await caller(app, read_district.town).get("/v1/students", limit=1, after=newer)).status_code == 400
    finally:
        await other.state.services.engine.dispose()


def test_every_list_of_the_product_is_sealed_with_its_keyring() -> None:
    """The cursors of every list are encrypted with the keyring, so that other processes can open them."""
    calls = [
        (name, call)
        for name, tree in modules().items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "keyset"
    ]
    assert len(calls) >= 4
    for name, call in calls:
        assert ast.unparse(call.args[-1]).endswith("work.keyring"), name


def _refused(answer: dict[str, Any]) -> None:
    assert not any((answer.get("data") or {}).values()), answer
    problem = answer["errors"][0]["extensions"]["problems"][0]
    assert (problem["code"], problem["pointer"]) == ("page.cursor", "/after"), answer
