"""Measures the processor time and the memory that the app needs for one request. The test client is not counted."""

import gc
import tracemalloc
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI

from tests.processor import least_seconds, least_seconds_awaited


@dataclass(frozen=True)
class Answer:
    """The app's response to a measured request: its status and its body."""

    status: int
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """Returns the answer as JSON."""
        content: dict[str, Any] = orjson.loads(self.body)
        return content

    @property
    def code(self) -> str | None:
        """Returns the code of the first error, or None."""
        errors = self.content.get("errors")
        code: str | None = errors[0]["extensions"]["code"] if errors else None
        return code


async def post(app: FastAPI, token: str, body: bytes) -> Answer:
    """Posts a body to /graphql, directly into the app."""
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "accept": "application/graphql-response+json",
        "content-length": str(len(body)),
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[arg-type]  # plain dicts, as a server passes them
    return Answer(sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]))


async def processor_seconds(app: FastAPI, token: str, body: bytes, limit: float = 0) -> tuple[float, Answer]:
    """Returns the least processor time of several requests in seconds, and the last answer.

    The request is repeated until it takes less than `limit` seconds, a few times at most.
    """
    answer = Answer(0, b"")

    async def ask() -> None:
        nonlocal answer
        answer = await post(app, token, body)

    gc.collect()
    gc.freeze()  # as the product does at its start: what other tests left behind is not collected in a request's time
    return await least_seconds_awaited(ask, limit), answer


async def peak_bytes(app: FastAPI, token: str, body: bytes) -> int:
    """Returns the most bytes that were allocated at once during a request."""
    tracemalloc.start()
    try:
        await post(app, token, body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def pace() -> float:
    """Returns how much slower than usual this machine is; 1 if a loop of the interpreter takes 10 ms or less."""
    return max(1.0, least_seconds(lambda: sum(number * number % 7 for number in range(100_000)), 0, tries=3) / 0.01)
