"""Tests the quotas that apply before any work begins, and the headers that announce them, over both APIs."""

import asyncio
import gc
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.access.admission import TOKEN_FAILURES
from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.access.service import NewClient, register_client
from app.core import ids
from app.core.clock import now
from app.core.errors import Unauthenticated
from app.core.ids import new_id
from app.rest.admission import Admit
from app.rest.contract.sharing import resolved
from app.rest.door import Services
from app.settings import Settings
from tests.faces.admission_app import Built, graphql
from tests.faces.graphql_face import MODERN
from tests.faces.rest_town import Caller, caller
from tests.house.walk import operations
from tests.town import Town

ITEM = re.compile(r'"([a-z-]+)";(?:q=(\d+);w=(\d+)|r=(\d+);t=(\d+))')


def another_client(app: FastAPI, town: Town) -> Caller:
    """Returns a second client of this district."""
    services: Services = app.state.services
    grant = Grant(town.district_id, town.slug, frozenset({"roster:read"}), ())
    known_client = KnownClient(new_id(), "another client", (), (grant,))
    return Caller(app, services.tokens.issue(known_client, grant, ("roster:read",)).token)


def items(field: str) -> dict[str, tuple[int, int]]:
    """Returns the quota and the time window of each policy in a RateLimit header, by the policy's name."""
    numbers = {match[0]: [int(one) for one in match[1:] if one] for match in ITEM.findall(field)}
    return {policy: (quota, window) for policy, (quota, window) in numbers.items()}


async def test_every_response_announces_what_is_left(built: Built, north: Town) -> None:
    """Every response states the quotas of the client and the district, and the remaining requests, in both APIs."""
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
    """A client without quota gets 429 with Retry-After and the same code in both APIs; other clients are not
    affected.
    """
    async with built(client_requests=2) as app:
        client = caller(app, north)
        for _ in range(2):
            assert (await client.get("/v1/schools")).status_code == 200
        rest, query = await client.get("/v1/schools"), await graphql(client)
        other = await another_client(app, north).get("/v1/schools")
    assert (rest.status_code, query.status_code, other.status_code) == (429, 429, 200)
    assert rest.headers["content-type"] == "application/problem+json"
    assert rest.json()["code"] == "rate.limited"
    assert rest.json()["trace_id"] == rest.headers["trace-id"]
    assert query.headers["content-type"].startswith(MODERN)
    (error,) = query.json()["errors"]
    assert error["extensions"]["code"] == "rate.limited"
    assert error["extensions"]["retryAfter"] == int(query.headers["retry-after"])
    for answer in (rest, query):
        rest_left, reset = items(answer.headers["RateLimit"])["client"]
        assert (rest_left, reset) == (0, int(answer.headers["retry-after"]))


async def test_a_district_has_a_quota_for_all_its_clients(built: Built, north: Town, south: Town) -> None:
    """All clients of a district share its quota; another district is not affected."""
    async with built(client_requests=3, district_requests=4) as app:
        first, second = caller(app, north), another_client(app, north)
        answers = [await one.get("/v1/schools") for one in (first, second, first, second, second)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429]
        left = items(answers[-1].headers["RateLimit"])
        assert (left["client"][0], left["district"][0]) == (0, 0)
        assert (await caller(app, south).get("/v1/schools")).status_code == 200


async def test_the_quotas_are_divided_by_the_processes(built: Built, north: Town) -> None:
    """Each process enforces and announces its part of the quota."""
    async with built(client_requests=9, district_requests=12, workers=4) as app:
        client = caller(app, north)
        answers = [await client.get("/v1/schools") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert items(answers[0].headers["RateLimit-Policy"]) == {"client": (2, 60), "district": (3, 60)}


async def test_guessing_a_secret_stops_the_guesser_and_not_the_client(app: FastAPI, north: Town) -> None:
    """Wrong secrets are counted by client and address, so that a client still gets a token from its own address."""
    async with north.house() as work:
        made = await register_client(work, NewClient("vendor", ("roster:read",)))
    client_id = ids.format_id("client", made.client_id)
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
        other = guess | {"client_id": ids.format_id("client", new_id())}
        assert (await guesser.post("/oauth/token", data=other)).status_code == 401, "another client's attempts"


async def test_an_address_has_a_quota_of_token_requests(built: Built) -> None:
    """An address has a quota of token requests for all clients together, so that secrets cannot be guessed."""
    async with built(workers=100) as app, _from(app, "192.0.2.7") as client:
        statuses = []
        for _ in range(8):
            data = {
                "grant_type": "client_credentials",
                "client_id": ids.format_id("client", new_id()),
                "client_secret": "x",
            }
            statuses.append((await client.post("/oauth/token", data=data)).status_code)
    assert statuses == [401] * 6 + [429] * 2


def test_a_verified_token_is_known_until_it_expires(
    settings: Settings, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is verified once and remembered until it expires, up to a maximum number of tokens."""
    at, verified = now(), list[str]()
    tokens = Tokens(settings.keyring, settings.base_url, 60)
    verify = tokens.verify

    def counted(token: str) -> Any:
        verified.append(token)
        return verify(token)

    monkeypatch.setattr(tokens, "verify", counted)
    monkeypatch.setattr("app.access.authenticate.now", lambda: at)
    monkeypatch.setattr("app.access.authenticate.MAX_VERIFIED", 2)
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
    """The contract states 429 and 503 with Retry-After and the RateLimit fields for every operation, except health."""
    contract = app.openapi()
    for operation in operations(app):
        answers = contract["paths"][operation.path][operation.method.lower()]["responses"]
        if operation.path.startswith("/health/"):
            assert "429" not in answers
            continue
        for status in ("429", "503"):
            refused = resolved(contract, answers[status])
            assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= refused["headers"].keys(), operation.name
        good = next(answer for status, answer in answers.items() if status < "3")
        assert {"RateLimit", "RateLimit-Policy"} <= good["headers"].keys(), operation.name


def _from(app: FastAPI, address: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://aimline.test")


async def test_a_request_that_never_began_leaves_no_warning(
    app: FastAPI, north: Town, recwarn: pytest.WarningsRecorder
) -> None:
    """A request that is cancelled while it pauses before its first step ends without a warning in the log."""
    services: Services = app.state.services

    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("It was cancelled before.")

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_message: Message) -> None:
        raise AssertionError("Nobody waits for an answer.")

    token = f"Bearer {caller(app, north).token}"
    scope = {"type": "http", "method": "GET", "path": "/v1/me", "headers": [(b"authorization", token.encode())]}
    services.admission.gate.arrivals.receive()
    request = asyncio.create_task(Admit(never, services.admission, {}, {})(scope, receive, send))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait({request})
    assert request.cancelled()
    del request
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []
