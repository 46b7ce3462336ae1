"""Tests requests during database faults: one retry, then 409 or 503, the same over both APIs.

PostgreSQL itself causes the faults: a trigger raises them, or a session is ended while it waits.
"""

import asyncio
import os
import signal

import asyncpg
import pytest
from fastapi import FastAPI

from app.core import ids, timeouts
from app.main import build
from app.rest.door import Services
from tests.faces.faulty import FACES, code_of, concerns_of, failing, list_concerns, raise_concern, succeeded
from tests.faces.rest_town import caller, plain
from tests.faces.sockets import connected, listening
from tests.town import Town

BEGUN_AGAIN = {
    "40001": "failed serialization",
    "40P01": "deadlock",
    "57P01": "ended by an administrator",
    "08006": "cut",
}
REFUSED = {
    "40001": (409, "conflict.concurrent"),
    "40P01": (409, "conflict.concurrent"),
    "23505": (409, "conflict.concurrent"),
    "57P01": (503, "database.unavailable"),
    "08006": (503, "database.unavailable"),
    "53300": (503, "database.unavailable"),
    "57P03": (503, "database.unavailable"),
    "53100": (503, "database.unavailable"),
    "53400": (503, "database.unavailable"),
    "58030": (503, "database.unavailable"),
    "25006": (503, "database.unavailable"),
    "55P03": (503, "database.busy"),
    "57014": (503, "database.slow"),
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("sqlstate", BEGUN_AGAIN)
async def test_a_fault_that_passes_is_not_the_callers(app: FastAPI, north: Town, face: str, sqlstate: str) -> None:
    """A temporary database fault is not shown to the caller: the whole unit of work is repeated and takes effect once.

    Earlier, each of these faults was answered with 500 or 409.
    """
    async with failing(north, sqlstate, times=1):
        answer = await raise_concern(app, north, face)
    assert succeeded(answer), answer.text
    assert await concerns_of(north) == ["Quiet."]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("sqlstate", REFUSED)
async def test_a_fault_that_stays_is_told_alike(app: FastAPI, north: Town, face: str, sqlstate: str) -> None:
    """A lasting fault gives the same status, code and Retry-After in both APIs. The answer contains no stored value."""
    if (sqlstate, face) == ("23505", "graphql"):
        pytest.skip("a unique violation within a mutation is a problem of its field")
    status, code = REFUSED[sqlstate]
    async with failing(north, sqlstate, times=2):
        answer = await raise_concern(app, north, face)
    assert (answer.status_code, code_of(answer)) == (status, code), answer.text
    assert ("retry-after" in answer.headers) is (status == 503)
    assert north.canary not in answer.text
    assert await concerns_of(north) == []


@pytest.mark.parametrize("sqlstate", ["55P03", "57014", "53300"])
async def test_whoever_has_waited_is_not_made_to_wait_again(app: FastAPI, north: Town, sqlstate: str) -> None:
    """If a lock, a time limit or too many connections stop a command, it fails with 503 and is not repeated.

    The client has waited already, and a second attempt would double the wait.
    """
    async with failing(north, sqlstate, times=1):
        assert (await raise_concern(app, north, "rest")).status_code == 503


async def test_another_fault_is_ours_and_runs_once(app: FastAPI, north: Town) -> None:
    """A database fault that is not temporary gives 500, and the request is not repeated."""
    async with failing(north, "22012", times=1):
        answer = await raise_concern(app, north, "rest")
    assert (answer.status_code, code_of(answer)) == (500, "internal")
    assert await concerns_of(north) == []


@pytest.mark.parametrize("face", FACES)
async def test_a_session_that_is_ended_while_it_waits_begins_again(app: FastAPI, north: Town, face: str) -> None:
    """If the server ends the session of a request in the middle, the request is carried out once, on another
    session.
    """
    holder = await asyncpg.connect(north.settings.url_of("worker"))
    api = await asyncpg.connect(north.settings.url_of("api"))
    try:
        async with holder.transaction():
            await hold_counter(holder, north)
            request = asyncio.create_task(raise_concern(app, north, face))
            pid = await waiting_for(api, await holder.fetchval("SELECT pg_backend_pid()"))
            assert await api.fetchval("SELECT pg_terminate_backend($1)", pid)
        answer = await request
    finally:
        await holder.close()
        await api.close()
    assert succeeded(answer), answer.text
    assert await concerns_of(north) == ["Quiet."]


@pytest.mark.parametrize("face", FACES)
async def test_a_read_is_begun_again_on_another_connection(app: FastAPI, north: Town, face: str) -> None:
    """If the server ends the pool's idle connections, reads are repeated and succeed."""
    api = await asyncpg.connect(north.settings.url_of("api"), server_settings={"application_name": "tests ender"})
    try:
        assert (await list_concerns(app, north, face)).status_code == 200
        ended = await api.fetch(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'aimline api'"""
        )
        assert ended
        assert (await list_concerns(app, north, face)).status_code == 200
    finally:
        await api.close()


@pytest.mark.skipif(bool(os.environ.get("AIMLINE_DATABASE_URL")), reason="The server is on another machine.")
@pytest.mark.parametrize("face", FACES)
async def test_a_session_that_hangs_is_given_up(north: Town, face: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the server no longer answers in a session, the request begins again on another one, and has one effect.

    Before, the request waited for as long as the server was frozen.
    """
    monkeypatch.setattr(timeouts, "ANSWER_MARGIN", 0)
    app = build(north.settings.model_copy(update={"statement_timeout": 2}))
    services: Services = app.state.services
    assert (await list_concerns(app, north, face)).status_code == 200
    async with services.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        pid = driver.get_server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(60):
            answer = await raise_concern(app, north, face)
    finally:
        os.kill(pid, signal.SIGCONT)
        await services.engine.dispose()
    assert succeeded(answer), answer.text
    assert await concerns_of(north) == ["Quiet."]


async def test_a_database_that_is_away_is_no_fault_of_ours(north: Town) -> None:
    """If the database cannot be reached, reads, writes and the token endpoint answer 503 with Retry-After.

    The token endpoint answers in OAuth's form.
    """
    nowhere = "postgresql://api@127.0.0.1:1/nothing"
    app = build(north.settings.model_copy(update={"api_database_url": nowhere}))
    form = {"grant_type": "client_credentials", "client_id": f"cli_{'0' * 26}", "client_secret": "s"}
    async with plain(app) as client:
        token = await client.post("/oauth/token", data=form)
        ready = await client.get("/health/ready")
    assert (token.status_code, token.json()["error"]) == (503, "temporarily_unavailable")
    assert ready.status_code == 503
    answers = [await ask(app, north, face) for ask in (list_concerns, raise_concern) for face in FACES]
    for answer in answers:
        assert (answer.status_code, code_of(answer)) == (503, "database.unavailable")
    assert {answer.headers["retry-after"] for answer in (token, *answers)} == {"2"}


async def test_a_subscription_waits_for_a_database_that_is_away(north: Town) -> None:
    """If the database cannot be reached, a subscription for a person gets 503 with Retry-After, and a WebSocket is
    closed with the code that asks its client to try again later.

    Before, they got 500 and 1011, and the log had faults of our own.
    """
    nowhere = "postgresql://api@127.0.0.1:1/nothing"
    app = build(north.settings.model_copy(update={"api_database_url": nowhere}))
    person = ids.format_id("person", north.staff["administrator"])
    client = caller(app, north, act_for=person)
    body = {"query": "subscription { events { cursor } }"}
    answer = await client.ask("POST", "/graphql", json=body, headers={"Accept": "text/event-stream"})
    assert (answer.status_code, code_of(answer)) == (503, "database.unavailable"), answer.text
    assert answer.headers["retry-after"] == "2"
    async with listening(app) as address, connected(address, None) as socket:
        payload = {"Authorization": f"Bearer {client.token}", "Aimline-Act-For": person}
        await socket.send(type="connection_init", payload=payload)
        assert await socket.closed() == 1013


async def hold_counter(connection: asyncpg.Connection, town: Town) -> None:
    """Locks the row of the district's event counter, as a transaction does before its commit."""
    await connection.execute(f"SELECT app.enter('{town.district_id}', 'district', '{{}}', '{{}}', '{{*}}')")
    await connection.execute("SELECT last FROM event_counter WHERE district_id = $1 FOR UPDATE", town.district_id)


async def waiting_for(connection: asyncpg.Connection, holder: int) -> int:
    """Waits until a session waits for a lock that the session `holder` has; returns the waiting session's `pid`."""
    query = "SELECT pid FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)) LIMIT 1"
    async with asyncio.timeout(60):
        while (pid := await connection.fetchval(query, holder)) is None:
            await connection.execute("SELECT pg_sleep(0.02)")
    return int(pid)
