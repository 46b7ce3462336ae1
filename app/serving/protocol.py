"""Owns what a connection may cost before anybody is known: header bytes, waiting, how many there are. Reads no request.

The parser stays httptools', in C; this class counts what goes through it. One timer a connection looks once a second
whether it still moves, so that a request pays for no timer of its own.
"""

import asyncio
from typing import Any, Final
from uuid import uuid4

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from app.core.metrics import CONNECTIONS, REFUSALS

LARGEST_HEAD: Final = 64 * 1024
"""Bytes of a request line with its headers, and of trailers and chunk marks beyond the body."""
HALF_SENT: Final = 12.0
"""Seconds in which a head must be complete, and in each of which windows a body must make progress."""
LEAST_PROGRESS: Final = 16 * 1024
"""Bytes of a body in such a window: about a kilobyte a second."""
UNREAD: Final = 60.0
"""Seconds after which a caller that takes nothing of its answer is cut off."""
LOOK: Final = 1.0
"""Seconds between two looks at a connection."""
MOST_PIPELINED: Final = 64
"""Requests that wait on one connection for the answer to the one before."""
MOST_UNWANTED: Final = 4 << 20
"""Bytes of a body that are still taken, and dropped, after its request was answered."""
LINGER: Final = 1.0
"""Seconds for a refused caller to read why; without them the unread request would reset the connection."""
MOST_LINGERING: Final = 100
_lingering: set["BoundedProtocol"] = set()


class BoundedProtocol(HttpToolsProtocol):
    """An HTTP/1.1 connection with bounds. `limit_concurrency` of the configuration is the number of connections."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._most_connections, self.limit_concurrency = config.limit_concurrency, None
        self._is_refused = False
        self._in_body = False
        self._head_began: float | None = self.loop.time()  # None between two requests
        self._head_raw = 0  # bytes since the head began, parsed or not
        self._head_parsed = 0  # bytes of the fields that the parser has given, trailers included
        self._body_raw = 0
        self._body_parsed = 0
        self._unwanted = 0
        self._window_began = 0.0
        self._window = 0
        self._unread_since: float | None = None
        self._unread = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it waits for the next request, and nothing of it has come."""
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self._head_began is None and not self._in_body and not self.transport.is_closing()

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        CONNECTIONS.set(len(self.connections))
        most = self._most_connections
        if most is not None and len(self.connections) > most and not self._close_an_idle_one():
            detail = "This server has as many connections as it takes. Try again in a moment."
            self._refuse(503, "connections.exhausted", "Too many connections", detail)
            return
        self._timer = self.loop.call_later(LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        _lingering.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        CONNECTIONS.set(len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._in_body:
            self._body_raw += len(data)
        else:
            self._head_raw += len(data)
            if self._head_began is None:
                self._head_began = self.loop.time()
        super().data_received(data)
        if self._is_refused or self.transport.is_closing():
            return
        if not self._in_body and self._head_raw > LARGEST_HEAD and self._head_began is not None:
            self._refuse_head()
        elif self._in_body and self._body_raw - self._body_parsed > LARGEST_HEAD + 8 * self._body_parsed:
            self._refuse_head()  # trailers, or marks of chunks, without end

    def on_message_begin(self) -> None:
        if self._is_refused:
            return
        super().on_message_begin()
        self._head_parsed = 0
        if self._head_began is None:
            self._head_began = self.loop.time()

    def on_url(self, url: bytes) -> None:
        if self._fits(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._fits(len(name) + len(value) + 4):
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_refused:
            return
        if self._head_parsed > LARGEST_HEAD:
            self._refuse_head()
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            self._is_refused = True  # what waits is answered, and the last answer closes the connection
            self.pipeline[0][0].keep_alive = False
            return
        super().on_headers_complete()
        self._in_body, self._head_began = True, None
        self._head_raw = self._body_raw = self._body_parsed = self._unwanted = self._window = 0
        self._window_began = self.loop.time()

    def on_body(self, body: bytes) -> None:
        if self._is_refused:
            return
        self._body_parsed += len(body)
        self._window += len(body)
        if self.cycle.response_complete:
            self._unwanted += len(body)
            if self._unwanted > MOST_UNWANTED:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_refused:
            return
        super().on_message_complete()
        self._in_body, self._head_raw = False, 0

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "http.malformed", "Bad request", "This is not an HTTP request.")

    def _fits(self, size: int) -> bool:
        self._head_parsed += size
        if self._head_parsed > LARGEST_HEAD and self._in_body:
            self._refuse_head()  # trailers
        return not self._is_refused and self._head_parsed <= LARGEST_HEAD

    def _refuse_head(self) -> None:
        detail = f"A request line with its headers has at most {LARGEST_HEAD} bytes."
        self._refuse(431, "headers.too_large", "Headers too large", detail)

    def _look(self) -> None:
        """Closes the connection where the caller does not move."""
        now = self.loop.time()
        self._timer = self.loop.call_later(LOOK, self._look)
        self._look_at_answer(now)
        if self.transport.is_closing():
            return
        if self._in_body:
            if self.flow.read_paused or self.cycle.waiting_for_100_continue:  # it is we who do not read
                self._window_began, self._window = now, 0
            elif now - self._window_began > HALF_SENT:
                if self._window < LEAST_PROGRESS:
                    self._time_out()
                self._window_began, self._window = now, 0
        elif self._head_began is not None and now - self._head_began > HALF_SENT and self._is_answered:
            self._time_out()

    def _look_at_answer(self, now: float) -> None:
        unread = self.transport.get_write_buffer_size()
        if not unread or unread < self._unread or self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > UNREAD:
            self.transport.abort()
        self._unread = unread

    def _time_out(self) -> None:
        if self.cycle is None and not self._head_raw:
            self.transport.close()  # it never said anything
            return
        self._refuse(408, "request.half_sent", "Not all of it came", "The request was begun and did not go on.")

    def _close_an_idle_one(self) -> bool:
        for other in self.connections:
            if isinstance(other, BoundedProtocol) and other is not self and other.is_idle:
                other.transport.close()
                return True
        return False

    def _refuse(self, status: int, code: str, title: str, detail: str) -> None:
        """Answers, where an answer has not begun, and closes; what still comes is dropped."""
        if self._is_refused:
            return
        self._is_refused = True
        REFUSALS.labels(code).inc()
        self.connections.discard(self)
        has_answer = False
        if self.cycle is not None:
            is_complete = self.cycle.response_complete
            has_answer = self._in_body if is_complete else self.cycle.response_started
            if not is_complete:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        if has_answer or self.transport.is_closing() or len(_lingering) >= MOST_LINGERING:
            self.transport.close()
            return
        self.transport.write(answer(status, code, title, detail, self.server_state.default_headers))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        _lingering.add(self)
        self.loop.call_later(LINGER, self.transport.close)


def answer(status: int, code: str, title: str, detail: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A problem (RFC 9457) as the bytes of a whole answer, of the same shape as the app's."""
    trace_id = uuid4().hex
    problem = {"type": f"urn:aimline:problem:{code}", "title": title, "status": status, "detail": detail}
    body = orjson.dumps(problem | {"trace_id": trace_id, "violations": []})
    lines = [
        *headers,
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"trace-id", trace_id.encode()),
        (b"connection", b"close"),
    ]
    if status == 503:
        lines.append((b"retry-after", b"1"))
    return b"".join([STATUS_LINE[status], *(name + b": " + value + b"\r\n" for name, value in lines), b"\r\n", body])
