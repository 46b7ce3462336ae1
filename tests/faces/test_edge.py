"""Tests what the outermost layer answers and logs if a request ends before its response."""

import asyncio
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from app.rest.edge import Edge

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/v1/me", "query_string": b"", "headers": []}


async def run(app: Any, *received: dict[str, Any], cancelled: bool = False) -> tuple[list[Any], dict[str, Any]]:
    """Sends one request to the app; returns the messages of its response, and the line that was logged."""
    messages, sent = iter(received), []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    with capture_logs() as lines:
        task = asyncio.create_task(Edge(app)(dict(SCOPE), receive, send))
        await asyncio.sleep(0)
        if cancelled:
            task.cancel()
        await task
    return sent, dict(lines[-1])


async def test_a_cancelled_request_is_answered_as_a_problem() -> None:
    """A request that is still running when the server ends is answered with a problem (503) and all usual headers."""

    async def runs(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3600)

    sent, line = await run(runs, cancelled=True)
    headers = dict(sent[0]["headers"])
    assert (sent[0]["status"], line["status"]) == (503, 503)
    assert (headers[b"cache-control"], headers[b"x-content-type-options"]) == (b"no-store", b"nosniff")
    assert headers[b"trace-id"]
    assert orjson.loads(sent[1]["body"])["code"] == "outcome.unknown"


@pytest.mark.parametrize(("message", "status"), [("http.disconnect", 499), ("http.request", 500)])
async def test_a_client_that_leaves_is_not_counted_as_a_fault(message: str, status: int) -> None:
    """A request without an answer is logged with the status 499 if the client has disconnected, and otherwise with 500.

    Therefore a client cannot cause an alarm about server errors by disconnecting.
    """

    async def leaves(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    sent, line = await run(leaves, {"type": message})
    assert (sent, line["status"]) == ([], status)
