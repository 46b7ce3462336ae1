"""Wraps every request: assigns the trace id, limits the body's size, writes one log line, and handles faults.

Faults are handled here, because the server's own log could contain submitted values.
"""

import asyncio
import re
import time
from contextlib import suppress
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import ids
from app.core.log import log_context
from app.core.metrics import count_request
from app.rest.problem import fault, problem

MAX_BODY_BYTES = 2 * 1024 * 1024
"""The size of the largest body in bytes; 500 scores need about a tenth of it."""
MAX_FORM_BYTES = 16 * 1024
"""The largest token request in bytes; it is small, because its sender is not authenticated yet."""
UPLOADS = re.compile(r"/v1/sis-sources/[^/]+/(roster|scores)")
"""The only paths whose bodies may exceed `MAX_BODY_BYTES`. Such a body goes to disk as it arrives, after the sender was
authorized.
"""
MAX_PARAMETERS = 1000
"""The parameters that an address may have. Each one is decoded and checked, also with a name that no operation has."""
MAX_BYTES_BY_PATH = {"/oauth/token": MAX_FORM_BYTES}
"""The paths with a smaller limit."""
DEFAULT_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""The headers that are added to a response if the response does not set them.

They forbid caches, because most responses are about a person.
"""
CLIENT_GONE = 499
"""The status that is logged for a request whose client disconnected before it was answered; no client receives it."""
LAST_ANSWER_SECONDS = 1.0
"""The seconds within which the caller must receive the last response, if the server stops during a request."""
STOPPED = (
    "The server stopped before the request was complete. If it was to change something, it is not known whether it "
    "did; send it again with the same Idempotency-Key, or read first what it would have changed."
)
log = structlog.get_logger()


class Edge:
    """Middleware that gives each request and its response a trace id.

    It logs the route's template, and never an id from the path.
    """

    def __init__(self, app: ASGIApp, largest_upload: int = MAX_BODY_BYTES) -> None:
        self.app, self._largest_upload = app, largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace_id = uuid4().hex
        # Authentication later adds the district and the client to the log's context.
        with log_context(trace_id=trace_id):
            await self._handle(scope, receive, send, trace_id)

    async def _handle(self, scope: Scope, receive: Receive, send: Send, trace_id: str) -> None:
        began = time.perf_counter()
        scope.setdefault("state", {})["trace_id"] = trace_id
        is_upload = scope["method"] == "POST" and UPLOADS.fullmatch(scope["path"]) is not None
        largest = self._largest_upload if is_upload else MAX_BYTES_BY_PATH.get(scope["path"], MAX_BODY_BYTES)
        exchange = _Exchange(receive, send, trace_id, largest)
        request = Request(scope)
        try:
            if scope["query_string"].count(b"&") >= MAX_PARAMETERS:
                detail = f"An address has at most {MAX_PARAMETERS} parameters."
                await problem(request, 400, "query.too_many", detail)(scope, receive, exchange.send)
            elif _content_length(scope) > largest:
                exchange.too_large = True
            else:
                await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # The server shuts down and cancels running requests; its own response would be a bare 500.
            if exchange.status is None and not exchange.too_large:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LAST_ANSWER_SECONDS):
                        await problem(request, 503, "outcome.unknown", STOPPED)(scope, receive, exchange.send)
        except Exception as error:
            answer = fault(request, error)
            if exchange.status is None and not exchange.too_large:
                await answer(scope, receive, exchange.send)
        if exchange.too_large and exchange.status is None:
            hint = "An operator may allow more: AIMLINE_LARGEST_UPLOAD_MB." if is_upload else "Send it in parts."
            detail = f"A body has at most {largest} bytes. {hint}"
            exchange.too_large = False
            await problem(request, 413, "body.too_large", detail)(scope, receive, exchange.send)
        route = getattr(scope.get("route"), "path", "unknown")
        # The duration of a stream is the time to its first message, because the client decides how long it lasts.
        ended = exchange.began if scope["state"].get("is_stream") and exchange.began else time.perf_counter()
        status, seconds = exchange.status or (CLIENT_GONE if exchange.is_gone else 500), ended - began
        count_request(route, scope["method"], status, seconds, _district(scope))
        took = round(seconds * 1000, 1)
        log.info("request", method=scope["method"], route=route, status=status, ms=took)


class _Exchange:
    """One request and its response. It counts the bytes of the body, and adds the headers that every response has."""

    def __init__(self, receive: Receive, send: Send, trace_id: str, largest: int) -> None:
        self._receive, self._send, self._trace_id, self._largest = receive, send, trace_id, largest
        self._read = 0
        self.status: int | None = None
        self.began: float | None = None
        self.too_large = self.is_gone = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.is_gone = self.is_gone or message["type"] == "http.disconnect"
        self._read += len(message.get("body", b""))
        if self._read > self._largest:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self.too_large and self.status is None:
            return  # The app's own response would only say that the body ended too early.
        if message["type"] == "http.response.start":
            self.status, self.began = message["status"], time.perf_counter()
            headers = [*message["headers"], (b"trace-id", self._trace_id.encode())]
            sent_names = {name.lower() for name, _ in headers}
            message["headers"] = headers + [header for header in DEFAULT_HEADERS if header[0] not in sent_names]
        await self._send(message)


def _district(scope: Scope) -> str | None:
    principal = scope["state"].get("principal")
    return ids.format_id("district", principal.district_id) if principal is not None else None


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
