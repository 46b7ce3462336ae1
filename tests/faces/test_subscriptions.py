"""Tests subscriptions: a client gets only events that it may see, and a subscription ends when its token expires.

The clients use real sockets: a WebSocket, and server-sent events over HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from fastapi import FastAPI
from websockets.exceptions import InvalidStatus

from app.access.service import NewClient, register_client, revoke_tokens
from app.core import clock, ids
from app.core.ids import new_id
from app.events import hub as hubs
from app.events.catalogue import CATALOGUE, SYNC_HELD, NewEvent
from app.events.outbox import record
from app.graphql import socket, subscriber, text_socket
from app.requests.origins import set_origins
from app.rest.door import Services
from app.sis.models import SisRun
from tests.faces.rest_town import caller
from tests.faces.sockets import connected, listening
from tests.faces.test_stream import raise_concern
from tests.rooms.test_loop import BEGINS, RISES, STALLS, served
from tests.town import Town, lay

EVENTS = "subscription ($after: String) { events(after: $after) { cursor node { type subject } } }"
CONCERNS = 'subscription { events(type: ["concern.raised"]) { node { subject } } }'


@pytest.fixture
async def hub(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[hubs.FeedHub]:
    """Yields the app's hub of feeds, which polls more often than in production."""
    services: Services = app.state.services
    monkeypatch.setattr(services.hub, "_every", 0.05)
    yield services.hub
    await until(lambda: len(services.hub) == 0)


@pytest.fixture
async def address(app: FastAPI, hub: hubs.FeedHub) -> AsyncIterator[str]:
    """Yields the address of the app."""
    async with listening(app) as place:
        yield place


async def until(holds: Callable[[], bool]) -> None:
    """Waits until `holds()` returns true. Another task must cause this within 60 seconds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # what is awaited has no event
            await asyncio.sleep(0.01)


async def test_an_event_arrives_and_none_is_missed(app: FastAPI, north: Town, address: str, hub: hubs.FeedHub) -> None:
    """A subscription returns the feed's events in order. After a new connection, it continues from a cursor, and no
    event is missing. A cursor of REST works too.
    """
    client = caller(app, north)
    async with connected(address, client.token) as one:
        await one.subscribe(EVENTS)
        await until(lambda: hub.waiting == 1)
        concern = await raise_concern(client, north)
        event = (await one.next())["events"]
        assert event["node"] == {"type": "concern.raised", "subject": concern}
        await one.send(type="complete", id="one")
        await until(lambda: len(hub) == 0)
    missed = [await raise_concern(client, north) for _ in range(2)]
    async with connected(address, client.token) as one:
        await one.subscribe(EVENTS, after=event["cursor"])
        seen = [(await one.next())["events"]["node"]["subject"] for _ in missed]
    assert seen == missed
    page = (await client.get("/v1/events", after=event["cursor"])).json()
    assert [item["data"]["subject"] for item in page["items"]] == missed


async def test_only_what_the_caller_reaches_arrives(app: FastAPI, north: Town, south: Town, address: str) -> None:
    """A client of one school gets only the events of this school.

    A client of another district gets only the events of its own district.
    """
    client, of_school = caller(app, north), caller(app, north, schools=(north.schools[0],))
    async with connected(address, of_school.token) as theirs, connected(address, caller(app, south).token) as foreign:
        await theirs.subscribe(CONCERNS)
        await foreign.subscribe(CONCERNS)
        services: Services = app.state.services
        await until(lambda: services.hub.waiting == 2)
        await raise_concern(client, north, "cy")
        seen = await raise_concern(client, north, "amy")
        own = await raise_concern(caller(app, south), south)
        assert (await theirs.next())["events"]["node"]["subject"] == seen
        assert (await foreign.next())["events"]["node"]["subject"] == own


async def test_a_sync_arrives_with_its_run(app: FastAPI, north: Town, address: str, hub: hubs.FeedHub) -> None:
    """A subscription to syncs returns each event with its run, in the selected fields."""
    client = caller(app, north)
    document = "subscription { syncChanged { event { type } syncRun { id state sentence } } }"
    async with connected(address, client.token) as one:
        await one.subscribe(document)
        await until(lambda: hub.waiting == 1)
        run_id = await held_run(north)
        event = (await one.next())["syncChanged"]
    shown = ids.format_id("run", run_id)
    assert event == {
        "event": {"type": "sync.held"},
        "syncRun": {"id": shown, "state": "HELD", "sentence": "Held."},
    }


async def held_run(town: Town) -> UUID:
    """Creates a sync run that waits for approval (held), with its event; returns the run's id."""
    began_at, run_id = clock.now(), new_id()
    values = {"state": "held", "sentence": "Held.", "dry": False, "counts": {}, "warnings": [], "attempts": 0}
    key = {"district_id": town.district_id, "id": run_id, "source_id": town.source_id}
    async with town.house() as work:
        await lay(work, SisRun(**key, **values, began_at=began_at, claim_number=0))
        record(work, NewEvent(SYNC_HELD, run_id, 1, {"run": run_id}))
    return run_id


