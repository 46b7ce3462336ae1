"""Tests the proxies of `docs/deploy.md` in front of the api: the requests that they pass on, and their limits."""

import io
import time
import zipfile
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from app.settings import Settings
from tests.faces.rest_town import caller
from tests.operations.proxy_town import COMMANDS, Proxied, echoing, is_installed, proxied, serving
from tests.sis.roster_zip import Export
from tests.town import Town

pytestmark = pytest.mark.long

CANARY = "203.0.113.9"
PROXIES = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"{name} is not installed"))
    for name in COMMANDS
]


@pytest.fixture(scope="module", params=PROXIES)
def name(request: pytest.FixtureRequest) -> str:
    """Returns the name of the proxy under test."""
    return str(request.param)


@pytest.fixture(scope="module")
def api(name: str, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Yields the proxy in front of `aimline serve`."""
    with serving(settings) as port, proxied(name, tmp_path_factory.mktemp(name), port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def echo(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Runs a proxy in front of an app that describes the requests it receives, and yields the proxy."""
    with echoing() as port, proxied(name, tmp_path_factory.mktemp(name), port) as proxy:
        yield proxy


def test_the_api_answers_over_tls(api: Proxied) -> None:
    """The api answers over TLS with its headers and HSTS, and no header names the software."""
    with api.client() as client:
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert len(answer.headers["trace-id"]) == 32
        assert "uvicorn" not in answer.headers.get("server", "").lower()
        missing = client.get("/v1/students")
        assert missing.status_code == 401
        assert missing.headers["content-type"] == "application/problem+json"
        assert "www-authenticate" in missing.headers


def test_plain_http_is_sent_on_to_https(api: Proxied) -> None:
    """The proxy redirects a request by plain HTTP to HTTPS."""
    with api.client() as client:
        answer = client.get(f"http://localhost:{api.plain_port}/v1/students?limit=1")
    assert answer.status_code == 308
    assert answer.headers["location"].startswith("https://localhost")


def test_the_callers_address_is_the_real_one(echo: Proxied) -> None:
    """The address that the api gets is that of the caller, whatever headers the caller sends."""
    lies = {"X-Forwarded-For": CANARY, "X-Forwarded-Proto": "http", "Forwarded": f"for={CANARY}", "X-Real-IP": CANARY}
    with echo.client("127.0.0.2") as client:
        body = client.get("/", headers=lies).json()
    assert (body["client"], body["scheme"]) == ("127.0.0.2", "https")
    assert CANARY not in body["headers"]["x-forwarded-for"]
    assert body["headers"]["host"].partition(":")[0] == "localhost"


def test_a_body_that_is_too_large_gets_the_apis_own_answer(api: Proxied) -> None:
    """A body above the api's limit gets the api's own problem details.

    The proxy's limit is a little higher. The proxy refuses a body above its own limit with 413. Caddy sends the body on
    while it counts the bytes, and may therefore answer 502 instead.
    """
    with api.client() as client:
        larger = client.post("/v1/scores", content=b"x" * (2 * 1024 * 1024 + 1000))
        assert (larger.status_code, larger.headers["content-type"]) == (413, "application/problem+json")
        assert client.post("/v1/scores", content=b"x" * (4 * 1024 * 1024)).status_code in (413, 502)


def test_headers_that_are_too_long_end_at_the_proxy(api: Proxied) -> None:
    """Headers that are too long are refused by the proxy and do not reach the api."""
    with api.client() as client:
        assert client.get("/health/live", headers={"X-Much": "x" * 200_000}).status_code in (400, 431, 494)
        assert client.get("/health/live").status_code == 200


def test_a_roster_zip_passes_as_it_comes(api: Proxied, app: FastAPI, north: Town) -> None:
    """A roster zip that is larger than any other body and is sent slowly passes the proxy unchanged."""
    packed = io.BytesIO(Export().packed())
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("notes.bin", bytes(range(256)) * (1 << 16))
    whole = packed.getvalue()
    assert len(whole) > 1 << 12

    def slowly() -> Iterator[bytes]:
        step = len(whole) // 4 + 1
        for begin in range(0, len(whole), step):
            time.sleep(0.5)
            yield whole[begin : begin + step]

    token = {"Authorization": f"Bearer {caller(app, north).token}"}
    with api.client() as client:
        source = {"name": "sent", "kind": "oneroster-csv", "url": "upload:"}
        made = client.post("/v1/sis-sources", json=source, headers=token)
        assert made.status_code == 201, made.text
        sent = client.post(
            f"/v1/sis-sources/{made.json()['id']}/roster",
            content=slowly(),
            headers={**token, "Content-Type": "application/zip"},
        )
        assert sent.status_code == 202, sent.text


def test_a_large_roster_zip_is_let_through(echo: Proxied) -> None:
    """A roster zip of 40 MB reaches the server, although bodies on other paths are limited to 3 MB.

    A body of this size on another path gets 413. Caddy sends a body on while it counts the bytes, and may therefore
    answer 502 instead.
    """
    with echo.client() as client:
        body = client.post("/v1/sis-sources/src_1/roster", content=bytes(40_000_000)).json()
        assert body["bytes"] == 40_000_000
        assert client.post("/v1/sis-sources/src_1/rosters", content=bytes(40_000_000)).status_code in (413, 502)


def test_a_half_sent_request_is_ended(api: Proxied) -> None:
    """An incomplete request is ended within a minute, by the proxy or by the api, and does not get a response of the
    api.
    """
    with api.connect() as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Half: ")
        began = time.monotonic()
        while connection.recv(4096):
            pass
        assert time.monotonic() - began < 60


def test_connections_to_the_api_are_kept(api: Proxied) -> None:
    """Connections to the api are kept, and none is used after the api has closed it."""
    with api.client() as client:
        for pause in (0, 0, 0, 6, 0):
            time.sleep(pause)
            assert client.get("/health/live").status_code == 200
