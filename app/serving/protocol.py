"""Limits what a connection may cost before its caller is known: header bytes, idle time, number of connections.

The parser is httptools, which is written in C; the class here counts the bytes that it passes to the parser. One timer
per connection checks once a second whether the connection makes progress, so that requests need no timers.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.core.metrics import CONNECTIONS, REFUSALS
from app.serving.joined import JoinedWrites
from app.serving.refusal import answer

MAX_HEAD_BYTES: Final = 64 * 1024
"""The largest number of bytes of a request's head, and of a body's trailers."""
MAX_HEADERS: Final = 128
"""The largest number of headers of a request."""
MAX_NEGOTIATION_BYTES: Final = 2048
"""The largest total number of bytes of the headers that contain lists of choices, such as Accept.

Each item of such a list takes a microsecond to read, before the caller is known.
"""
NEGOTIATION: Final = (b"accept", b"connection", b"upgrade", b"sec-websocket-", b"te", b"prefer", b"expect")
"""The prefixes of the names of the headers that contain lists of choices."""
MAX_BODY_MARKS: Final = 16 * 1024
"""The bytes that a body's chunk markers and trailers may have, in addition to a quarter of the body's own size."""
MAX_UNWANTED_MARKS: Final = 4 * 1024
"""The bytes that markers and trailers may have once the request is answered, in addition to 1/16 of the body's size."""
MANY_MARKS: Final = 1024
"""A body with more bytes of markers than this plus 1/16 of its own size is parsed in turns with other work."""
SLICE: Final = 8 * 1024
"""The largest number of bytes that the parser reads before the limits are checked again."""
PROGRESS_PERIOD: Final = 12.0
"""The seconds within which the headers must be complete, and the length of the period of `MIN_PROGRESS`."""
MIN_PROGRESS: Final = 16 * 1024
"""The smallest number of bytes of a body that must arrive in each `PROGRESS_PERIOD`: about a kilobyte per second."""
UNREAD_LIMIT: Final = 60.0
"""The seconds after which a caller that does not read its response is disconnected."""
CHECK_INTERVAL: Final = 1.0
"""The seconds between two checks of a connection."""
MAX_PIPELINED: Final = 8
"""The largest number of pipelined requests that wait on one connection."""
MAX_DISCARDED_BYTES: Final = 4 << 20
"""The largest number of bytes of a body that are read and dropped after its request was answered."""
LINGER: Final = 1.0
"""The seconds that a refused caller has to read the response, before the connection is closed."""
MAX_LINGERING: Final = 100
CLOSING_LIMIT: Final = 10.0
"""The seconds after which a closing WebSocket is aborted if its caller does not read the remaining bytes."""
_lingering: set["BoundedProtocol"] = set()
_turns: WeakKeyDictionary[ServerState, deque[Callable[[], None]]] = WeakKeyDictionary()
"""For each server, the WebSocket handshakes and the parts of costly bodies that wait for a turn of the event loop."""


