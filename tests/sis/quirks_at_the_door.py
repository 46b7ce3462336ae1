"""Tests the sandbox SIS's deviations (quirks) in authentication and errors: tokens, signatures, throttling.

Also records which test covers which quirk.
"""

from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1, sha256
from hmac import new as mac
from time import time
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from tests.processes import TRUSTS_NOBODY
from tests.sis.sandbox_sis import ALL, BOOK, V11, V12, Row, everything, signed_in

Show = Callable[[httpx.Client], None]
SHOWN: dict[str, Show] = {}
BASIC = ("north", "of-a-test")
GRANT = {"grant_type": "client_credentials", "scope": ALL}
IN_BODY = GRANT | {"client_id": "north", "client_secret": "of-a-test"}


def shows(quirk: str) -> Callable[[Show], Show]:
    """Registers a function that demonstrates this quirk (deviation) on a server that has only this quirk."""

    def keep(show: Show) -> Show:
        SHOWN[quirk] = show
        return show

    return keep


def behave(client: httpx.Client, *quirks: str) -> None:
    answer = client.post("sandbox/quirks", params={"name": quirks})
    assert answer.status_code == 200, answer.text


def both(path: str) -> Callable[[Callable[[list[Row], list[Row]], Any]], Callable[[httpx.Client], None]]:
    """Returns a decorator for a function that compares the rows of a path with those of a well-behaved source."""

    def wrap(compare: Callable[[list[Row], list[Row]], Any]) -> Callable[[httpx.Client], None]:
        def show(client: httpx.Client) -> None:
            odd = everything(client, path)
            behave(client)
            assert compare(odd, everything(client, path))

        return show

    return wrap


def grant(client: httpx.Client, **how: Any) -> httpx.Response:
    return httpx.post(f"{client.base_url}oauth/token", verify=TRUSTS_NOBODY, **how)


@shows("token-basic")
def _(client: httpx.Client) -> None:
    assert grant(client, data=IN_BODY).status_code == 401
    assert grant(client, data=GRANT, auth=BASIC).status_code == 200


@shows("token-body")
def _(client: httpx.Client) -> None:
    assert grant(client, data=GRANT, auth=BASIC).status_code == 401
    assert grant(client, data=IN_BODY).status_code == 200


@shows("token-redirect")
def _(client: httpx.Client) -> None:
    assert grant(client, data=IN_BODY).status_code == 307
    assert "access_token" in grant(client, data=IN_BODY, follow_redirects=True).json()


@shows("no-expires")
def _(client: httpx.Client) -> None:
    assert grant(client, data=IN_BODY).json().keys() == {"access_token", "token_type", "scope"}


@shows("token-dies:3")
def _(client: httpx.Client) -> None:
    with signed_in(str(client.base_url)) as fresh:
        assert [fresh.get(f"{V12}/orgs").status_code for _ in range(4)] == [200, 200, 200, 401]


def signed(method: str, address: str, query: dict[str, str], secret: str, nonce: str) -> str:
    """Returns an OAuth 1.0a header, computed from RFC 5849, to check the header that the product computes."""

    def plain(text: str) -> str:
        return quote(text, safe="~")

    oauth = {
        "oauth_consumer_key": "north",
        "oauth_nonce": nonce,
        "oauth_signature_method": method,
        "oauth_timestamp": str(int(time())),
        "oauth_version": "1.0",
    }
    every = "&".join(
        f"{name}={value}" for name, value in sorted((plain(n), plain(v)) for n, v in (oauth | query).items())
    )
    base = f"GET&{plain(address)}&{plain(every)}"
    digest = mac(f"{plain(secret)}&".encode(), base.encode(), sha1 if method == "HMAC-SHA1" else sha256).digest()
    parts = oauth | {"oauth_signature": b64encode(digest).decode()}
    return "OAuth " + ", ".join(f'{name}="{plain(value)}"' for name, value in parts.items())


@shows("oauth1-only")
def _(client: httpx.Client) -> None:
    assert grant(client, data=IN_BODY).status_code == 404
    assert client.get(f"{V11}/users").headers["www-authenticate"] == "OAuth"
    address, query = f"{client.base_url}{V11}/users", {"filter": "givenName~'a b' AND role='student'", "limit": "3"}

    def ask(header: str, requested: dict[str, str]) -> int:
        return httpx.get(
            f"{address}?{urlencode(requested)}", headers={"Authorization": header}, verify=TRUSTS_NOBODY
        ).status_code

    for method in ("HMAC-SHA1", "HMAC-SHA256"):
        header = signed(method, address, query, "of-a-test", f"{method}1")
        assert [ask(header, query), ask(header, query)] == [200, 401], "a nonce serves once"
        assert ask(signed(method, address, query, "of-a-test", f"{method}2"), query | {"limit": "4"}) == 401
        assert ask(signed(method, address, query, "wrong", f"{method}3"), query) == 401


def statuses(client: httpx.Client, path: str = f"{V12}/orgs") -> list[tuple[int, str | None]]:
    answers = [client.get(path) for _ in range(6)]
    return [(answer.status_code, answer.headers.get("retry-after")) for answer in answers]


@shows("throttle:3")
def _(client: httpx.Client) -> None:
    assert statuses(client) == [(200, None), (200, None), (429, "1")] * 2


@shows("throttle-silent:3")
def _(client: httpx.Client) -> None:
    assert statuses(client) == [(200, None), (200, None), (429, None)] * 2


@shows("bad-gateway:2")
def _(client: httpx.Client) -> None:
    assert statuses(client) == [(200, None), (502, None)] * 3


@shows("gateway-timeout:2")
def _(client: httpx.Client) -> None:
    assert statuses(client) == [(200, None), (504, None)] * 3


@shows("at-most:1")
def _(client: httpx.Client) -> None:
    query = {"sort": "familyName", "limit": "5000"}
    with ThreadPoolExecutor(8) as pool:
        rows = list(
            pool.map(lambda _: client.get(f"{BOOK}/results", params={"filter": "score>='1'"}).status_code, range(24))
        )
    assert set(rows) == {200, 429}
    assert client.get(f"{V12}/users", params=query).status_code == 200


@shows("no-code-minor")
def _(client: httpx.Client) -> None:
    answer = client.get(f"{V12}/users/nobody")
    assert answer.status_code == 404
    assert "imsx_CodeMinor" not in answer.json()


@shows("html-errors")
def _(client: httpx.Client) -> None:
    answer = client.get(f"{V12}/users/nobody")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
