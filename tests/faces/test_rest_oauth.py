"""Tests the token endpoint and access tokens:

OAuth's errors, one district per token, and verification by public keys.
"""

import base64
from typing import Any
from uuid import UUID

import httpx
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import KeySet

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.access.service import NewClient, grant_client, register_client, rotate_secret
from app.core import ids
from app.core.crypto import Keyring, generate_key
from app.core.ids import new_id
from app.rest.door import Services
from tests.faces.rest_town import Caller, plain
from tests.town import Town

SCOPES = ("roster:read", "concern:read")


async def made(town: Town, *more: Town, schools: tuple[UUID, ...] = ()) -> tuple[str, str]:
    """Creates a client of these districts, and returns its public id and secret."""
    async with town.house() as work:
        client = await register_client(work, NewClient("vendor", SCOPES, schools))
    for other in more:
        async with other.house() as work:
            await grant_client(work, client.client_id, NewClient("vendor", SCOPES))
    return ids.format_id("client", client.client_id), client.secret


async def ask(app: FastAPI, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
    """Sends a request to the token endpoint."""
    async with plain(app) as client:
        data = {"grant_type": "client_credentials", **form}
        return await client.post("/oauth/token", data=data, headers=headers)


def basic(client_id: str, secret: str) -> dict[str, str]:
    """Returns the Basic header of a client."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def error(answer: httpx.Response) -> tuple[int, str]:
    """Returns the status and OAuth's error code of a response."""
    return answer.status_code, answer.json()["error"]


async def test_a_client_gets_a_token_by_header_or_body(app: FastAPI, north: Town) -> None:
    """A client gets a token, whether it sends its credentials in the header or in the body (RFC 6749).

    No cache may store the answer. The token gives access to the district within the token's scopes.
    """
    client_id, secret = await made(north)
    for answer in (
        await ask(app, basic(client_id, secret)),
        await ask(app, client_id=client_id, client_secret=secret),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert (body["token_type"], body["scope"]) == ("Bearer", "concern:read roster:read")
        assert body["district"] == ids.format_id("district", north.district_id)
        caller = Caller(app, body["access_token"])
        assert len(await caller.items("/v1/students")) == 3
        assert (await caller.get("/v1/scores")).status_code == 403


async def test_what_is_wrong_is_said_as_oauth_says_it(app: FastAPI, north: Town) -> None:
    """Errors have the codes of RFC 6749 §5.2. A wrong secret and an unknown client get the same answer."""
    client_id, secret = await made(north)
    wrong = [
        await ask(app, client_id=client_id, client_secret="aim_wrong"),
        await ask(app, client_id=ids.format_id("client", new_id()), client_secret=secret),
        await ask(app, client_id="nonsense\x00", client_secret=secret),
        await ask(app, basic(client_id, "wrong")),
        await ask(app, {"Authorization": "Basic not-base64"}),
        await ask(app),
    ]
    for answer in wrong:
        assert error(answer) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert answer.headers["content-type"] == "application/json"
    assert wrong[0].json() == wrong[1].json()
    given = {"client_id": client_id, "client_secret": secret}
    assert error(await ask(app, None, **given, scope="score:read")) == (400, "invalid_scope")
    assert error(await ask(app, None, **given, scope="sis:sync")) == (400, "invalid_scope")
    assert error(await ask(app, None, **given, district="no-such")) == (400, "invalid_request")
    async with plain(app) as client:
        assert error(await client.post("/oauth/token", data={"grant_type": "password"})) == (
            400,
            "unsupported_grant_type",
        )
        assert error(await client.post("/oauth/token")) == (400, "invalid_request")
        many = dict.fromkeys(map(str, range(1500)), "x")
        assert error(await client.post("/oauth/token", data=many)) == (400, "invalid_request")


async def test_a_client_of_several_districts_names_one(app: FastAPI, north: Town, south: Town) -> None:
    """A token is for one district, which the request names by short name or id. Without a name, a client of several
    districts is refused.
    """
    client_id, secret = await made(north, south)
    given = {"client_id": client_id, "client_secret": secret}
    assert error(await ask(app, None, **given)) == (400, "invalid_request")
    for town, name in ((north, north.slug), (south, ids.format_id("district", south.district_id))):
        token = (await ask(app, None, **given, district=name)).json()["access_token"]
        students = await Caller(app, token).items("/v1/students")
        assert {one["family_name"] for one in students} == {f"Family{town.canary}"}


async def test_scopes_can_be_narrowed(app: FastAPI, north: Town) -> None:
    """A token has only the requested scopes."""
    client_id, secret = await made(north)
    answer = await ask(app, client_id=client_id, client_secret=secret, scope="concern:read")
    assert answer.json()["scope"] == "concern:read"
    assert (await Caller(app, answer.json()["access_token"]).get("/v1/students")).status_code == 403


async def test_a_client_of_some_schools_keeps_to_them(app: FastAPI, north: Town) -> None:
    """The token of a client that is granted some schools contains these schools."""
    client_id, secret = await made(north, schools=(north.schools[1],))
    token = (await ask(app, client_id=client_id, client_secret=secret)).json()["access_token"]
    students = await Caller(app, token).items("/v1/students")
    assert [one["id"] for one in students] == [ids.format_id("student", north.students["cy"])]


async def test_two_secrets_live_while_one_replaces_the_other(app: FastAPI, north: Town) -> None:
    """While a client's secret is rotated, both secrets work until the old one is revoked."""
    client_id, first = await made(north)
    row = ids.parse_id("client", client_id)
    async with north.house() as work:
        second = await rotate_secret(work, row)
    for secret in (first, second):
        assert (await ask(app, client_id=client_id, client_secret=secret)).status_code == 200
    async with north.house() as work:
        third = await rotate_secret(work, row, revoke_others=True)
    for secret, status in ((first, 401), (second, 401), (third, 200)):
        assert (await ask(app, client_id=client_id, client_secret=secret)).status_code == status


async def test_tokens_verify_by_the_public_keys(app: FastAPI, north: Town) -> None:
    """Anybody can verify a token with the public keys (JWKS). They contain no private key.

    The metadata of the authorization server contain the URL of the keys.
    """
    client_id, secret = await made(north)
    token = (await ask(app, client_id=client_id, client_secret=secret)).json()["access_token"]
    async with plain(app) as client:
        metadata = (await client.get("/.well-known/oauth-authorization-server")).json()
        keys = (await client.get("/oauth/jwks.json")).json()
    assert metadata["jwks_uri"].endswith("/oauth/jwks.json")
    assert all("d" not in key and key["kty"] == "EC" for key in keys["keys"])
    decoded = jwt.decode(token, KeySet.import_key_set(keys), algorithms=["ES256"])
    assert decoded.claims["sub"] == client_id
    assert decoded.claims["iss"] == metadata["issuer"]
    assert 0 < decoded.claims["exp"] - decoded.claims["iat"] <= 3600


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


async def test_a_token_that_does_not_hold_is_refused(app: FastAPI, north: Town) -> None:
    """An invalid token of any kind gives 401 without a reason."""
    services: Services = app.state.services
    grant = Grant(north.district_id, north.slug, frozenset(SCOPES), ())
    client = KnownClient(new_id(), "vendor", (), (grant,))

    def issued(keyring: Keyring = services.keyring, issuer: str = services.base_url, seconds: int = 900) -> str:
        return Tokens(keyring, issuer, seconds).issue(client, grant, SCOPES).token

    good = issued()
    assert (await Caller(app, good).get("/v1/students")).status_code == 200
    other = Keyring.parse(generate_key("k1"))
    bad = [issued(seconds=-10), issued(issuer="http://elsewhere.test"), issued(keyring=other), good[:-4] + "AAAA"]
    for token in (*bad, _unsigned(good), "x", ""):
        answer = await Caller(app, token).get("/v1/students")
        assert answer.status_code == 401, token
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["code"] == "unauthenticated"
    async with plain(app) as http:
        assert (await http.get("/v1/students")).status_code == 401
        assert (await http.get("/v1/students", headers=basic("a", "b"))).status_code == 401


@pytest.mark.parametrize("claims", [{"district": None}, {"scope": 7}, {"schools": "x"}, {"sub": "stu_1"}])
async def test_a_signed_token_of_another_shape_is_refused(app: FastAPI, north: Town, claims: dict[str, Any]) -> None:
    """A token with our signature but with other claims than ours is refused."""
    services: Services = app.state.services
    grant = Grant(north.district_id, north.slug, frozenset(SCOPES), ())
    token = services.tokens.issue(KnownClient(new_id(), "vendor", (), (grant,)), grant, SCOPES).token
    claims_to_sign = (
        jwt.decode(token, services.tokens._keys, algorithms=["ES256"]).claims | claims
    )  # to sign what is spoilt
    spoilt = jwt.encode({"alg": "ES256", "kid": services.tokens._signing.kid}, claims_to_sign, services.tokens._signing)
    assert (await Caller(app, spoilt).get("/v1/students")).status_code == 401


async def test_a_repeated_parameter_and_a_second_way_to_authenticate_are_refused(app: FastAPI, north: Town) -> None:
    """A token request with a repeated parameter, or with two methods of authentication, is refused (RFC 6749 §2.3,
    §3.2).

    Otherwise two programs that read the same request could see different clients in it.
    """
    client_id, secret = await made(north)
    header, form = basic(client_id, secret), "grant_type=client_credentials"
    credentials = f"client_id={client_id}&client_secret={secret}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    refused = {
        "both ways": (header, f"{form}&{credentials}", ""),
        "another client in the body": (header, f"{form}&client_id=cli_other", ""),
        "a repeated grant type": ({}, f"{form}&{form}&{credentials}", ""),
        "a repeated scope": ({}, f"{form}&{credentials}&scope=concern:read&scope=roster:read", ""),
        "a repeated client": ({}, f"{form}&{credentials}&client_id={client_id}", ""),
        "credentials in the address": ({}, form, f"?{credentials}"),
    }
    async with plain(app) as client:
        for name, (headers, body, query) in refused.items():
            answer = await client.post(f"/oauth/token{query}", content=body, headers={**kind, **headers})
            assert error(answer) == (400, "invalid_request"), name
        for body in (f"{form}&client_id={client_id}", f"{form}&scope=&district="):
            answer = await client.post("/oauth/token", content=body, headers={**kind, **header})
            assert answer.status_code == 200, answer.text
        json = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        assert error(await client.post("/oauth/token", json=json)) == (400, "invalid_request")
        parts = await client.post("/oauth/token", data=json, files={"grant_type": b"x"})
        assert error(parts) == (400, "invalid_request")


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
async def test_authlib_gets_a_token_and_uses_it(app: FastAPI, north: Town, way: str) -> None:
    """The Python library authlib gets a token with each of the two methods of client authentication, and uses it.

    It also recognizes the error for a scope that was not granted, and the error for a wrong secret.
    """
    client_id, secret = await made(north)
    made_of = {"transport": httpx.ASGITransport(app=app), "base_url": "http://aimline.test"}
    endpoint = "http://aimline.test/oauth/token"
    async with AsyncOAuth2Client(client_id, secret, token_endpoint_auth_method=way, **made_of) as client:
        token = await client.fetch_token(endpoint, grant_type="client_credentials")
        assert token["token_type"] == "Bearer"
        assert (await client.get("/v1/students")).status_code == 200
        with pytest.raises(OAuthError, match="invalid_scope"):
            await client.fetch_token(endpoint, grant_type="client_credentials", scope="score:read")
    async with AsyncOAuth2Client(client_id, "aim_wrong", token_endpoint_auth_method=way, **made_of) as client:
        with pytest.raises(OAuthError, match="invalid_client"):
            await client.fetch_token(endpoint, grant_type="client_credentials")
