"""Tests that web pages of origins that are not registered cannot read a district's records."""

import json
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app.access.service import NewClient, register_client
from app.core.errors import Invalid
from app.requests.origins import MAX_ORIGINS, is_origin, set_origins
from tests.faces.rest_town import Caller, caller, plain
from tests.processes import aimline
from tests.town import Town

ALLOWED_ORIGIN, OTHER_ORIGIN = "https://here.example.org", "https://there.example.org"


async def client_with(app: FastAPI, town: Town, *origins: str) -> Caller:
    """Creates a client of the district with these registered origins."""
    async with town.house() as work:
        made = await register_client(work, NewClient("page", ("roster:read",)))
        await set_origins(work, made.client_id, origins)
    town.client_id = made.client_id
    app.state.origins.forget()
    return caller(app, town)


async def preflight(app: FastAPI, origin: str, path: str = "/v1/students") -> httpx.Response:
    """Sends a preflight: the request by which a browser asks whether a page may send the real request."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "PATCH"}
    async with plain(app) as client:
        return await client.options(path, headers=headers)


async def test_a_preflight_is_answered_without_a_token(app: FastAPI, north: Town) -> None:
    """The response to a preflight request of a registered origin allows every header and method of the contract.

    The request needs no token. The response does not allow cookies, and names the origin instead of `*`.
    """
    await client_with(app, north, ALLOWED_ORIGIN)
    for path in ("/v1/students", "/graphql", "/oauth/token"):
        answer = await preflight(app, ALLOWED_ORIGIN, path)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        assert "access-control-allow-credentials" not in answer.headers
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        for name in ("Authorization", "Idempotency-Key", "If-Match", "Aimline-Act-For"):
            assert name in answer.headers["access-control-allow-headers"]
        assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://nobody.example.org",
        "null",
        f"{ALLOWED_ORIGIN}.evil.example",
        "http://here.example.org",
        f"{ALLOWED_ORIGIN}:8443",
    ],
)
async def test_any_other_origin_is_refused(app: FastAPI, north: Town, origin: str) -> None:
    """A page of an unregistered origin gets 403 for its preflight, and its browser does not let it read answers."""
    client = await client_with(app, north, ALLOWED_ORIGIN)
    refused = await preflight(app, origin)
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)
    answer = await client.ask("GET", "/v1/students", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    assert "Origin" in answer.headers["vary"]


async def test_an_answer_is_for_the_pages_of_its_own_client(app: FastAPI, north: Town, south: Town) -> None:
    """A web page may read answers to a client's token only if this client has registered the page's origin.

    An answer that refuses an invalid token may be read by the pages of every registered origin.
    """
    ours, theirs = await client_with(app, north, ALLOWED_ORIGIN), await client_with(app, south, OTHER_ORIGIN)
    for client, origin, may_read in (
        (ours, ALLOWED_ORIGIN, True),
        (ours, OTHER_ORIGIN, False),
        (theirs, OTHER_ORIGIN, True),
    ):
        answer = await client.ask("GET", "/v1/students", headers={"Origin": origin})
        assert answer.status_code == 200
        assert (answer.headers.get("access-control-allow-origin") == origin) is may_read
    refused = await Caller(app, "no token").ask("GET", "/v1/students", headers={"Origin": OTHER_ORIGIN})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, OTHER_ORIGIN)
    assert "ETag" in refused.headers["access-control-expose-headers"]


async def test_a_removed_origin_is_refused(app: FastAPI, north: Town) -> None:
    """An origin that was removed is refused once the process has read the list again, which it does twice a minute."""
    await client_with(app, north, origin := f"https://{north.slug}.example.org")
    assert (await preflight(app, origin)).status_code == 204
    async with north.house() as work:
        await set_origins(work, north.client_id, ())
    assert (await preflight(app, origin)).status_code == 204
    app.state.origins.forget()
    assert (await preflight(app, origin)).status_code == 403


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (ALLOWED_ORIGIN, True),
        ("https://a.example.org:8443", True),
        ("http://localhost:3000", True),
        ("http://[::1]:3000", True),
        ("http://a.example.org", False),
        ("https://a.example.org/", False),
        ("https://a.example.org:443", False),
        ("https://A.example.org", False),
        ("https://u@a.example.org", False),
        ("https://*.example.org", False),
        ("https://a.example.org:x", False),
        ("*", False),
        ("null", False),
        ("", False),
        ("https://", False),
        ("https://bücher.example", False),
    ],
)
def test_an_origin_is_what_a_browser_sends(text: str, is_one: bool) -> None:
    """An origin with a path, a wildcard or a default port is refused, because a browser never sends it."""
    assert is_origin(text) is is_one


async def test_what_is_no_origin_is_not_registered(app: FastAPI, north: Town) -> None:
    """A client can register neither `*` as an origin nor more origins than the maximum."""
    await client_with(app, north, ALLOWED_ORIGIN)
    client_id: UUID = north.client_id
    many = tuple(f"https://a{number}.example.org" for number in range(MAX_ORIGINS + 1))
    for origins in (("*",), many):
        with pytest.raises(Invalid):
            async with north.house() as work:
                await set_origins(work, client_id, origins)


def test_an_operator_registers_origins(north: Town) -> None:
    """An operator can register origins with a new client and change them later. An invalid origin is refused."""
    of_district = ("--district", north.slug, "--json")
    create = ("client", "create", "--scope", "roster:read", "--origin")
    made = aimline(north.settings, *create, ALLOWED_ORIGIN, "--origin", OTHER_ORIGIN, *of_district)
    assert made.returncode == 0, made.stderr
    client_id = json.loads(made.stdout)["client_id"]
    shown = aimline(north.settings, "client", "show", client_id, *of_district)
    assert json.loads(shown.stdout)["origins"] == [ALLOWED_ORIGIN, OTHER_ORIGIN]
    changed = aimline(north.settings, "client", "origins", client_id, "--origin", OTHER_ORIGIN, *of_district)
    assert json.loads(changed.stdout)["origins"] == [OTHER_ORIGIN]
    removed = aimline(north.settings, "client", "origins", client_id, *of_district)
    assert json.loads(removed.stdout)["origins"] == []
    assert aimline(north.settings, *create, "*", *of_district).returncode != 0
    clients = aimline(north.settings, "client", "list", *of_district)
    assert len(json.loads(clients.stdout)["clients"]) == 1
