"""Tests that large answers are compressed, and that the length of a compressed answer never reveals a secret."""

import gzip
from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from app.core import ids
from app.rest.compress import MIN_BYTES
from tests.faces.rest_town import Caller, caller
from tests.town import Town


async def raw(client: Caller, method: str, path: str, accepts: str, body: Any = None) -> tuple[dict[str, str], bytes]:
    """Returns the headers and the bytes of an answer without decompressing them."""
    sent, content = b"" if body is None else orjson.dumps(body), [b"content-type", b"application/json"]
    headers = [(b"authorization", f"Bearer {client.token}".encode()), (b"accept-encoding", accepts.encode()), content]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await client.app(scope, receive, send)
    assert messages[0]["status"] < 300, messages
    named = {name.decode(): value.decode() for name, value in reversed(messages[0]["headers"])}
    named["vary"] = ", ".join(value.decode() for name, value in messages[0]["headers"] if name == b"vary")
    return named, b"".join(message.get("body", b"") for message in messages[1:])


async def concerns(app: FastAPI, north: Town) -> Caller:
    """A client with a list that is large enough to be compressed."""
    client = caller(app, north)
    area = ids.format_id("area", next(iter(north.areas.values())))
    student = ids.format_id("student", north.students["amy"])
    for _ in range(5):
        await client.post("/v1/concerns", {"student": student, "area": area, "description": "Quiet. " * 50})
    return client


async def test_a_large_answer_is_compressed(app: FastAPI, north: Town) -> None:
    """A large answer is compressed for clients that accept it, and has the header Vary."""
    client = await concerns(app, north)
    headers, plain_bytes = await raw(client, "GET", "/v1/concerns", "identity")
    assert "content-encoding" not in headers
    assert "Accept-Encoding" in headers["vary"]
    for accepts in ("gzip", "br, GZIP;q=0.5"):
        headers, small = await raw(client, "GET", "/v1/concerns", accepts)
        assert headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in headers["vary"]
        assert int(headers["content-length"]) == len(small) < len(plain_bytes) / 3
        assert gzip.decompress(small) == plain_bytes


@pytest.mark.parametrize("accepts", ["gzip;q=0", "gzip; q=0.000, br", "br", ""])
async def test_who_does_not_accept_it_gets_it_plain(app: FastAPI, north: Town, accepts: str) -> None:
    """A client that does not accept gzip, or gives it weight zero, gets the answer uncompressed."""
    headers, _ = await raw(await concerns(app, north), "GET", "/v1/concerns", accepts)
    assert "content-encoding" not in headers


async def test_an_answer_with_a_secret_is_not_compressed(app: FastAPI, north: Town) -> None:
    """An answer with a secret is not compressed, because lengths could reveal it."""
    client, long = caller(app, north), "whsec_" * 300
    new = {"url": "http://127.0.0.1:9999/hook", "event_types": ["concern.raised"], "description": long[:500]}
    new["event_types"] = [one["name"] for one in (await client.get("/v1/event-types")).json()["items"]]
    headers, body = await raw(client, "POST", "/v1/webhook-endpoints", "gzip", new)
    assert len(body) > MIN_BYTES
    assert b"whsec_" in body
    assert "content-encoding" not in headers
    path = "/v1/webhook-endpoints/" + (await client.get("/v1/webhook-endpoints")).json()["items"][0]["id"]
    headers, body = await raw(client, "POST", f"{path}/rotate", "gzip", {})
    assert len(body) > MIN_BYTES
    assert "content-encoding" not in headers
    headers, _ = await raw(client, "GET", path, "gzip")
    assert headers["content-encoding"] == "gzip"


async def test_the_tag_serves_over_any_coding(app: FastAPI, north: Town) -> None:
    """An ETag is valid for the compressed and the uncompressed answer alike."""
    client = await concerns(app, north)
    path = "/v1/concerns/" + (await client.get("/v1/concerns")).json()["items"][0]["id"]
    headers, _ = await raw(client, "GET", path, "gzip")
    answer = await client.ask("GET", path, headers={"If-None-Match": headers["etag"], "Accept-Encoding": "identity"})
    assert answer.status_code == 304
