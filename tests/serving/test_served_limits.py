"""Tests that `aimline serve` applies the limits that other tests try on their own small servers.

A limit that holds in the class protects nobody if the command does not pass the class, or the setting, to the server.
"""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from app.graphql.limits import Limits
from app.settings import Settings
from tests.faces.graphql_face import MODERN, token
from tests.faces.served_api import client, served_api
from tests.serving.small_server import Connection
from tests.town import Town

HALF_SENT: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "half a head": (b"GET /health/live HTTP/1.1\r\nHost: x\r\n", 408),
    "half a body": (b"POST /v1/supports HTTP/1.1\r\nHost: x\r\n%b\r\nContent-Length: 1000\r\n\r\n{", 408),
    "half a body without a token": (b"POST /v1/supports HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", 401),
}
"""What a caller sends before it falls silent, and the status of the response; 0 means no response.

`%b` is replaced by the header with a valid token.
"""
LONGEST = 15
"""The seconds within which a half-sent request must be closed."""
SLACK = 15
"""The seconds by which a busy machine may be late. A server without our limit waits for ever, or for 75 s."""
MOST = 10
"""The smallest number of connections to which a process can be limited."""
DEFAULT_SECONDS = 10


def port_of(address: str) -> int:
    """Returns the port of an address."""
    return urlsplit(address).port or 0


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_served_process_limits_heads_and_closes_half_sent_requests(
    settings: Settings, north: Town, tmp_path: Path, workers: str
) -> None:
    """`aimline serve` answers 431 to 65 kB of headers, and closes a half-sent request within 15 s."""
    authorization = f"Authorization: Bearer {token(north)}".encode()

    def closed_after(port: int, data: bytes) -> tuple[int, float]:
        with Connection(port) as connection:
            began = time.monotonic()
            connection.send(data.replace(b"%b", authorization))
            status, _ = connection.answer()
            assert connection.is_closed()
            return status, time.monotonic() - began

    with served_api(settings, tmp_path / "log", ("--workers", workers)) as (_, address):
        port = port_of(address)
        answer = b""
        for size, expected in ((60_000, 200), (65 * 1024, 431)):
            with Connection(port) as connection:
                connection.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\nA: " + b"x" * size + b"\r\n\r\n")
                status, answer = connection.answer()
                assert status == expected
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "headers.too_large"
        with ThreadPoolExecutor(len(HALF_SENT)) as callers:
            waiting = {name: callers.submit(closed_after, port, data) for name, (data, _) in HALF_SENT.items()}
        for name, (_, expected) in HALF_SENT.items():
            status, seconds = waiting[name].result()
            assert status == expected, name
            assert seconds < LONGEST + SLACK, name


@pytest.mark.long
def test_a_served_process_limits_its_connections(settings: Settings) -> None:
    """`AIMLINE_CONNECTIONS` limits the connections of a process. The next one gets 503 while all of them are busy."""
    with served_api(settings, AIMLINE_CONNECTIONS=str(MOST)) as (_, address):
        busy = [Connection(port_of(address)) for _ in range(MOST)]
        for one in busy:
            one.send(b"POST /v1/supports HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        time.sleep(0.5)
        with Connection(port_of(address)) as late:
            late.send(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            status, answer = late.answer()
        for one in busy:
            one.socket.close()
    assert (status, b"connections.exhausted" in answer) == (503, True)


def test_an_operation_may_run_for_ten_seconds_by_default() -> None:
    """Without a setting, a GraphQL operation may run for 10 s and return 10,000 rows."""
    default = Settings.model_fields
    assert default["graphql_seconds"].default == Limits().seconds == DEFAULT_SECONDS
    assert default["graphql_cost"].default == Limits().cost == 10_000


@pytest.mark.long
@pytest.mark.parametrize("setting", ["1.5", None])
async def test_a_served_operation_is_stopped_with_its_statement(
    settings: Settings, north: Town, setting: str | None
) -> None:
    """A served process stops an operation after `AIMLINE_GRAPHQL_SECONDS`, or 10 s, and PostgreSQL ends its statement.

    The test locks the table that the operation reads, so the operation waits until it is stopped.
    """
    more = {} if setting is None else {"AIMLINE_GRAPHQL_SECONDS": setting}
    limit = float(setting or DEFAULT_SECONDS)
    # The time limits of the database are longer, so that only the limit of the operation can stop it.
    more |= {"AIMLINE_LOCK_TIMEOUT": "120", "AIMLINE_STATEMENT_TIMEOUT": "120"}
    with served_api(settings, **more) as (_, address):
        connection = await asyncpg.connect(settings.url_of("owner"))
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE decision IN ACCESS EXCLUSIVE MODE")
                began = time.monotonic()
                sending = asyncio.create_task(asyncio.to_thread(_ask, address, token(north)))
                assert await _waiting_is(connection, 1, limit + 60), "the operation never waited for the lock"
                answer = await sending
                seconds = time.monotonic() - began
                assert await _waiting_is(connection, 0, 10), "the statement still waits"
        finally:
            await connection.close()
    assert answer.status_code == 503, answer.text
    error = answer.json()["errors"][0]
    assert error["extensions"]["code"] == "operation.timeout"
    assert f"ran for {limit:g} s" in error["message"]
    assert seconds >= limit


def _ask(address: str, bearer: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer}", "Accept": MODERN}
    with client(address) as caller:
        return caller.post("/graphql", json={"query": "{ decisions { edges { node { id } } } }"}, headers=headers)


async def _waiting_is(connection: asyncpg.Connection, number: int, seconds: float) -> bool:
    """Returns whether, within some seconds, this number of statements waits for a lock of the table `decision`."""
    query = "SELECT count(*) FROM pg_locks WHERE relation = 'decision'::regclass AND NOT granted"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if await connection.fetchval(query) == number:
            return True
        await asyncio.sleep(0.02)
    return False
