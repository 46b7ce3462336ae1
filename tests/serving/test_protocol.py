"""Tests limits on connections whose caller is not known yet: on sizes, on times, and on the number of connections."""

import json
import resource
import sys
import time
from collections.abc import Callable

import pytest

from app.serving import protocol
from tests.serving.small_server import LARGE, Connection, faults, gone, serving

pytestmark = pytest.mark.long

KB, MB = 1 << 10, 1 << 20
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets time limits that are short enough for a test."""
    monkeypatch.setattr(protocol, "PROGRESS_PERIOD", 0.6)
    monkeypatch.setattr(protocol, "CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(protocol, "UNREAD_LIMIT", 1.0)


def head(fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    """Returns the bytes of a request with these header fields."""
    return line + b"\r\nHost: x\r\n" + fields + b"\r\n"


TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "one long field": lambda: head(b"A: " + b"x" * 65 * KB + b"\r\n"),
    "many short fields": lambda: head(b"a: b\r\n" * 12_000),
    "fields without a value": lambda: head(b"a:\r\n" * 20_000),
    "a long name": lambda: head(b"a" * 65 * KB + b": x\r\n"),
    "a long path": lambda: head(b"", b"GET /" + b"x" * 65 * KB + b" HTTP/1.1"),
    "a field that does not end": lambda: b"GET / HTTP/1.1\r\nA: " + b"x" * 8 * MB,
    "a path that does not end": lambda: b"GET /" + b"x" * 8 * MB,
    "fields that do not end": lambda: b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * MB,
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_head_beyond_64_kb_is_refused(name: str) -> None:
    """A head of more than 64 kB gives 431 as a problem, whatever it contains and however it is split.

    The connection then ends.
    """
    with serving() as port:
        for size in (256 * KB, 1000):
            data = TOO_LARGE[name]()[: 256 * KB]
            with Connection(port) as connection:
                for begin in range(0, len(data), size):
                    if not connection.send(data[begin : begin + size]):
                        break
                status, answer = connection.answer()
                assert status == 431, (name, size, answer[:200])
                body = json.loads(answer.partition(b"\r\n\r\n")[2])
                assert body["code"] == "headers.too_large"
                assert body.keys() == {"type", "code", "title", "status", "detail", "trace_id", "violations"}
                assert b"cache-control: no-store" in answer
                assert connection.is_closed()


def test_a_head_within_64_kb_is_taken() -> None:
    """Headers of up to 64 kB are accepted, also in the second request of a connection."""
    with serving() as port, Connection(port) as connection:
        for _ in range(3):
            connection.send(head(b"A: " + b"x" * 60 * KB + b"\r\n"))
            assert connection.answer()[0] == 200


def test_memory_does_not_grow_with_what_is_sent() -> None:
    """If twenty callers send 30 MB of headers each, the server's memory grows by less than 30 MB in total."""
    with serving() as port:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        part = b"x" * MB
        for _ in range(20):
            with Connection(port) as connection:
                connection.send(b"GET / HTTP/1.1\r\nA: ")
                for _ in range(30):
                    if not connection.send(part):
                        break
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown * (1 if sys.platform == "darwin" else KB) < 30 * MB


def test_trailers_and_marks_of_chunks_are_bounded() -> None:
    """The trailers of a chunked body count as headers, and the extensions of its chunks are limited."""
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for tail in (b"0\r\n" + b"a: b\r\n" * 50_000, b"0\r\nA: " + b"x" * 300 * KB, b"1;" + b"x" * 300 * KB):
        with serving() as port, Connection(port) as connection:
            connection.send(chunked)
            for begin in range(0, len(tail), 10_000):
                if not connection.send(tail[begin : begin + 10_000]):
                    break
            assert connection.answer()[0] in (0, 431), tail[:10]
            assert connection.is_closed()
    with serving() as port, Connection(port) as connection:
        connection.send(chunked + b"1\r\nx\r\n" * 2_500 + b"0\r\nA: b\r\n\r\n" + GET)
        assert connection.answer()[1].endswith(b"\r\n\r\n2500")
        assert connection.answer()[0] == 200


def test_an_upgrade_awaits_earlier_responses() -> None:
    """An upgrade to a WebSocket waits for earlier responses, which could otherwise come between the WebSocket's
    frames.
    """
    upgrade = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with serving() as port, Connection(port) as connection:
        connection.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + upgrade)
        assert connection.answer()[0] in (0, 400)
        assert connection.is_closed()
    with serving() as port, Connection(port) as connection:
        connection.send(GET)
        assert connection.answer()[0] == 200
        connection.send(upgrade)
        assert connection.answer()[0] == 101