async def test_a_verdict_arrives_with_its_support(app: FastAPI, north: Town, address: str, hub: hubs.FeedHub) -> None:
    """A subscription returns the support and the verdict of an alert, with the selected links."""
    await served(north, "amy")
    client = caller(app, north)
    scores = [
        {"student": "sis:sis:amy-1", "measure": "orf", "takenOn": str(BEGINS + timedelta(weeks=week)), "value": value}
        for week, value in enumerate(RISES + STALLS, start=1)
    ]
    document = """subscription { verdictChanged {
        event { type } verdict { state } support { student { givenName } verdict { state } } } }"""
    async with connected(address, client.token) as one:
        await one.subscribe(document)
        await until(lambda: hub.waiting == 1)
        recorded = "mutation ($input: RecordScoresInput!) { recordScores(input: $input) { problems { code } } }"
        answer = await client.post("/graphql", {"query": recorded, "variables": {"input": {"scores": scores}}})
        assert answer.json()["data"]["recordScores"]["problems"] == []
        event = (await one.next())["verdictChanged"]
    assert event == {
        "event": {"type": "response.off_track"},
        "verdict": {"state": "OFF_TRACK"},
        "support": {"student": {"givenName": event["support"]["student"]["givenName"]}, "verdict": event["verdict"]},
    }


async def test_every_event_about_a_verdict_arrives(app: FastAPI, north: Town, address: str, hub: hubs.FeedHub) -> None:
    """`verdictChanged` delivers every type of event that reports a verdict, and no other type."""
    support = await served(north, "amy")
    types = [type_ for type_ in CATALOGUE.values() if "support" in type_.ids and "verdict" in type_.ids]
    about_verdicts = [type_.name for type_ in types if type_.name.startswith("response.")]
    async with connected(address, caller(app, north).token) as one:
        await one.subscribe("subscription { verdictChanged { event { type } support { id } } }")
        await until(lambda: hub.waiting == 1)
        async with north.house() as work:
            for type_ in types:
                named = {"support": support.id, "student": support.student_id, "verdict": new_id(), "alert": new_id()}
                about = {name: named[name] for name in type_.ids}
                record(work, NewEvent(type_, support.id, 1, about, support.student_id, tuple(support.school_ids)))
        arrived = [(await one.next())["verdictChanged"] for _ in about_verdicts]
    assert [one["event"]["type"] for one in arrived] == about_verdicts
    assert {one["support"]["id"] for one in arrived} == {ids.format_id("support", support.id)}


async def test_a_subscription_needs_the_permissions_of_its_rows(app: FastAPI, north: Town, address: str) -> None:
    """A subscription to verdicts is refused to a caller who may read events but not verdicts."""
    client = caller(app, north, frozenset({"event:read"}))
    async with connected(address, client.token) as one:
        await one.subscribe("subscription { verdictChanged { cursor } }")
        refused = await one.receive()
        assert refused["type"] == "error"
        assert refused["payload"][0]["extensions"]["code"] == "permission.missing"