class BoundedProtocol(HttpToolsProtocol):
    """An HTTP/1.1 connection. It is closed if its caller is too slow, sends too much, or opens too many connections."""

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
        self._cycles: list[RequestResponseCycle] = []  # all unanswered requests; uvicorn keeps only the last one
        self._head_began: float | None = self.loop.time()  # None between two requests
        self._head_raw = 0  # bytes received since the head began, parsed or not
        self._head_parsed = 0  # bytes of the header fields that were parsed, trailers included
        self._headers = 0
        self._negotiation = 0  # bytes of the headers that contain lists of choices
        self._body_raw = 0
        self._body_parsed = 0
        self._rest = b""  # received and not parsed yet, while it waits for its turn
        self._is_waiting_for_upgrade = False
        self._unwanted = 0
        self._window_began = 0.0
        self._window = 0
        self._unread_since: float | None = None
        self._unread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_upgraded = False
        self._closing_since: float | None = None

    @property
    def is_idle(self) -> bool:
        """Returns whether the connection waits for the next request and has received no byte of it."""
        answered = self.cycle is not None and self.cycle.response_complete
        return answered and self._head_began is None and not self._in_body and not self.transport.is_closing()

    @property
    def _incomplete_since(self) -> float | None:
        """Returns the time since which the connection waits for a complete head, or None if it does not."""
        return None if self.transport.is_closing() or not self._is_answered else self._head_began

    @property
    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _most_marks(self) -> int:
        if self._is_answered:
            return MAX_UNWANTED_MARKS + self._body_parsed // 16
        return MAX_BODY_MARKS + self._body_parsed // 4

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._joined = JoinedWrites(transport, self.loop)
        CONNECTIONS.set(len(self.connections))
        if (arrived := self.app_state.get("arrived")) is not None:
            arrived()
        most = self._most_connections
        if most is not None and len(self.connections) > most and not self._make_room():
            detail = "This server has reached its number of connections. Try again in a moment."
            self._refuse(503, "connections.exhausted", detail)
            return
        self._timer = self.loop.call_later(CHECK_INTERVAL, self._check_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        _lingering.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._end_cycles()
        super().connection_lost(exc)
        CONNECTIONS.set(len(self.connections))

    def handle_websocket_upgrade(self) -> None:
        """Schedules the handover of the connection to the WebSocket protocol.

        After the handover, this class only limits the number of unread bytes. One connection is handed over in each
        turn of the event loop, because many handshakes in one turn would delay every other request. An upgrade is
        refused if half of all connections are WebSockets already. It is also refused while earlier requests on the
        connection are unanswered, because their responses would be mixed with the WebSocket's frames.
        """
        if self._is_refused:
            return
        if not self._is_answered or self.pipeline:
            self._refuse(400, "http.malformed", "Await the responses to earlier requests before an upgrade.")
            return
        sockets = sum(
            isinstance(other, WebSocketsSansIOProtocol) or getattr(other, "_is_waiting_for_upgrade", False)
            for other in self.connections
        )
        if self._most_connections is not None and sockets >= self._most_connections // 2:
            detail = "This server has reached its number of WebSocket connections. Try again in a moment."
            self._refuse(503, "connections.exhausted", detail)
            return
        self._is_upgraded, self._head_began = True, None
        self.transport.pause_reading()
        self._is_waiting_for_upgrade = True
        self._wait_for_turn(self._hand_over)

    def _hand_over(self) -> None:
        self._is_waiting_for_upgrade = False
        if not self.transport.is_closing():
            super().handle_websocket_upgrade()
            self.transport.resume_reading()

    def _wait_for_turn(self, work: Callable[[], None]) -> None:
        waiting = _turns.setdefault(self.server_state, deque())
        waiting.append(work)
        if len(waiting) == 1:
            self.loop.call_soon(take_turns, self.loop, waiting)

    def shutdown(self) -> None:
        """Tells the app that the server stops. Closes the connection, after the current response if there is one."""
        if (stop := self.app_state.get("stop")) is not None:
            stop()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            return
        for begin in range(0, len(data), SLICE):
            if self._is_refused or self._is_upgraded or self.transport.is_closing():
                return
            self._receive(data[begin : begin + SLICE] if len(data) > SLICE else data)
            if self._is_costly and begin + SLICE < len(data):
                self._rest = data[begin + SLICE :]
                self.transport.pause_reading()
                self._wait_for_turn(self._read_on)
                return

    @property
    def _is_costly(self) -> bool:
        """Returns whether the body arrives in many tiny chunks, which take much processor time to parse."""
        return self._in_body and self._body_raw - self._body_parsed > MANY_MARKS + self._body_parsed // 16

    def _read_on(self) -> None:
        data, self._rest = self._rest, b""
        if self._is_upgraded or self.transport.is_closing():
            return
        if not self._is_refused:
            self._receive(data[:SLICE])
        if self._is_refused:
            self.transport.resume_reading()  # further bytes are dropped, and a disconnect is noticed
        elif len(data) > SLICE:
            self._rest = data[SLICE:]
            self._wait_for_turn(self._read_on)
        elif not self.flow.read_paused:
            self.transport.resume_reading()

    def _receive(self, data: bytes) -> None:
        if self._in_body:
            self._body_raw += len(data)
        else:
            self._head_raw += len(data)
            if self._head_began is None:
                self._head_began = self.loop.time()
        super().data_received(data)
        if self._is_refused or self._is_upgraded or self.transport.is_closing():
            return
        if not self._in_body and self._head_raw > MAX_HEAD_BYTES and self._head_began is not None:
            self._refuse_head()
        elif self._in_body and self._body_raw - self._body_parsed > self._most_marks:
            self._refuse_head()  # endless trailers, or chunks of a few bytes each

    def on_message_begin(self) -> None:
        if self._is_refused:
            return
        super().on_message_begin()
        self._head_parsed = self._headers = self._negotiation = 0
        if self._head_began is None:
            self._head_began = self.loop.time()

    def on_url(self, url: bytes) -> None:
        if self._fits(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"cookie":  # no route reads cookies, and the libraries would parse them for each request
            self._fits(len(name) + len(value) + 4)
            return
        self._headers += 1
        if name.lower().startswith(NEGOTIATION):
            self._negotiation += len(value) + 2
        if self._fits(len(name) + len(value) + 4):
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_refused:
            return
        if self._head_parsed > MAX_HEAD_BYTES or self._headers > MAX_HEADERS:
            self._refuse_head()
            return
        if self._negotiation > MAX_NEGOTIATION_BYTES:
            detail = f"Accept, Connection, Upgrade and the like have at most {MAX_NEGOTIATION_BYTES} bytes together."
            self._refuse(431, "headers.too_large", detail)
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            self._is_refused = True  # waiting requests are answered, and the last response closes the connection
            self.pipeline[0][0].keep_alive = False
            return
        super().on_headers_complete()
        if self.cycle is not None:  # an upgrade has no cycle
            self.cycle.transport = self._joined  # type: ignore[assignment]  # has all methods that a response uses
            self._cycles = [*(one for one in self._cycles if not one.response_complete), self.cycle]
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
            if self._unwanted > MAX_DISCARDED_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_refused:
            return
        super().on_message_complete()
        self._in_body, self._head_raw = False, 0

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "http.malformed", "This is not an HTTP request.")

    def _fits(self, size: int) -> bool:
        self._head_parsed += size
        if self._head_parsed > MAX_HEAD_BYTES and self._in_body:
            self._refuse_head()  # trailers
        return not self._is_refused and self._head_parsed <= MAX_HEAD_BYTES and self._headers <= MAX_HEADERS

    def _refuse_head(self) -> None:
        detail = f"A request line with its headers has at most {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} headers."
        self._refuse(431, "headers.too_large", detail)

    def _check_progress(self) -> None:
        """Closes the connection if its caller makes no progress, and schedules the next check."""
        now = self.loop.time()
        if self._is_upgraded and self.transport.is_closing() and not self._is_still_closing(now):
            return
        self._timer = self.loop.call_later(CHECK_INTERVAL, self._check_progress)
        self._check_unread(now)
        if self._is_upgraded or self.transport.is_closing():
            return
        if self._in_body:
            if self.flow.read_paused or self.cycle.waiting_for_100_continue:  # our side has paused reading
                self._window_began, self._window = now, 0
            elif now - self._window_began > PROGRESS_PERIOD:
                if self._window < MIN_PROGRESS:
                    self._time_out()
                self._window_began, self._window = now, 0
        elif self._head_began is not None and now - self._head_began > PROGRESS_PERIOD and self._is_answered:
            self._time_out()

    def _is_still_closing(self, now: float) -> bool:
        """Returns whether a closing WebSocket still has bytes to send. Aborts it after `CLOSING_LIMIT` seconds."""
        self._closing_since = now if self._closing_since is None else self._closing_since
        if self.transport.get_write_buffer_size() and now - self._closing_since > CLOSING_LIMIT:
            self.transport.abort()
            return False
        return self.transport.get_write_buffer_size() > 0

    def _check_unread(self, now: float) -> None:
        unread = self.transport.get_write_buffer_size()
        if not unread or unread < self._unread or self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > UNREAD_LIMIT:
            self.transport.abort()
        self._unread = unread

    def _time_out(self) -> None:
        if self.cycle is None and not self._head_raw:
            self.transport.close()  # nothing was ever received
            return
        self._refuse(408, "request.half_sent", "The request was not completed in time.")

    def _make_room(self) -> bool:
        """Ends another connection, and returns whether there was one to end.

        It is an idle connection or, without any, the one that has been sending the head of a request for longest or has
        sent nothing since it was opened. Connections with a complete head are never ended.
        """
        others = [one for one in self.connections if isinstance(one, BoundedProtocol) and one is not self]
        for other in others:
            if other.is_idle:
                other.transport.close()
                return True
        incomplete = {one: began for one in others if (began := one._incomplete_since) is not None}
        if not incomplete:
            return False
        min(incomplete, key=incomplete.__getitem__)._time_out()
        return True

    def _end_cycles(self) -> None:
        """Reports a disconnected caller to the app for every unanswered request, and drops their responses."""
        for cycle in self._cycles:
            cycle.disconnected = not cycle.response_complete
            cycle.message_event.set()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Sends an error response, unless a response has begun; then closes the connection and drops further input."""
        if self._is_refused:
            return
        self._is_refused = True
        REFUSALS.labels(code).inc()
        self.connections.discard(self)
        has_begun = any(one.response_started and not one.response_complete for one in self._cycles)
        has_answer = has_begun or (self._in_body and self._is_answered)
        self._end_cycles()
        if has_answer or self.transport.is_closing() or len(_lingering) >= MAX_LINGERING:
            self.transport.close()
            return
        base_url = str(self.app_state.get("base_url", ""))
        self.transport.write(answer(status, code, detail, self.server_state.default_headers, base_url))
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        _lingering.add(self)
        self.loop.call_later(LINGER, self.transport.close)


def take_turns(loop: asyncio.AbstractEventLoop, waiting: deque[Callable[[], None]]) -> None:
    """Runs the first of the waiting functions; each of the others runs in a later turn of the event loop."""
    work = waiting[0]
    try:
        work()
    finally:
        waiting.popleft()
        if waiting:
            loop.call_soon(take_turns, loop, waiting)
