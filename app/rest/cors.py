"""Answers cross-origin requests of browsers (CORS in the Fetch standard).

Only origins that clients registered are allowed. This is the outermost layer, so that a page can also read refusals. A
preflight request has no token, so it is allowed for an origin that any client has registered. A response can be read
only by the origins of the token's own client. Cookies are never allowed, because the API does not use them.
"""

import time
from collections.abc import Sequence

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.admission import Admission
from app.core.errors import Forbidden, Unavailable
from app.core.metrics import count_request
from app.requests.origins import Origins
from app.rest.admission import token_of
from app.rest.problem import from_error

METHODS = "GET, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = (
    "Authorization, Content-Type, Aimline-Act-For, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID"
)
RESPONSE_HEADERS = (
    "ETag, Link, Location, Retry-After, RateLimit, RateLimit-Policy, Trace-Id, Idempotency-Replayed, "
    "WWW-Authenticate, Deprecation, Sunset"
)
MAX_AGE = "600"
"""The seconds for which a browser may keep the response to a preflight request.

Each actual request is checked all the same.
"""
ROUTE = "preflight"
log = structlog.get_logger()


class Cors:
    """Middleware that answers preflight requests, and adds the header with the origin that may read a response."""

    def __init__(self, app: ASGIApp, origins: Origins, admission: Admission) -> None:
        self._app, self._origins, self._admission = app, origins, admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await self._answer_preflight(origin, scope, receive, send)
            return
        added: Sequence[tuple[bytes, bytes]] = [(b"vary", b"Origin")]
        if origin and await self._may_read(origin, scope):
            added = [
                *added,
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-expose-headers", RESPONSE_HEADERS.encode()),
            ]

        async def name_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, name_origin)

    async def _may_read(self, origin: str, scope: Scope) -> bool:
        """Returns whether a page of this origin may read the response.

        If the request has a valid token, the client of the token must have registered the origin. If the request has no
        valid token, it is enough that any client has registered the origin.
        """
        try:
            return await self._origins.allow(origin, self._admission.client_of(token_of(scope)))
        except Unavailable:
            return False

    async def _answer_preflight(self, origin: str, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        scope.setdefault("state", {})
        answer: Response
        try:
            if not await self._origins.allow(origin, None):
                raise Forbidden("No client has registered this origin.", code="origin.unknown")
        except (Forbidden, Unavailable) as error:
            answer = from_error(Request(scope), error)
        else:
            answer = Response(status_code=204)
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Allow-Methods"] = METHODS
            answer.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
            answer.headers["Access-Control-Max-Age"] = MAX_AGE
        answer.headers["Vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        await answer(scope, receive, send)
        seconds = time.perf_counter() - began
        count_request(ROUTE, scope["method"], answer.status_code, seconds, None)
        log.info("request", method="OPTIONS", route=ROUTE, status=answer.status_code, ms=round(seconds * 1000, 1))