async def test_a_subscription_ends_with_its_token(
    app: FastAPI, north: Town, address: str, hub: hubs.FeedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its token expires, a subscription gets an error and no further event, and the connection is closed."""
    monkeypatch.setattr(subscriber, "HEARTBEAT", 0.1)
    late = clock.now() + timedelta(hours=2)
    async with connected(address, caller(app, north).token) as one:
        await one.subscribe(EVENTS)
        await until(lambda: hub.waiting == 1)
        with monkeypatch.context() as context:
            context.setattr("app.access.authenticate.now", lambda: late)
            ended = await one.receive()
            assert (ended["type"], ended["payload"][0]["extensions"]["code"]) == ("error", "unauthenticated")
            assert await one.closed() == socket.FORBIDDEN


async def test_a_revoked_token_gets_no_event(app: FastAPI, north: Town, address: str, hub: hubs.FeedHub) -> None:
    """A subscription checks the token before each event, so that the first event after a revocation is not sent."""
    services: Services = app.state.services
    async with north.house() as work:
        north.client_id = (await register_client(work, NewClient("stream", ("event:read",)))).client_id
    async with connected(address, caller(app, north).token) as one:
        await one.subscribe(EVENTS)
        await until(lambda: hub.waiting == 1)
        async with north.house() as work:
            await revoke_tokens(work, north.client_id)
        await services.tokens.revocations.load(services.engine)
        north.client_id = new_id()
        await raise_concern(caller(app, north), north)
        assert (await one.receive())["type"] == "error"
        assert await one.closed() == socket.FORBIDDEN


async def test_a_process_that_ends_closes_the_connection_and_reports_no_fault(
    app: FastAPI, north: Town, address: str, hub: hubs.FeedHub, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    """When a process ends, it closes WebSocket connections with code 1012 and logs no error.

    Clients connect again after this code. Earlier, each open subscription was logged as an internal error.
    """
    async with connected(address, caller(app, north).token) as client:
        await client.subscribe(EVENTS)
        await client.subscribe(CONCERNS, "two")
        await until(lambda: hub.waiting == 2)
        hub.stop()
        assert await client.closed() == socket.RESTART
    assert "stream.fault" not in caplog.text + capsys.readouterr().out


async def test_many_subscriptions_share_one_look(app: FastAPI, north: Town, address: str, hub: hubs.FeedHub) -> None:
    """Ten subscriptions need no more statements to find new events than one subscription.

    A connection that has ten subscriptions cannot begin another one.
    """
    client = caller(app, north)
    async with connected(address, client.token) as one:
        for number in range(socket.MAX_SUBSCRIPTIONS):
            await one.subscribe(CONCERNS, f"s{number}")
        await until(lambda: hub.waiting == socket.MAX_SUBSCRIPTIONS)
        await one.subscribe(CONCERNS, "more")
        assert (await one.receive())["type"] == "error"
        await raise_concern(client, north)
        names = {(await one.receive())["id"] for _ in range(socket.MAX_SUBSCRIPTIONS)}
        assert names == {f"s{number}" for number in range(socket.MAX_SUBSCRIPTIONS)}
        polled = hub.polls
        await asyncio.sleep(0.5)
        assert hub.polls - polled <= 20


async def test_the_subscriptions_of_a_client_are_bounded(
    app: FastAPI, north: Town, address: str, hub: hubs.FeedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit, a subscription of a client is refused with a code. Another client of the district is served."""
    monkeypatch.setattr(hubs, "MAX_CLIENT_STREAMS", 1)
    client = caller(app, north)
    north.client_id = new_id()
    other = caller(app, north)
    async with connected(address, client.token) as one, connected(address, other.token) as another:
        await one.subscribe(EVENTS)
        await until(lambda: hub.waiting == 1)
        await one.subscribe(EVENTS, "two")
        refused = await one.receive()
        assert (refused["id"], refused["payload"][0]["extensions"]["code"]) == ("two", "streams.too_many")
        await another.subscribe(EVENTS)
        await until(lambda: hub.waiting == 2)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ me { clientName } }", "operation.unknown"),
        ("subscription { nothing }", "request.malformed"),
        ('subscription { events(type: ["no.such"]) { cursor } }', "malformed"),
        ('subscription { events(after: "x") { cursor } }', "malformed"),
        ("subscription { a: events { cursor } b: events { cursor } }", "request.malformed"),
        ("subscription {", "request.malformed"),
    ],
)
async def test_a_bad_subscription_is_refused(app: FastAPI, north: Town, address: str, query: str, code: str) -> None:
    """An invalid subscription is refused with an error message, and the connection stays open for others."""
    async with connected(address, caller(app, north).token) as one:
        await one.subscribe(query)
        refused = await one.receive()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", code), refused
        await one.send(type="ping")
        assert (await one.receive())["type"] == "pong"