def test_chunks_of_one_byte_are_bounded() -> None:
    """Many chunks of one byte are refused, because each costs as much as a large one. Chunks of 64 bytes are
    accepted.
    """
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for chunk, number, statuses in ((b"1\r\nx\r\n", 200_000, {0, 431}), (b"40\r\n%s\r\n" % (b"x" * 64), 3125, {200})):
        with serving() as port, Connection(port) as connection:
            connection.send(chunked)
            for _ in range(25):
                if not connection.send(chunk * (number // 25)):
                    break
            connection.send(b"0\r\n\r\n")
            assert connection.answer()[0] in statuses


def test_the_limit_of_waiting_is_under_15_seconds() -> None:
    """A connection without progress is ended within 15 seconds, including the time between two checks."""
    assert protocol.PROGRESS_PERIOD + 2 * protocol.CHECK_INTERVAL < 15


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", 408),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf", 408),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 408),
        (GET + b"GET / HT", 200),
    ],
)
def test_a_request_that_is_half_sent_is_closed(data: bytes, status: int) -> None:
    """If a request stays incomplete until the time limit, it gets an error, and the connection is closed."""
    with serving() as port, Connection(port) as connection:
        connection.send(data)
        assert connection.answer()[0] == status
        assert connection.is_closed()


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nA: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_byte_now_and_then_does_not_keep_a_request_open(start: bytes) -> None:
    """A request whose bytes arrive very slowly is ended: a head has one time limit, and a body must make progress."""
    with serving() as port, Connection(port) as connection:
        connection.send(start)
        deadline = time.monotonic() + 60
        while connection.send(b"x"):
            time.sleep(0.05)
            assert time.monotonic() < deadline


@pytest.mark.usefixtures("short")
def test_who_moves_or_waits_for_us_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limits do not end a connection that makes progress, is idle, or waits for the server's response."""
    monkeypatch.setattr(protocol, "PROGRESS_PERIOD", 2.0)  # on a busy machine a byte may take long
    with serving() as port, Connection(port) as idle, Connection(port) as waiting, Connection(port) as moving:
        idle.send(GET)
        assert idle.answer()[0] == 200
        waiting.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        moving.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (20 * 20 * KB))
        for _ in range(20):
            time.sleep(0.15)
            assert moving.send(b"x" * 20 * KB)
        assert moving.answer()[1].endswith(str(20 * 20 * KB).encode())
        idle.send(GET)
        assert idle.answer()[0] == 200
        waiting.socket.settimeout(0.2)
        assert not waiting.is_closed()


@pytest.mark.usefixtures("short")
def test_who_does_not_take_an_answer_is_cut_off() -> None:
    """A caller that does not read its response is disconnected."""
    with serving() as port, Connection(port) as connection:
        connection.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(5)  # five times the limit: a busy machine looks late
        read = 0
        connection.socket.settimeout(5)
        try:
            while data := connection.socket.recv(MB):
                read += len(data)
        except OSError:
            pass
        assert read < 32 * MB


def test_a_body_that_nobody_wants_is_not_read_to_its_end() -> None:
    """The body of a refused request is not read to its end."""
    with serving() as port, Connection(port) as connection:
        connection.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (100 * MB))
        assert connection.answer()[0] == 200
        sent = 0
        while sent < 100 and connection.send(b"x" * MB):
            sent += 1
        assert sent < 100


def test_connections_are_bounded_and_idle_ones_make_room() -> None:
    """At the maximum number of connections, a new connection takes the place of an idle one.

    If no connection is idle, the new one gets 503.
    """
    with serving(most_connections=3) as port:
        idle = [Connection(port) for _ in range(3)]
        for one in idle:
            one.send(GET)
            assert one.answer()[0] == 200
        busy = [Connection(port) for _ in range(3)]
        for one in busy:
            one.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        assert all(one.is_closed() for one in idle)
        with Connection(port) as late:
            late.send(GET)
            status, answer = late.answer()
            assert status == 503
            assert b"retry-after: 1" in answer
            assert b"connections.exhausted" in answer
            assert late.is_closed()
        for one in busy:
            one.send(b"12345")
            assert one.answer()[0] == 200
        with Connection(port) as repeated:
            repeated.send(GET)
            assert repeated.answer()[0] == 200
        for one in idle + busy:
            one.socket.close()


@pytest.mark.parametrize(("sent", "status"), [(b"", 0), (b"GET / HTTP/1.1\r\nHost: x\r\n", 408)])
def test_connections_without_a_request_shut_nobody_out(sent: bytes, status: int) -> None:
    """At the maximum number of connections, a new one takes the place of the oldest that has sent no complete head.

    A thousand silent connections of one caller once kept everybody else out until their time limit.
    """
    with serving(most_connections=3) as port:
        silent = [Connection(port) for _ in range(3)]
        for one in silent:
            one.send(sent)
        time.sleep(0.2)
        for number in range(3):
            with Connection(port) as late:
                late.send(GET)
                assert late.answer()[0] == 200, number
        assert silent[0].answer()[0] == status
        assert silent[0].is_closed()
        for one in silent:
            one.socket.close()


