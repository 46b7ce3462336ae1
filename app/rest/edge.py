"""Owns the outermost layer of every request: a trace id, a limit, one log line, and what becomes of a fault.

A fault ends here: whatever the server would log of it could hold what somebody submitted.
"""

import re
import time
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import ids
from app.core.log import log_context
from app.core.metrics import count_request
from app.rest.problem import fault, problem

LARGEST_BODY = 2 * 1024 * 1024
"""Bytes; 500 scores are about a tenth of it."""
LARGEST_FORM = 16 * 1024
"""Bytes of a token request, which nobody has to be known for."""
UPLOADS = re.compile(r"/v1/sis-sources/[^/]+/roster")
"""The one path on which more may be sent: that body goes to disk as it comes, once its sender may send it."""
LARGEST = {"/oauth/token": LARGEST_FORM}
"""Paths on which less may be sent than elsewhere."""
SHUT = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Headers of every answer that does not set them itself: most are about a person, and a new route must not forget."""
log = structlog.get_logger()


class Edge:
    """Lays a trace id on each request and its answer; the log names the route's template, never somebody's id."""

    def __init__(self, app: ASGIApp, largest_upload: int = LARGEST_BODY) -> None:
        self.app, self._largest_upload = app, largest_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace_id = uuid4().hex
        # The door adds the district and the client, once it knows them.
        with log_context(trace_id=trace_id):
            await self._pass(scope, receive, send, trace_id)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, trace_id: str) -> None:
        began = time.perf_counter()
        scope.setdefault("state", {})["trace_id"] = trace_id
        is_upload = scope["method"] == "POST" and UPLOADS.fullmatch(scope["path"]) is not None
        largest = self._largest_upload if is_upload else LARGEST.get(scope["path"], LARGEST_BODY)
        passage = _Passage(receive, send, trace_id, largest)
        request = Request(scope)
        try:
            if _announced(scope) > largest:
                passage.too_large = True
            else:
                await self.app(scope, passage.receive, passage.send)
        except Exception as error:
            answer = fault(request, error)
            if passage.status is None and not passage.too_large:
                await answer(scope, receive, passage.send)
        if passage.too_large and passage.status is None:
            more = "An operator may allow more: AIMLINE_LARGEST_UPLOAD_MB." if is_upload else "Send it in parts."
            detail = f"A body has at most {largest} bytes. {more}"
            passage.too_large = False
            await problem(request, 413, "body.too_large", "Too much at once", detail)(scope, receive, passage.send)
        route = getattr(scope.get("route"), "path", "unknown")
        status, seconds = passage.status or 500, time.perf_counter() - began
        count_request(route, scope["method"], status, seconds, _district(scope))
        took = round(seconds * 1000, 1)
        log.info("request", method=scope["method"], route=route, status=status, ms=took)


class _Passage:
    """What comes in and goes out of one request."""

    def __init__(self, receive: Receive, send: Send, trace_id: str, largest: int) -> None:
        self._receive, self._send, self._trace_id, self._largest = receive, send, trace_id, largest
        self._read = 0
        self.status: int | None = None
        self.too_large = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._largest:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        if self.too_large and self.status is None:
            return  # what the app says of a body that was cut off is not what is wrong
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message["headers"], (b"trace-id", self._trace_id.encode())]
            named = {name.lower() for name, _ in headers}
            message["headers"] = headers + [one for one in SHUT if one[0] not in named]
        await self._send(message)


def _district(scope: Scope) -> str | None:
    principal = scope["state"].get("principal")
    return ids.show("district", principal.district_id) if principal is not None else None


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