async def test_who_is_not_known_is_not_served(app: FastAPI, north: Town, address: str) -> None:
    """A subscription is refused without a token, with a wrong one, and if it is sent before the caller is known."""
    async with connected(address, None) as one:
        await one.send(type="connection_init", payload={"Authorization": "Bearer nothing"})
        assert await one.closed() == socket.FORBIDDEN
    async with connected(address, None) as one:
        await one.subscribe(EVENTS)
        assert await one.closed() == 4401


@pytest.mark.parametrize("text", ["[]", "not json", '{"type":"subscribe","id":7,"payload":{}}', "{}"])
async def test_a_message_that_is_none_closes_the_connection(app: FastAPI, north: Town, address: str, text: str) -> None:
    """A text that is no message of the protocol closes the connection with the protocol's code, without a logged
    fault.
    """
    async with connected(address, caller(app, north).token) as one:
        await one.connection.send(text)
        assert await one.closed() == 4400


async def test_a_long_message_closes_the_connection(app: FastAPI, north: Town, address: str) -> None:
    """A message that is too long closes the connection before it is parsed."""
    async with connected(address, caller(app, north).token) as one:
        await one.connection.send("x" * (text_socket.MAX_MESSAGE + 1))
        assert await one.closed() == text_socket.TOO_BIG


async def test_an_idle_connection_is_closed(
    app: FastAPI, north: Town, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a subscription is closed after the idle time."""
    monkeypatch.setattr(socket, "IDLE_SECONDS", 0.1)
    async with connected(address, caller(app, north).token) as one:
        assert await one.closed() == socket.IDLE


async def test_only_a_registered_page_may_connect(app: FastAPI, north: Town, address: str) -> None:
    """A web page is refused at once if no client has registered its origin.

    If only another client has registered the origin, the page is refused when it sends its token.
    """
    async with north.house() as work:
        made = await register_client(work, NewClient("page", ("event:read",)))
        await set_origins(work, made.client_id, ["https://page.example"])
    app.state.origins.forget()
    with pytest.raises(InvalidStatus):
        async with connected(address, None, origin="https://other.example"):
            pass
    async with connected(address, None, origin="https://page.example") as one:
        await one.send(type="connection_init", payload={"Authorization": f"Bearer {caller(app, north).token}"})
        assert await one.closed() == socket.FORBIDDEN
    north.client_id = made.client_id
    async with connected(address, caller(app, north).token, origin="https://page.example") as own:
        await own.send(type="ping")
        assert (await own.receive())["type"] == "pong"


async def test_the_same_comes_as_server_sent_events(app: FastAPI, north: Town, address: str, hub: hubs.FeedHub) -> None:
    """A subscription over HTTP sends server-sent events as the GraphQL over SSE protocol requires. An invalid one is
    answered with an error.
    """
    client = caller(app, north)
    headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {client.token}"}
    async with (
        httpx.AsyncClient(base_url=f"http://{address}", headers=headers, trust_env=False) as http,
        http.stream("POST", "/graphql", json={"query": EVENTS}) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        concern = await raise_concern(client, north)
        async with asyncio.timeout(60):
            lines = (line async for line in answer.aiter_lines() if line.startswith("data: "))
            data: Any = orjson.loads((await anext(lines)).removeprefix("data: "))["data"]
        assert data["events"]["node"] == {"type": "concern.raised", "subject": concern}
        refused = await http.post("/graphql", json={"query": "subscription { nothing }"})
        assert refused.status_code in (200, 400)
        assert "Cannot query field" in refused.text
        nobody = await http.post("/graphql", json={"query": EVENTS}, headers={"Authorization": "Bearer x"})
        assert nobody.status_code == 401
