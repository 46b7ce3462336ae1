"""Tests the event stream: it sends exactly the events that its caller may see, and it ends with its token or its
process.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from app.access.principal import Principal
from app.access.service import NewClient, register_client, revoke_tokens
from app.core import clock, ids
from app.events import hub as hubs
from app.events.stream import Batch, FeedReader
from app.rest import stream as face
from app.rest.door import Services
from tests.faces.rest_town import Caller, caller
from tests.faces.streams import streaming
from tests.town import Town


@pytest.fixture
async def hub(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[hubs.FeedHub]:
    """Yields the app's hub of feeds, which polls more often than in production."""
    services: Services = app.state.services
    monkeypatch.setattr(services.hub, "_every", 0.05)
    yield services.hub
    assert len(services.hub) == 0, "A stream has not given up its place."


async def raise_concern(client: Caller, town: Town, student: str = "amy") -> str:
    """Raises a concern, which causes an event; returns the id of the concern."""
    area = ids.format_id("area", next(iter(town.areas.values())))
    new = {"student": ids.format_id("student", town.students[student]), "area": area, "description": "Quiet."}
    answer = await client.post("/v1/concerns", new)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return str(made["id"])


async def test_an_event_is_streamed_as_the_feed_has_it(app: FastAPI, north: Town, hub: hubs.FeedHub) -> None:
    """A streamed event has the same body as in the feed, and a cursor. It is neither buffered nor compressed."""
    client = caller(app, north)
    async with streaming(app, client.token) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["cache-control"] == "no-store"
        assert "content-encoding" not in stream.headers
        concern = await raise_concern(client, north)
        event = await stream.event()
        assert (event["type"], event["data"]["subject"]) == ("concern.raised", concern)
        assert (await client.get("/v1/events", type="concern.raised")).json()["items"] == [event]


async def test_a_client_that_comes_back_misses_nothing(app: FastAPI, north: Town, hub: hubs.FeedHub) -> None:
    """A client that reconnects with Last-Event-ID or a cursor misses no event. The feed accepts the stream's
    cursors.
    """
    client = caller(app, north)
    async with streaming(app, client.token) as stream:
        begin = stream.last_id
        first = await raise_concern(client, north)
        assert (await stream.event())["data"]["subject"] == first
        seen = stream.last_id
    second, third = await raise_concern(client, north), await raise_concern(client, north)
    for repeated in ({"last_event_id": seen}, {"after": seen}, {"after": begin, "last_event_id": seen}):
        async with streaming(app, client.token, **repeated) as stream:
            assert [(await stream.event())["data"]["subject"] for _ in range(2)] == [second, third]
    page = (await client.get("/v1/events", after=seen)).json()["items"]
    assert [one["data"]["subject"] for one in page] == [second, third]


async def test_only_what_the_caller_reaches_is_streamed(
    app: FastAPI, north: Town, south: Town, hub: hubs.FeedHub
) -> None:
    """A stream sends only events that its client may see, and only of the requested types."""
    client, of_school = caller(app, north), caller(app, north, schools=(north.schools[0],))
    async with (
        streaming(app, of_school.token) as theirs,
        streaming(app, caller(app, south).token) as foreign,
        streaming(app, client.token, type=["concern.accepted"]) as accepted,
    ):
        hidden = await raise_concern(client, north, "cy")
        seen = await raise_concern(client, north, "amy")
        await client.post(f"/v1/concerns/{hidden}/accept", {})
        own = await raise_concern(caller(app, south), south)
        assert (await theirs.event())["data"]["subject"] == seen
        assert (await accepted.event())["data"]["subject"] == hidden
        assert (await foreign.event())["data"]["subject"] == own
    assert hidden.encode() not in theirs.body
    # A teacher's role gives no right to read events: the stream is refused as the feed is.
    async with streaming(app, client.token, act_for=ids.format_id("person", north.staff["teacher"])) as refused:
        assert refused.status == 403


