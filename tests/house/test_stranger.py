"""Calls every REST operation as a client of another district, and checks that it returns no value of this district.

The client has every scope and sends this district's ids. Afterwards no row has changed. An operation that the test
cannot call makes it fail.
"""

from functools import partial
from uuid import UUID

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.catalog import CATALOG
from app.settings import Settings
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, fill_district, ids_of, rows_of, spellings
from tests.house.walk import (
    Operation,
    Request,
    Unwalkable,
    command_turn,
    leaks,
    live_routes,
    operations,
    own_filters,
    own_request,
    strangers_requests,
    whole_answers,
)
from tests.house.walk_knows import OPEN, UNWALKED
from tests.town import found_town

BULK = {command.bulk_name for command in CATALOG.commands.values() if command.bulk is not None}
"""Operations that answer with a result for each item."""


def test_the_walk_sees_every_live_route(app: FastAPI) -> None:
    """Every route of the app is in the contract, or is a listed exception, so that the tests call all of them."""
    walked = {(one.method, one.path) for one in operations(app)}
    live = {(method, path) for method, path in live_routes(app) if path not in UNWALKED}
    assert live == walked
    assert {path for _, path in live_routes(app)} >= UNWALKED.keys()


def test_an_operation_that_cannot_be_walked_fails(full_north: FullDistrict) -> None:
    """A path parameter, filter or field for which the tests have no value raises an error; it is not left out."""
    unknown = {"in": "path", "name": "planted", "schema": {"type": "string"}}
    with pytest.raises(Unwalkable, match="PATHS"):
        own_request(Operation("GET", "/v1/x/{planted}", "x", (unknown,), None), full_north)
    with pytest.raises(Unwalkable, match="VALUES"):
        list(own_filters(Operation("GET", "/v1/x", "x", ({**unknown, "in": "query"},), None), full_north))
    body = {"properties": {"planted": {"type": "string"}}}
    with pytest.raises(Unwalkable, match="FIELDS"):
        own_request(Operation("POST", "/v1/x", "x", (), body), full_north)


async def test_a_stranger_gets_nothing(
    app: FastAPI, full_north: FullDistrict, full_south: FullDistrict, owner: asyncpg.Connection
) -> None:
    """For each id of this district, a client of another district gets 404 or another refusal. It gets no value and
    changes no row.
    """
    before = await rows_of(owner, full_north.town.district_id)
    assert all(before[table][0] for table in ("person", "score", "verdict", "decision", "webhook_delivery", "event"))
    spelt = spellings(await ids_of(owner, full_north.town.district_id))
    walked = 0
    for operation in operations(app):
        if operation.name in OPEN:
            continue
        requests = strangers_requests(operation, full_south, full_north)
        async for request, answer in whole_answers(partial(_as_south, app, full_south), requests):
            assert request.named != "expand" or answer.status_code != 400, (str(request), answer.text)
            _nothing_is_norths(request, answer, full_north.town.canary, spelt)
            _is_refused(request, answer)
            walked += 1
    assert walked > 100
    assert await rows_of(owner, full_north.town.district_id) == before


async def test_a_cursor_of_another_district_is_refused(
    app: FastAPI, full_north: FullDistrict, full_south: FullDistrict
) -> None:
    """A cursor from one district's list is refused with 400 in another district."""
    north, south = caller(app, full_north.town), caller(app, full_south.town)
    attempts = 0
    for operation in operations(app):
        if "after" not in operation.names("query"):
            continue
        own = own_request(operation, full_north)
        cursor = (await north.get(own.path, limit=1)).json()["next"]
        if cursor is not None:
            answer = await south.get(own_request(operation, full_south).path, after=cursor)
            assert answer.status_code == 400, (str(own), answer.text)
            attempts += 1
    assert attempts >= 8


async def test_the_towns_own_client_can_do_everything(
    app: FastAPI, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings
) -> None:
    """The district's own client can execute every command that the tests send as another district's client."""
    district = await fill_district(await found_town("north", engine, worker_engine, settings))
    north = caller(app, district.town)
    commands = [one for one in operations(app) if not one.reads and one.name not in OPEN]
    for operation in sorted(commands, key=command_turn):
        request = own_request(operation, district)
        answer = await north.ask(operation.method, request.path, **request.body)
        assert answer.status_code in (200, 201, 202, 204), (str(request), answer.text)
        if operation.name in BULK:
            assert answer.json()["results"][0]["outcome"] != "refused", answer.text


@pytest.mark.parametrize("text", ["a Canary01 b", "stu_01k", "x"])
def test_a_planted_byte_is_found(text: str) -> None:
    """The search for leaks finds a value of the other district in an answer, except a value that the request sent."""
    leaked = leaks(text, "", "Canary01", {"01k": None})
    assert leaked == {"a Canary01 b": ["Canary01"], "stu_01k": ["01k"], "x": []}[text]
    assert leaks(text, "Canary01 01k", "Canary01", {"01k": None}) == []


async def _as_south(app: FastAPI, south: FullDistrict, request: Request) -> httpx.Response:
    call = request.operation.method, request.path
    return await caller(app, south.town).ask(*call, params=request.params, **request.body)


def _nothing_is_norths(request: Request, answer: httpx.Response, canary: str, spelt: dict[str, UUID]) -> None:
    sent = f"{request.path} {request.params} {request.json}"
    shown = f"{answer.text} {dict(answer.headers)}"
    assert leaks(shown, sent, canary, spelt) == [], str(request)
    assert answer.status_code < 500, (str(request), answer.text)


def _is_refused(request: Request, answer: httpx.Response) -> None:
    if request.in_path:
        assert answer.status_code == 404, (str(request), answer.text)
    elif request.named and request.json is not None and request.operation.name in BULK:
        assert answer.json()["results"][0]["outcome"] == "refused", (str(request), answer.text)
    elif request.named and request.json is not None:
        assert answer.status_code == 422, (str(request), answer.text)
    elif answer.status_code == 200 and request.named in ("support", "family_name"):
        assert answer.json()["items"] == [], str(request)
