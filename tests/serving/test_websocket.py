"""Tests the limits of WebSocket connections: the rate of frames, the number of connections, and the time to close."""

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from app.serving import protocol
from app.serving.websocket import FRAME_BURST
from tests.serving.small_server import Connection, serving

pytestmark = pytest.mark.long

MB = 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CONTINUED, TEXT, CLOSE, PING, PONG = 0x0, 0x81, 0x88, 0x89, 0x8A


def handshake(path: str = "/", fields: bytes = b"") -> bytes:
    """Returns the bytes of a request for a WebSocket."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode() + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + fields + b"\r\n"
    )


def frame(kind: int, data: bytes = b"") -> bytes:
    """Returns a WebSocket frame of at most 125 bytes, with a mask of zeros."""
    return struct.pack("!BB4x", kind, 0x80 | len(data)) + data


FLOODS = {
    "continued": frame(TEXT & 0x0F, b"x") + frame(CONTINUED) * 200_000,
    "texts": frame(TEXT, b"{}") * 100_000,
    "pings": frame(PING) * 200_000,
    "pings with data": frame(PING, b"x" * 125) * 20_000,
    "pongs nobody asked for": frame(PONG) * 200_000,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_frames_ends_the_connection(name: str) -> None:
    """If a client sends a flood of tiny frames, its connection is closed, and other clients are still served.

    A tiny frame costs more to handle than to send.
    """
    with serving() as port, Connection(port) as connection:
        connection.send(handshake())
        assert connection.answer()[0] == 101
        began = time.process_time()
        connection.send(FLOODS[name])
        assert connection.is_closed()
        assert time.process_time() - began < 1.0  # of this process, which serves and sends
        with Connection(port) as other:
            other.send(GET)
            assert other.answer()[0] == 200


def test_a_calm_caller_is_not_ended() -> None:
    """All frames within the allowed burst are handled, even if they arrive in one piece; the last ping gets a pong."""
    with serving() as port, Connection(port) as connection:
        connection.send(handshake())
        assert connection.answer()[0] == 101
        connection.send(frame(TEXT, b"{}") * (FRAME_BURST - 2) + frame(PING, b"last"))
        assert connection.read(6) == b"\x8a\x04last"


def test_a_closing_websocket_that_is_not_read_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing WebSocket whose caller reads nothing is ended after a while, so that its place becomes free."""
    monkeypatch.setattr(protocol, "CLOSING_LIMIT", 0.3)
    monkeypatch.setattr(protocol, "CHECK_INTERVAL", 0.05)
    with serving(most_connections=4) as port:
        held = []
        for _ in range(2):
            connection = Connection(port)
            connection.send(handshake("/large"))
            assert connection.read(12) == b"HTTP/1.1 101"
            connection.send(frame(CLOSE))
            held.append(connection)
        end = time.monotonic() + 30
        status = 503
        while status == 503 and time.monotonic() < end:
            time.sleep(0.1)
            with Connection(port) as other:
                other.send(handshake())
                status = other.answer()[0]
        assert status == 101
        for connection in held:
            connection.socket.close()


def test_websockets_leave_half_of_the_connections_to_requests() -> None:
    """If half of all connections are WebSockets, another WebSocket is refused, and a request is still answered."""
    with serving(most_connections=8) as port:
        held = [Connection(port) for _ in range(4)]
        for connection in held:
            connection.send(handshake())
            assert connection.answer()[0] == 101
        with Connection(port) as other:
            other.send(handshake())
            status, answer = other.answer()
            assert (status, b"connections.exhausted" in answer) == (503, True)
        with Connection(port) as other:
            other.send(GET)
            assert other.answer()[0] == 200
        held.pop().socket.close()
        end, status = time.monotonic() + 30, 503
        while status == 503 and time.monotonic() < end:
            with Connection(port) as other:
                other.send(handshake())
                status = other.answer()[0]
        assert status == 101
        for connection in held:
            connection.socket.close()


@pytest.mark.parametrize(
    "fields",
    [b"A: b\r\n" * 200, b"A: " + b"x" * 20_000 + b"\r\n", b"Sec-WebSocket-Key: again\r\n", b"Content-Length: 5\r\n"],
    ids=["many fields", "a long field", "two keys", "a body"],
)
def test_a_bad_handshake_is_refused(fields: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A bad handshake gets an answer, and no fault is logged."""
    with serving() as port, Connection(port) as connection:
        connection.send(handshake(fields=fields) + b"12345")
        assert connection.answer()[0] in (400, 431)
        assert connection.is_closed()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_one_connection_is_handed_over_in_a_turn() -> None:
    """Between two handshakes, the event loop serves other connections, however many handshakes arrive at once."""

    done: list[str] = []
    waiting: deque[Callable[[], None]] = deque([lambda: done.append("handshake")] * 3)
    loop = asyncio.get_running_loop()
    loop.call_soon(protocol.take_turns, loop, waiting)
    for _ in range(3):
        await asyncio.sleep(0)
        done.append("other")
    assert done == ["handshake", "other"] * 3


def test_many_handshakes_at_once_are_all_answered() -> None:
    """If many clients request a WebSocket at once, half of the connections become WebSockets, and the others are
    refused.
    """
    with serving(most_connections=80) as port, ExitStack() as opened:
        callers = [opened.enter_context(Connection(port)) for _ in range(60)]
        for caller in callers:
            caller.send(handshake())
        assert sorted(caller.answer()[0] for caller in callers) == [101] * 40 + [503] * 20
