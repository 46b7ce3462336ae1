"""Tests that a command sent twice with the same idempotency key has one effect and one response."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from app.main import build
from tests.faces.cutting_proxy import CuttingProxy, cutting_proxy
from tests.faces.faulty import code_of, concerns_of, failing
from tests.faces.rest_town import Caller, caller
from tests.town import Town, maintain

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
REPLAYED = "Idempotency-Replayed"


def concern(town: Town, student: str = "amy", **more: Any) -> dict[str, Any]:
    """Returns the input for a concern about a student."""
    area = ids.format_id("area", next(iter(town.areas.values())))
    return {"student": ids.format_id("student", town.students[student]), "area": area, "description": "Quiet.", **more}


async def send(client: Caller, key: str | None, body: Any, path: str = "/v1/concerns") -> httpx.Response:
    """Sends a command with an idempotency key, or without one if `key` is None."""
    return await client.ask("POST", path, json=body, headers={} if key is None else {"Idempotency-Key": key})


async def until_true(connection: asyncpg.Connection, query: str) -> None:
    """Waits until a query returns a value that is true."""
    async with asyncio.timeout(60):
        for pause in itertools.repeat(0.01):
            if await connection.fetchval(query):
                return
            await asyncio.sleep(pause)


@pytest.fixture
async def owner(north: Town) -> AsyncIterator[asyncpg.Connection]:
    """Yields the owner's connection, which sees every row."""
    connection = await asyncpg.connect(north.settings.url_of("owner"))
    yield connection
    await connection.close()


async def test_the_second_request_is_answered_as_the_first(app: FastAPI, north: Town) -> None:
    """A repeated request gets the first status, body and headers, marked as a replay, and raises no second concern.

    The key may be in quotes.
    """
    client = caller(app, north)
    first = await send(client, KEY, concern(north))
    repeated = await send(client, f'"{KEY}"', concern(north))
    assert (first.status_code, repeated.status_code) == (201, 201)
    assert first.content == repeated.content
    assert REPLAYED not in first.headers
    assert repeated.headers[REPLAYED] == "true"
    assert repeated.headers["content-type"] == first.headers["content-type"]
    assert await concerns_of(north) == ["Quiet."]


async def test_the_order_of_members_makes_no_other_payload(app: FastAPI, north: Town) -> None:
    """With an idempotency key, the same JSON with its members in another order counts as the same request."""
    client, body = caller(app, north), concern(north)
    first = await send(client, KEY, body)
    repeated = await send(client, KEY, dict(reversed(body.items())))
    assert repeated.json() == first.json()
    assert repeated.headers[REPLAYED] == "true"


async def test_another_payload_is_refused(app: FastAPI, north: Town) -> None:
    """Another body or path with the same key is refused with 422."""
    client = caller(app, north)
    first, second = [(await send(client, None, concern(north))).json()["id"] for _ in range(2)]
    assert (await send(client, KEY, concern(north))).status_code == 201
    other = await send(client, KEY, concern(north, description="Loud."))
    assert (other.status_code, code_of(other)) == (422, "idempotency.mismatch")
    assert (await send(client, KEY, {}, f"/v1/concerns/{first}/accept")).status_code == 200
    other = await send(client, KEY, {}, f"/v1/concerns/{second}/accept")
    assert (other.status_code, code_of(other)) == (422, "idempotency.mismatch")
    assert (await client.get(f"/v1/concerns/{second}")).json()["state"] == "raised"


async def test_a_key_is_of_one_client_one_operation_and_one_person(app: FastAPI, north: Town, south: Town) -> None:
    """An idempotency key belongs to one client of one district; the same key with another acting person is refused."""
    assert (await send(caller(app, north), KEY, concern(north))).status_code == 201
    assert REPLAYED not in (await send(caller(app, south), KEY, concern(south))).headers
    for_person = Caller(app, caller(app, north).token, ids.format_id("person", north.staff["teacher"]))
    other = await send(for_person, KEY, concern(north))
    assert (other.status_code, code_of(other)) == (422, "idempotency.mismatch")
    north.client_id = ids.new_id()
    assert REPLAYED not in (await send(caller(app, north), KEY, concern(north))).headers


@pytest.mark.parametrize("key", ["", '""', "x" * 256, '"open', '"a"b', "a\tb", "caf\xe9", '"\\n"', '"x";p=1'])
async def test_a_bad_key_is_refused(app: FastAPI, north: Town, key: str) -> None:
    """An invalid key is refused with 400 and not ignored."""
    client = caller(app, north)
    headers = [("Idempotency-Key", key.encode("latin-1"))]
    answer = await client.ask("POST", "/v1/concerns", json=concern(north), headers=dict(headers))
    assert answer.status_code == 400, answer.text
    assert answer.json()["violations"][0]["code"] == "idempotency.key_malformed"
    assert await concerns_of(north) == []


@pytest.mark.parametrize("key", ["x", "x" * 255, "a b!~", '"a\\"b"'])
async def test_every_printable_key_is_taken(app: FastAPI, north: Town, key: str) -> None:
    """Any key of 1 to 255 printable ASCII characters is accepted."""
    client = caller(app, north)
    assert (await send(client, key, concern(north))).status_code == 201
    assert (await send(client, key, concern(north))).headers[REPLAYED] == "true"


async def test_a_refused_request_uses_no_key_up(app: FastAPI, north: Town) -> None:
    """A refused request does not use up its idempotency key: a valid request with the same key is executed."""
    client = caller(app, north)
    refused = await send(client, KEY, concern(north, area="no-such-area"))
    assert refused.status_code == 422
    accepted = await send(client, KEY, concern(north))
    assert accepted.status_code == 201
    assert REPLAYED not in accepted.headers


