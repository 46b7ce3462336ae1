"""Before any work begins: quotas and their fields, fair turns over both faces, and what never waits."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from time import thread_time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.access.admission import NOBODY, TOKEN_FAILURES
from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.access.service import NewClient, register_client
from app.core import ids
from app.core.clock import now
from app.core.errors import Unauthenticated
from app.core.ids import new_id
from app.main import build
from app.rest.admission import CLIENT_GONE, Admit
from app.rest.door import House
from app.settings import Settings
from tests.faces.graphql_face import MODERN
from tests.faces.rest_town import Caller, caller, plain
from tests.house.walk import operations
from tests.town import Town

AREAS = {"query": "{ areas { code } }"}
ITEM = re.compile(r'"([a-z-]+)";(?:q=(\d+);w=(\d+)|r=(\d+);t=(\d+))')
Built = Callable[..., AbstractAsyncContextManager[FastAPI]]


@pytest.fixture
def built(settings: Settings) -> Built:
    """Builds the product's app over other settings."""

    @asynccontextmanager
    async def make(**more: Any) -> AsyncIterator[FastAPI]:
        app = build(settings.model_copy(update=more))
        yield app
        await app.state.house.engine.dispose()

    return make


def another_client(app: FastAPI, town: Town) -> Caller:
    """A second client of this town."""
    house: House = app.state.house
    grant = Grant(town.district_id, town.slug, frozenset({"roster:read"}), ())
    known = KnownClient(new_id(), "another client", (), (grant,))
    return Caller(app, house.tokens.issue(known, grant, ("roster:read",)).token)


def items(field: str) -> dict[str, tuple[int, int]]:
    """A RateLimit field: its two numbers by policy."""
    return {found[0]: tuple(map(int, filter(None, found[1:]))) for found in ITEM.findall(field)}


async def graphql(client: Caller) -> httpx.Response:
    """One query."""
    return await client.ask("POST", "/graphql", json=AREAS, headers={"Accept": MODERN})


async def test_every_response_announces_what_is_left(built: Built, north: Town) -> None:
    """Policy and rest of client and district, on what went well and on what did not, over both faces."""
    async with built(client_requests=10, district_requests=20) as app:
        client = caller(app, north)
        answers = [await client.get("/v1/schools"), await client.get("/v1/schools/none"), await graphql(client)]
    assert [answer.status_code for answer in answers] == [200, 404, 200]
    for number, answer in enumerate(answers, 1):
        assert items(answer.headers["RateLimit-Policy"]) == {"client": (10, 60), "district": (20, 60)}
        left = items(answer.headers["RateLimit"])
        assert {name: rest for name, (rest, _) in left.items()} == {"client": 10 - number, "district": 20 - number}
        assert all(0 < reset <= 60 for _, reset in left.values())


async def test_a_client_without_quota_is_refused_in_the_form_of_the_face(built: Built, north: Town) -> None:
    """429 with Retry-After: a problem in REST, an error in GraphQL with the same code; another client goes on."""
    async with built(client_requests=2) as app:
        client = caller(app, north)
        for _ in range(2):
            assert (await client.get("/v1/schools")).status_code == 200
        rest, query = await client.get("/v1/schools"), await graphql(client)
        other = await another_client(app, north).get("/v1/schools")
    assert (rest.status_code, query.status_code, other.status_code) == (429, 429, 200)
    assert rest.headers["content-type"] == "application/problem+json"
    assert rest.json()["type"] == "urn:aimline:problem:rate.limited"
    assert rest.json()["trace_id"] == rest.headers["trace-id"]
    assert query.headers["content-type"].startswith(MODERN)
    (error,) = query.json()["errors"]
    assert error["extensions"]["code"] == "rate.limited"
    assert error["extensions"]["retryAfter"] == int(query.headers["retry-after"])
    for answer in (rest, query):
        rest_left, reset = items(answer.headers["RateLimit"])["client"]
        assert (rest_left, reset) == (0, int(answer.headers["retry-after"]))


