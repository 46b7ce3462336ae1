"""Tests the limits on callers of WebSockets: what they send, how often, and how many of them there are."""

import asyncio
import re
from collections.abc import Hashable
from typing import Any

import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.typing import Origin

from app.core.fairness.gate import Turn
from app.core.ids import new_id
from app.graphql import open_sockets, socket, text_socket
from app.requests import origins
from app.rest.door import Services
from tests.faces.admission_app import Built
from tests.faces.rest_town import Caller, caller
from tests.faces.sockets import PROTOCOL, Client, connected, listening
from tests.town import Town


async def remaining(client: Caller) -> int:
    """Returns the number of requests that the client has left."""
    standing = (await client.get("/v1/me")).headers["RateLimit"]
    match = re.search(r'"client";r=(\d+)', standing)
    assert match is not None, standing
    return int(match[1])


@pytest.mark.parametrize("type_", ["x" * 10_000, "é" * 100, "\N{SPEECH BALLOON}" * 60])
async def test_a_long_reason_is_cut(app: FastAPI, north: Town, type_: str) -> None:
    """The reason in a close frame is cut to 123 bytes. A longer one once caused an internal error."""
    async with listening(app) as address, connected(address, caller(app, north).token) as one:
        await one.send(type=type_)
        assert await one.closed() == 4400
        assert 0 < len((one.connection.close_reason or "").encode()) <= text_socket.MAX_REASON


async def test_pings_do_not_keep_an_idle_connection(app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a subscription is ended after a while, even if its caller sends pings."""
    monkeypatch.setattr(socket, "IDLE_SECONDS", 0.5)
    async with listening(app) as address, connected(address, caller(app, north).token) as one:

        async def ping() -> None:
            while True:
                await one.send(type="ping")
                await asyncio.sleep(0.15)

        pinging = asyncio.create_task(ping())
        try:
            assert await one.closed() == socket.IDLE
        finally:
            pinging.cancel()


async def test_the_connections_of_a_client_are_bounded(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection above a client's limit is closed with the code `TOO_MANY`, and other clients can connect."""
    monkeypatch.setattr(open_sockets, "MAX_CLIENT_STREAMS", 1)
    client = caller(app, north)
    async with listening(app) as address:
        async with connected(address, client.token):
            async with connected(address, None) as second:
                await second.send(type="connection_init", payload={"Authorization": f"Bearer {client.token}"})
                assert await second.closed() == socket.TOO_MANY
            north.client_id = new_id()
            async with connected(address, caller(app, north).token):
                pass
        async with asyncio.timeout(120):
            while True:
                async with connected(address, None) as later:
                    await later.send(type="connection_init", payload={"Authorization": f"Bearer {client.token}"})
                    try:
                        assert (await later.receive())["type"] == "connection_ack"
                        return
                    except Exception:
                        await asyncio.sleep(0.05)


async def test_a_refused_subscription_counts(app: FastAPI, north: Town) -> None:
    """Each subscription counts as a request, even one whose document is refused before anything runs."""
    client = caller(app, north)
    async with listening(app) as address, connected(address, client.token) as one:
        before = await remaining(client)
        for number in range(5):
            await one.subscribe("subscription { nothing }", f"s{number}")
            assert (await one.receive())["type"] == "error"
        assert before - await remaining(client) == 6


async def test_who_is_not_known_may_send_little(app: FastAPI, north: Town) -> None:
    """Before `connection_init`, a WebSocket client may send only few and short messages.

    Parsing messages takes processor time, and no quota applies to a client that is not known yet.
    """
    async with listening(app) as address:
        async with connected(address, None) as one:
            await one.send(type="pong", payload=[1] * text_socket.MAX_EARLY_MESSAGE)
            assert await one.closed() == text_socket.TOO_BIG
        async with connected(address, None) as one:
            for _ in range(text_socket.MAX_EARLY_MESSAGES + 1):
                await one.send(type="ping")
            assert await one.closed() == text_socket.UNKNOWN


async def test_a_long_message_waits_for_its_turn(app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long message waits for its turn like a request, and its cost counts for the client's own district."""
    services: Services = app.state.services
    turns: list[tuple[Hashable, ...]] = []
    enqueue = services.admission.gate.enqueue

    def watch(*key: Hashable) -> Turn:
        turns.append(key)
        return enqueue(*key)

    monkeypatch.setattr(services.admission.gate, "enqueue", watch)
    async with listening(app) as address, connected(address, caller(app, north).token) as one:
        before = len(turns)
        await one.send(type="pong", payload=[1] * 4_000)
        await one.send(type="ping")
        assert (await one.receive())["type"] == "pong"
        assert len(turns) == before + 1


async def test_a_socket_over_a_quota_names_it(built: Built, north: Town) -> None:
    """A WebSocket over a quota is opened and closed with a code, the quota and the seconds to wait.

    It was once refused as "Forbidden", which a client does not try again. On an open connection, a subscription over
    the quota gets an error with the same code as a request.
    """
    async with built(client_requests=3) as app, listening(app) as address:
        client = caller(app, north)
        header = {"Authorization": f"Bearer {client.token}"}
        given: dict[str, Any] = {"subprotocols": [PROTOCOL], "proxy": None, "additional_headers": header}
        async with connected(address, None) as one:
            await one.send(type="connection_init", payload=header)
            assert (await one.receive())["type"] == "connection_ack"
            for _ in range(3):
                assert (await client.get("/v1/schools")).status_code == 200
            await one.subscribe("subscription { events { cursor } }")
            refused = await one.receive()
            assert refused["type"] == "error"
            assert refused["payload"][0]["extensions"]["code"] == "rate.limited"
            assert 0 < refused["payload"][0]["extensions"]["retryAfter"] <= 60
        async with connect(f"ws://{address}/graphql", **given) as connection:
            late = Client(connection)
            assert await late.closed() == socket.TOO_MANY
            reason = connection.close_reason or ""
        assert re.fullmatch(r"Too many requests\. Used up: client \(3 in 60 s\)\. Connect again in \d+ s\.", reason), (
            reason
        )


async def test_a_socket_from_a_page_waits_for_the_database(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the registered origins cannot be read, a page's WebSocket is closed with 1013, after which its client
    connects again. It was once refused as "Forbidden".
    """
    monkeypatch.setattr(origins, "MAX_AGE", -1.0)
    page = Origin("https://app.example.org")
    async with (
        listening(app) as address,
        connect(f"ws://{address}/graphql", subprotocols=[PROTOCOL], proxy=None, origin=page) as connection,
    ):
        assert await Client(connection).closed() == text_socket.TRY_LATER