async def test_an_event_between_the_first_read_and_the_subscription_is_sent_at_once(
    app: FastAPI, north: Town, hub: hubs.FeedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is committed while a stream is starting is sent on this stream at once.

    In this test, an earlier stream has sent the event already.
    """
    monkeypatch.setattr(face, "HEARTBEAT", 600)  # a heartbeat reads no event
    client, concerns = caller(app, north), list[str]()
    async with streaming(app, client.token) as earlier:
        read = FeedReader.read

        async def read_and_wait(self: FeedReader, principal: Principal, cursor: str | None) -> Batch:
            batch = await read(self, principal, cursor)
            if not concerns and cursor is None:
                concerns.append(await raise_concern(client, north))
                assert (await earlier.event())["data"]["subject"] == concerns[0]
            return batch

        monkeypatch.setattr(FeedReader, "read", read_and_wait)
        async with streaming(app, client.token) as later:
            async with asyncio.timeout(120):
                event = await later.event()
            assert event["data"]["subject"] == concerns[0]


async def test_a_stream_ends_with_its_token(
    app: FastAPI, north: Town, hub: hubs.FeedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its token has expired, a stream sends no event and ends."""
    monkeypatch.setattr(face, "HEARTBEAT", 0.1)
    client = caller(app, north)
    async with streaming(app, client.token) as stream:
        late = clock.now() + timedelta(hours=2)
        with monkeypatch.context() as context:
            context.setattr("app.access.authenticate.now", lambda: late)
            async with asyncio.timeout(60):
                await stream.ended.wait()
        assert b"data:" not in stream.body
        assert b": unauthenticated" in stream.body


async def test_a_stream_ends_when_its_token_is_revoked(app: FastAPI, north: Town, hub: hubs.FeedHub) -> None:
    """After a token is revoked, its stream ends before the next event."""
    services: Services = app.state.services
    async with north.house() as work:
        north.client_id = (await register_client(work, NewClient("stream", ("event:read",)))).client_id
    client = caller(app, north)
    async with streaming(app, client.token) as stream:
        async with north.house() as work:
            await revoke_tokens(work, north.client_id)
        await services.tokens.revocations.load(services.engine)
        north.client_id = ids.new_id()
        await raise_concern(caller(app, north), north)
        async with asyncio.timeout(60):
            await stream.ended.wait()
        assert b"data:" not in stream.body


async def test_a_quiet_stream_sends_heartbeats(
    app: FastAPI, north: Town, hub: hubs.FeedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream without events sends comments with its position, so that proxies keep the connection open."""
    monkeypatch.setattr(face, "HEARTBEAT", 0.05)
    async with streaming(app, caller(app, north).token) as stream:
        for _ in range(3):
            block = await stream.block()
            assert block.startswith(":")
            assert "data:" not in block


async def test_many_streams_share_one_look(app: FastAPI, north: Town, hub: hubs.FeedHub) -> None:
    """Twenty event streams of a client share the polls of the database.

    After the streams have ended, the polls end too.
    """
    client = caller(app, north)
    async with streaming(app, client.token) as one:
        many = [streaming(app, client.token) for _ in range(19)]
        streams = [await other.__aenter__() for other in many]
        assert len(hub) == 20
        polls_at_start = hub.polls
        await raise_concern(client, north)
        for stream in (one, *streams):
            assert (await stream.event())["type"] == "concern.raised"
        polls_before = hub.polls
        await asyncio.sleep(0.5)
        assert hub.polls - polls_before <= 20
        assert polls_before > polls_at_start
        for other in many:
            await other.__aexit__(None, None, None)
    polls_before = hub.polls
    await asyncio.sleep(0.3)
    assert hub.polls <= polls_before + 1


async def test_the_streams_of_a_district_are_bounded(
    app: FastAPI, north: Town, south: Town, hub: hubs.FeedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its limit of streams, a district gets 429 with Retry-After, and another district is not affected."""
    monkeypatch.setattr(hubs, "MAX_DISTRICT_STREAMS", 1)
    client = caller(app, north)
    async with streaming(app, client.token):
        async with streaming(app, client.token) as refused:
            assert refused.status == 429
            assert "retry-after" in refused.headers
            assert b"streams.too_many" in refused.body
        async with streaming(app, caller(app, south).token) as other:
            assert other.status == 200
    async with streaming(app, client.token) as repeated:
        assert repeated.status == 200


@pytest.mark.parametrize(
    ("params", "status"), [({"type": ["no.such"]}, 400), ({"after": "x"}, 400), ({"unknown": "1"}, 400)]
)
async def test_a_bad_request_is_refused_before_the_stream(
    app: FastAPI, north: Town, hub: hubs.FeedHub, params: dict[str, Any], status: int
) -> None:
    """A bad request gets an error status, and not a stream that ends at once."""
    answer = await caller(app, north).get("/v1/events/stream", **params)
    assert answer.status_code == status
    answer = await caller(app, north, frozenset({"concern:read"})).get("/v1/events/stream")
    assert answer.status_code == 403


async def test_a_stream_ends_with_its_process(app: FastAPI, north: Town, hub: hubs.FeedHub) -> None:
    """When the process is asked to end, a stream ends at once, so that its client connects to another process."""
    client = caller(app, north)
    async with streaming(app, client.token) as stream:
        assert stream.status == 200
        while not hub.waiting:  # noqa: ASYNC110  # what is awaited has no event
            await asyncio.sleep(0.01)
        hub.stop()
        async with asyncio.timeout(60):
            await stream.ended.wait()
        assert b": stopping" in stream.body