async def test_a_district_has_a_quota_for_all_its_clients(built: Built, north: Town, south: Town) -> None:
    """Two clients of north use it up; south is not touched, nor is a client's own quota by what was refused."""
    async with built(client_requests=3, district_requests=4) as app:
        first, second = caller(app, north), another_client(app, north)
        answers = [await one.get("/v1/schools") for one in (first, second, first, second, second)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
        left = items(answers[-1].headers["RateLimit"])
        assert (left["client"][0], left["district"][0]) == (0, 0)
        assert (await caller(app, south).get("/v1/schools")).status_code == 200


async def test_the_quotas_are_divided_by_the_processes(built: Built, north: Town) -> None:
    """Each process enforces and announces its part."""
    async with built(client_requests=9, district_requests=12, workers=4) as app:
        client = caller(app, north)
        answers = [await client.get("/v1/schools") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert items(answers[0].headers["RateLimit-Policy"]) == {"client": (2, 60), "district": (3, 60)}


async def test_whether_the_process_lives_is_always_answered(built: Built, north: Town) -> None:
    """Health is neither counted nor queued, while requests of a district wait for the only slot."""
    async with built(concurrency=1, client_requests=5) as app:
        gate = _gate(app)
        holder = gate.ask(north.district_id)
        waiting = asyncio.create_task(caller(app, north).get("/v1/schools"))
        await _until(lambda: gate.waiting == 1)
        async with plain(app) as client:
            answer = await client.get("/health/live")
        assert answer.json() == {"ok": True}
        assert "RateLimit" not in answer.headers
        gate.leave(holder)
        assert (await waiting).status_code == 200


@pytest.mark.parametrize("face", ["rest", "graphql"])
async def test_one_districts_backlog_does_not_delay_another(built: Built, north: Town, south: Town, face: str) -> None:
    """Twenty requests of north wait when south's comes: it runs at once, over REST and over GraphQL."""
    async with built(concurrency=1) as app:
        gate, ended = _gate(app), list[str]()
        holder = gate.ask(north.district_id)

        async def send(town: Town) -> None:
            client = caller(app, town)
            answer = await (client.get("/v1/schools") if face == "rest" else graphql(client))
            assert answer.status_code == 200
            ended.append(town.slug)

        tasks = [asyncio.create_task(send(north)) for _ in range(20)]
        await _until(lambda: gate.waiting == 20)
        await send(south)
        assert ended == [south.slug]
        gate.leave(holder)
        await asyncio.gather(*tasks)
    assert len(ended) == 21


async def test_requests_without_a_token_are_a_class_of_their_own(built: Built, north: Town) -> None:
    """A flood of them waits behind one another, and the district's request passes them."""
    async with built(concurrency=1) as app:
        gate, ended = _gate(app), list[str]()
        holder = gate.ask(NOBODY)

        async def send(name: str, client: Caller) -> None:
            await client.get("/v1/schools")
            ended.append(name)

        flood = [asyncio.create_task(send("flood", Caller(app, f"bad{n}"))) for n in range(20)]
        await _until(lambda: gate.waiting == 20)
        await send("north", caller(app, north))
        assert ended == ["north"]
        gate.leave(holder)
        await asyncio.gather(*flood)


async def test_a_client_that_leaves_while_it_waits_takes_no_turn(built: Built, north: Town) -> None:
    """The request is never run, and the slot goes to the next."""
    async with built(concurrency=1) as app:
        gate, statuses, reached = _gate(app), list[int](), list[str]()
        holder, gone = gate.ask(north.district_id), asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not reached:
                reached.append("body")
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        token = caller(app, north).token
        headers = [(b"authorization", f"Bearer {token}".encode())]
        scope = {"type": "http", "method": "GET", "path": "/v1/schools", "query_string": b"", "headers": headers}
        request = asyncio.create_task(app(scope, receive, send))
        await _until(lambda: gate.waiting == 1)
        gone.set()
        await request
        assert statuses == [CLIENT_GONE]
        assert (gate.waiting, gate.running) == (0, 1)
        gate.leave(holder)
        assert gate.running == 0


async def test_a_slow_reader_and_a_slow_sender_hold_no_slot(built: Built, north: Town) -> None:
    """A body that does not end, and a response that nobody takes: the only slot is free for others."""
    async with built(concurrency=1) as app:
        gate, never, begun = _gate(app), asyncio.Event(), list[str]()

        def scope(method: str) -> dict[str, Any]:
            headers = [(b"authorization", f"Bearer {caller(app, north).token}".encode())]
            path = "/v1/schools" if method == "GET" else "/v1/concerns"
            return {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}

        async def half_a_body() -> dict[str, Any]:
            if "body" in begun:
                await never.wait()
            begun.append("body")
            return {"type": "http.request", "body": b"{", "more_body": True}

        async def no_body() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def stuck(_: Any) -> None:
            begun.append("response")
            await never.wait()

        slow = [
            asyncio.create_task(app(scope("POST"), half_a_body, stuck)),
            asyncio.create_task(app(scope("GET"), no_body, stuck)),
        ]
        await _until(lambda: {"body", "response"} <= set(begun))
        assert gate.running == 0
        assert (await caller(app, north).get("/v1/schools")).status_code == 200
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_full_queue_is_refused_with_a_time_to_return(built: Built, north: Town, south: Town) -> None:
    """The queue of one district is bounded; another district is served."""
    async with built(concurrency=1) as app:
        gate = _gate(app)
        for _ in range(1 + gate.limits.queue_of_one_key):
            gate.ask(north.district_id)
        answer = await caller(app, north).get("/v1/schools")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["type"] == "urn:aimline:problem:queue.full"
        assert (await caller(app, south).get("/v1/schools")).status_code == 200


async def test_guessing_a_secret_stops_the_guesser_and_not_the_client(app: FastAPI, north: Town) -> None:
    """Refused secrets are counted by client and address: the client's own address gets its token all the while."""
    async with north.house() as work:
        made = await register_client(work, NewClient("vendor", ("roster:read",)))
    client_id = ids.show("client", made.client_id)
    guess = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "wrong"}
    right = guess | {"client_secret": made.secret}
    quota = TOKEN_FAILURES.quota
    async with _from(app, "2001:db8:1:1::1") as guesser, _from(app, "2001:db8:1:2::1") as owner:
        assert [(await guesser.post("/oauth/token", data=guess)).status_code for _ in range(quota)] == [401] * quota
        for data in (guess, right):
            refused = await guesser.post("/oauth/token", data=data)
            assert (refused.status_code, refused.json()["error"]) == (429, "slow_down")
            assert 0 < int(refused.headers["retry-after"]) <= 60
            assert items(refused.headers["ratelimit"])["token-failures"][0] == 0
        async with _from(app, "2001:db8:1:1:ffff::2") as neighbour:
            assert (await neighbour.post("/oauth/token", data=right)).status_code == 429, "one /64 is one subscriber"
        for _ in range(quota + 5):
            assert (await owner.post("/oauth/token", data=right)).status_code == 200
        other = guess | {"client_id": ids.show("client", new_id())}
        assert (await guesser.post("/oauth/token", data=other)).status_code == 401, "another client's attempts"


async def test_an_address_has_a_quota_of_token_requests(built: Built) -> None:
    """Whatever clients it names: whoever tries one after the other is stopped as well."""
    async with built(workers=100) as app, _from(app, "192.0.2.7") as client:
        statuses = []
        for _ in range(8):
            data = {"grant_type": "client_credentials", "client_id": ids.show("client", new_id()), "client_secret": "x"}
            statuses.append((await client.post("/oauth/token", data=data)).status_code)
    assert statuses == [401] * 6 + [429] * 2


def test_a_verified_token_is_known_until_it_expires(
    settings: Settings, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature is verified once; a token that has expired is refused, and no more than so many are known."""
    at, verified = now(), list[str]()
    tokens = Tokens(settings.keyring, settings.base_url, 60)
    verify = tokens._verify
    monkeypatch.setattr(tokens, "_verify", lambda token: (verified.append(token), verify(token))[1])
    monkeypatch.setattr("app.access.authenticate.now", lambda: at)
    monkeypatch.setattr("app.access.authenticate.MOST_VERIFIED", 2)
    grant = Grant(north.district_id, north.slug, frozenset({"roster:read"}), ())
    issued = [tokens.issue(KnownClient(new_id(), "x", (), (grant,)), grant, ("roster:read",)).token for _ in range(3)]
    principals = {tokens.read(issued[0]) for _ in range(5)}
    assert (len(principals), len(verified)) == (1, 1)
    for token in issued:
        tokens.read(token)
    assert len(tokens._verified) == 2
    at += timedelta(seconds=60)
    for token in issued:
        with pytest.raises(Unauthenticated):
            tokens.read(token)


def test_the_contract_tells_the_limits_of_every_operation(app: FastAPI) -> None:
    """429 and 503 with Retry-After and the RateLimit fields, everywhere but at health."""
    contract = app.openapi()
    for operation in operations(app):
        answers = contract["paths"][operation.path][operation.method.lower()]["responses"]
        if operation.path.startswith("/health/"):
            assert "429" not in answers
            continue
        for status in ("429", "503"):
            assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= answers[status]["headers"].keys(), operation.name
        good = next(answer for status, answer in answers.items() if status < "3")
        assert {"RateLimit", "RateLimit-Policy"} <= good["headers"].keys(), operation.name


async def test_a_running_request_pauses_between_its_steps(built: Built, north: Town, south: Town) -> None:
    """Requests of north that have begun, and the tasks that they start, end only after south's, which came last."""
    async with built(concurrency=4) as app:
        gate, ended = _gate(app), list[str]()
        waits, began = asyncio.Event(), list[int]()

        @app.get("/planted")
        async def planted() -> dict[str, str]:
            began.append(1)
            await waits.wait()
            await asyncio.gather(*(_steps(50) for _ in range(3)))
            ended.append("north")
            return {}

        loud = [asyncio.create_task(caller(app, north).get("/planted")) for _ in range(4)]
        await _until(lambda: len(began) == 4)
        quiet = gate.ask(south.district_id)
        waits.set()
        await _steps(200)
        assert ended == []
        gate.leave(quiet)
        assert [answer.status_code for answer in await asyncio.gather(*loud)] == [200] * 4
        assert len(ended) == 4


@pytest.mark.parametrize("face", ["rest", "graphql"])
async def test_a_request_beside_another_districts_load_waits_for_one_request_at_most(
    built: Built, north: Town, south: Town, face: str
) -> None:
    """Sixteen closed loops of north: south's request takes its own time and that of north's longest at most.

    The time is the processor's, in this thread: what other programs take of the machine is not in it.
    """
    async with built() as app:
        loud, quiet, stop = caller(app, north), caller(app, south), asyncio.Event()

        async def once(client: Caller, heavy: bool) -> float:
            began = thread_time()
            if face == "rest":
                answer = await client.get("/v1/students", limit=200) if heavy else await client.get("/v1/areas")
            else:
                query = "{ " + " ".join(f"a{n}: students(first: 200) {{ edges {{ cursor }} }}" for n in range(9)) + " }"
                answer = await client.ask("POST", "/graphql", json={"query": query} if heavy else AREAS)
            assert answer.status_code == 200, answer.text
            return thread_time() - began

        async def closed_loop() -> None:
            while not stop.is_set():
                await once(loud, heavy=True)

        alone = [await once(quiet, heavy=False) for _ in range(12)]
        longest = max([await once(loud, heavy=True) for _ in range(12)])
        loops = [asyncio.create_task(closed_loop()) for _ in range(16)]
        beside = []
        for _ in range(12):
            await asyncio.sleep(0.05)
            beside.append(await once(quiet, heavy=False))
        stop.set()
        await asyncio.gather(*loops)
    # Twice the bound: fifteen answers may be read by the callers meanwhile, which share this thread with the product.
    assert sorted(beside)[9] <= 2 * (sorted(alone)[9] + longest), (alone, longest, beside)


async def _steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _gate(app: FastAPI) -> Any:
    (admit,) = [one for one in app.user_middleware if one.cls is Admit]
    return admit.kwargs["admission"].gate


def _from(app: FastAPI, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://aimline.test")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the condition is the product's own state, and tells nobody
            await asyncio.sleep(0)
