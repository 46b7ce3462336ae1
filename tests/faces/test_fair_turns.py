"""Tests in which order the requests of several districts run, over both APIs. Some requests, like health checks, never
wait.
"""

import asyncio
from time import thread_time
from typing import Any

import pytest

from app.access.admission import NOBODY
from app.rest.edge import CLIENT_GONE
from tests.faces.admission_app import AREAS, Built, gate_of, graphql, until
from tests.faces.rest_town import Caller, caller, plain
from tests.town import Town


async def test_whether_the_process_lives_is_always_answered(built: Built, north: Town) -> None:
    """A health check is neither counted nor queued, even while requests of a district wait for the only slot."""
    async with built(concurrency=1, client_requests=5) as app:
        gate = gate_of(app)
        holder = gate.enqueue(north.district_id)
        waiting = asyncio.create_task(caller(app, north).get("/v1/schools"))
        await until(lambda: gate.waiting == 1)
        async with plain(app) as client:
            answer = await client.get("/health/live")
        assert answer.json() == {"ok": True}
        assert "RateLimit" not in answer.headers
        gate.leave(holder)
        assert (await waiting).status_code == 200


@pytest.mark.parametrize("face", ["rest", "graphql"])
async def test_one_districts_backlog_does_not_delay_another(built: Built, north: Town, south: Town, face: str) -> None:
    """A request of one district runs at once, although twenty requests of another district wait."""
    async with built(concurrency=1) as app:
        gate, ended = gate_of(app), list[str]()
        holder = gate.enqueue(north.district_id)

        async def send(town: Town) -> None:
            client = caller(app, town)
            answer = await (client.get("/v1/schools") if face == "rest" else graphql(client))
            assert answer.status_code == 200
            ended.append(town.slug)

        tasks = [asyncio.create_task(send(north)) for _ in range(20)]
        await until(lambda: gate.waiting == 20)
        await send(south)
        assert ended == [south.slug]
        gate.leave(holder)
        await asyncio.gather(*tasks)
    assert len(ended) == 21


async def test_requests_without_a_token_are_a_class_of_their_own(built: Built, north: Town) -> None:
    """Requests without a valid token wait for each other. A request of a district does not wait for them."""
    async with built(concurrency=1) as app:
        gate, ended = gate_of(app), list[str]()
        holder = gate.enqueue(NOBODY)

        async def send(name: str, client: Caller) -> None:
            await client.get("/v1/schools")
            ended.append(name)

        flood = [asyncio.create_task(send("flood", Caller(app, f"bad{n}"))) for n in range(20)]
        await until(lambda: gate.waiting == 20)
        await send("north", caller(app, north))
        assert ended == ["north"]
        gate.leave(holder)
        await asyncio.gather(*flood)


async def test_a_client_that_leaves_while_it_waits_takes_no_turn(built: Built, north: Town) -> None:
    """If a client leaves while its request waits, the request is never run, and the slot goes to the next request."""
    async with built(concurrency=1) as app:
        gate, statuses, reached = gate_of(app), list[int](), list[str]()
        holder, gone = gate.enqueue(north.district_id), asyncio.Event()

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
        await until(lambda: gate.waiting == 1)
        gone.set()
        await request
        assert statuses == [CLIENT_GONE]
        assert (gate.waiting, gate.running) == (0, 1)
        gate.leave(holder)
        assert gate.running == 0


async def test_a_slow_reader_and_a_slow_sender_hold_no_slot(built: Built, north: Town) -> None:
    """A request body that does not end, and a response that is not read, use no slot."""
    async with built(concurrency=1) as app:
        gate, never, begun = gate_of(app), asyncio.Event(), list[str]()

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
        await until(lambda: {"body", "response"} <= set(begun))
        assert gate.running == 0
        assert (await caller(app, north).get("/v1/schools")).status_code == 200
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_full_queue_is_refused_with_a_time_to_return(built: Built, north: Town, south: Town) -> None:
    """If the queue of one district is full, its requests are refused with `Retry-After`, and another district is
    served.
    """
    async with built(concurrency=1) as app:
        gate = gate_of(app)
        for _ in range(1 + gate.limits.queue_of_one_key):
            gate.enqueue(north.district_id)
        answer = await caller(app, north).get("/v1/schools")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["code"] == "queue.full"
        assert (await caller(app, south).get("/v1/schools")).status_code == 200


async def test_a_running_request_pauses_between_its_steps(built: Built, north: Town, south: Town) -> None:
    """While a request of another district runs, the running requests of a busy district pause between their steps."""
    async with built(concurrency=4) as app:
        gate, ended = gate_of(app), list[str]()
        waits, began = asyncio.Event(), list[int]()

        @app.get("/planted")
        async def planted() -> dict[str, str]:
            began.append(1)
            await waits.wait()
            await asyncio.gather(*(_steps(50) for _ in range(3)))
            ended.append("north")
            return {}

        loud = [asyncio.create_task(caller(app, north).get("/planted")) for _ in range(4)]
        await until(lambda: len(began) == 4)
        quiet = gate.enqueue(south.district_id)
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
    """A request of one district waits for at most one request of another district, even if the other district sends
    many.

    The processor time of this thread is measured, so that other programs have no influence.
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
        delays = []
        for _ in range(12):
            await asyncio.sleep(0.05)
            delays.append(await once(quiet, heavy=False))
        stop.set()
        await asyncio.gather(*loops)
    # Twice the bound: fifteen answers may be read by the callers meanwhile, which share this thread with the product.
    assert sorted(delays)[9] <= 2 * (sorted(alone)[9] + longest), (alone, longest, delays)


async def _steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