def test_pipelined_requests_are_answered_in_order_and_bounded() -> None:
    """Pipelined requests are answered in order, and their number is limited."""
    with serving() as port:
        with Connection(port) as connection:
            connection.send(
                b"".join(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % n + b"x" * n for n in range(8))
            )
            assert [connection.answer()[1].rpartition(b"\n")[2] for _ in range(8)] == [b"%d" % n for n in range(8)]
        with Connection(port) as connection:
            connection.send(GET * 5000)
            answered = 0
            while connection.answer()[0] == 200:
                answered += 1
            assert 1 <= answered < 5000


@pytest.mark.parametrize("path", ["/wait", "/stream"])
def test_a_refusal_ends_the_requests_before_it(path: str) -> None:
    """If a pipelined request is refused, the app notices that the caller of the running request is gone.

    The refusal is not written between the parts of an answer that has begun.
    """
    gone.clear()
    refused = head(b"Transfer-Encoding: chunked\r\n", b"POST / HTTP/1.1") + b"x\r\n"
    with serving() as port, Connection(port) as connection:
        connection.send(head(b"", f"GET {path} HTTP/1.1".encode()))
        if path == "/stream":
            assert connection.read(17) == b"HTTP/1.1 200 OK\r\n"
        connection.send(refused)
        assert (b"400 Bad Request" in connection.read(MB)) == (path == "/wait")
        deadline = time.monotonic() + 10
        while not gone and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gone == [path]


@pytest.mark.usefixtures("short")
def test_waiting_requests_are_dropped_with_their_connection() -> None:
    """If a caller who reads no answer is cut off, the app can send the answers to pipelined requests without an error.

    Such an error would be logged as a fault of the product.
    """
    faults.clear()
    with serving() as port, Connection(port) as connection:
        connection.send(head(b"", b"GET /large HTTP/1.1") * 5)
        time.sleep(3)  # the limit for unread answers is one second
        assert len(connection.read(6 * len(LARGE))) < 5 * len(LARGE)
    assert faults == []


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"NOT HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n"]
)
def test_what_is_not_http_is_refused_as_a_problem(data: bytes) -> None:
    """Bytes that are no HTTP request (TLS on a plain port, noise, an invalid character) get 400, and the connection
    ends.
    """
    with serving() as port, Connection(port) as connection:
        connection.send(data)
        assert connection.answer()[0] == 400
        assert connection.is_closed()


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"])
@pytest.mark.parametrize("name", [b"Accept", b"accept-encoding", b"Connection", b"Upgrade", b"Sec-WebSocket-Protocol"])
def test_long_lists_of_choices_are_refused(name: bytes, upgrade: bytes) -> None:
    """A header with thousands of items, separated by commas, is refused with 431 before the items are read.

    The items may be in one header or in several, with and without an upgrade.
    """
    with serving() as port:
        for fields in (name + b": " + b"a," * 2_000 + b"a\r\n", (name + b": " + b",," * 100 + b"a\r\n") * 11):
            with Connection(port) as connection:
                connection.send(head(upgrade + fields))
                status, answer = connection.answer()
                assert (status, json.loads(answer.partition(b"\r\n\r\n")[2])["code"]) == (431, "headers.too_large")


def test_the_number_of_headers_is_bounded() -> None:
    """A request with 128 headers is read; one with more is refused."""
    with serving() as port:
        for others, expected in ((127, 200), (128, 431)):
            with Connection(port) as connection:
                connection.send(head(b"a: b\r\n" * others))
                assert connection.answer()[0] == expected


def test_cookies_are_counted_and_never_parsed() -> None:
    """Cookies are limited in size and never parsed, so that a cookie that takes seconds to parse does no harm."""
    cookie = b'Cookie: a="' + b"\\1" * 30_000 + b'"\r\n'
    with serving() as port, Connection(port) as connection:
        connection.send(head(cookie, b"GET /headers HTTP/1.1"))
        status, answer = connection.answer()
        assert (status, answer.partition(b"\r\n\r\n")[2]) == (200, b"host")


@pytest.mark.parametrize("size", [1, 20, 60])
def test_a_body_in_tiny_chunks_takes_turns(size: int) -> None:
    """A body in tiny chunks arrives completely or is refused. Other connections are served between its parts."""
    chunk = f"{size:x}".encode() + b"\r\n" + b"x" * size + b"\r\n"
    chunks = 256 * KB // len(chunk)
    with serving() as port, Connection(port) as connection, Connection(port) as other:
        connection.send(head(b"Transfer-Encoding: chunked\r\n", b"POST / HTTP/1.1") + chunk * chunks + b"0\r\n\r\n")
        other.send(GET)
        assert other.answer()[0] == 200
        status, answer = connection.answer()
        body = answer.partition(b"\r\n\r\n")[2]
        assert (status, body) == (200, str(chunks * size).encode()) if size > 1 else status == 431