async def test_of_sixteen_at_once_one_has_an_effect(app: FastAPI, north: Town) -> None:
    """Of sixteen equal requests at the same time, one has an effect.

    Each other request gets the same answer or, if the first request still runs, 409 with Retry-After.
    """
    client = caller(app, north)
    answers = await asyncio.gather(*(send(client, KEY, concern(north)) for _ in range(16)))
    assert await concerns_of(north) == ["Quiet."]
    done = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in done}) == 1
    assert sum(REPLAYED not in answer.headers for answer in done) == 1
    for answer in answers:
        if answer.status_code != 201:
            assert (answer.status_code, code_of(answer)) == (409, "idempotency.in_flight")
            assert answer.headers["retry-after"] == "1"


async def test_a_request_in_flight_is_not_waited_for(app: FastAPI, north: Town) -> None:
    """While a request runs, a second request with the same idempotency key gets 409 at once."""
    client = caller(app, north)
    connection = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE concern IN EXCLUSIVE MODE")
            first = asyncio.create_task(send(client, KEY, concern(north)))
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'concern'::regclass"
            await until_true(connection, waits)
            second = await send(client, KEY, concern(north))
            assert (second.status_code, code_of(second)) == (409, "idempotency.in_flight")
            assert not first.done()
    finally:
        await connection.close()
    assert (await first).status_code == 201


async def test_a_passing_fault_is_tried_again_under_the_key(app: FastAPI, north: Town) -> None:
    """After a deadlock the request is repeated with its key and executed once."""
    client = caller(app, north)
    async with failing(north, "40P01", 1):
        first = await send(client, KEY, concern(north))
    assert first.status_code == 201, first.text
    assert (await send(client, KEY, concern(north))).headers[REPLAYED] == "true"
    assert await concerns_of(north) == ["Quiet."]


async def test_a_commit_whose_answer_is_lost_is_asked_for_again(north: Town, tmp_path: Path) -> None:
    """If the database connection breaks at COMMIT, the app repeats a request that has an idempotency key.

    The caller gets the response of the first attempt, and the concern is recorded once.
    """
    proxy: CuttingProxy
    async with cutting_proxy(north.settings.url_of("api"), tmp_path) as proxy:
        app = build(north.settings.model_copy(update={"api_database_url": proxy.url}))
        proxy.cut_after = b"COMMIT"
        answer = await send(caller(app, north), KEY, concern(north))
        assert proxy.cuts == 1
        await app.state.services.engine.dispose()
    assert answer.status_code == 201, answer.text
    assert answer.headers[REPLAYED] == "true"
    assert await concerns_of(north) == ["Quiet."]


async def test_a_kept_answer_is_as_secret_as_its_rows(app: FastAPI, north: Town, owner: asyncpg.Connection) -> None:
    """The stored answer and key are encrypted, and other districts see no row."""
    first = await send(caller(app, north), KEY, concern(north, description=f"About {north.canary}."))
    rows = await owner.fetch("SELECT * FROM idempotent_request WHERE district_id = $1", north.district_id)
    assert len(rows) == 1
    text = str(dict(rows[0]))
    assert north.canary not in text
    assert KEY not in text
    assert first.json()["id"] not in text


async def test_a_kept_answer_is_not_shown_beyond_the_caseload(app: FastAPI, north: Town) -> None:
    """A stored answer is refused with 410 to a teacher whose student has left the caseload."""
    client = Caller(app, caller(app, north).token, ids.format_id("person", north.staff["teacher"]))
    assert (await send(client, KEY, concern(north))).status_code == 201
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        await owner.execute("UPDATE enrollment SET removed_at = now() WHERE district_id = $1", north.district_id)
    finally:
        await owner.close()
    answer = await send(client, KEY, concern(north))
    assert (answer.status_code, code_of(answer)) == (410, "idempotency.out_of_reach")
    assert await concerns_of(north) == ["Quiet."]


async def test_a_replay_is_logged_as_a_disclosure(app: FastAPI, north: Town, owner: asyncpg.Connection) -> None:
    """If a request is repeated and the stored answer is returned, this is written to the disclosure log too."""
    client = caller(app, north)
    await send(client, KEY, concern(north))
    since = ids.new_id()
    await send(client, KEY, concern(north))
    query = "SELECT student_ids FROM disclosure WHERE district_id = $1 AND id > $2"
    rows = await owner.fetch(query, north.district_id, since)
    assert [row["student_ids"] for row in rows] == [[north.students["amy"]]]


async def test_a_key_is_kept_for_a_day(app: FastAPI, north: Town, owner: asyncpg.Connection) -> None:
    """A key is stored for a day. Then it can be used again, even if the worker has not deleted its row yet."""
    client, age = caller(app, north), "UPDATE idempotent_request SET at = at - $2::interval WHERE district_id = $1"
    await send(client, KEY, concern(north))
    await owner.execute(age, north.district_id, timedelta(hours=25))
    assert REPLAYED not in (await send(client, KEY, concern(north))).headers
    assert (await send(client, KEY, concern(north))).headers[REPLAYED] == "true"
    await owner.execute(age, north.district_id, timedelta(hours=25))
    await maintain(north)
    query = "SELECT count(*) FROM idempotent_request WHERE district_id = $1"
    assert await owner.fetchval(query, north.district_id) == 0
