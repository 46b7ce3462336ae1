"""Tests the POST of a delivery over sockets: nothing is sent to a private address, and no receiver can delay the
worker.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from app.core.address import Allowed
from app.core.outbound import AddressRefused, CheckedResolver
from app.webhooks.send import Outcome, Sender

SANDBOX = Allowed(sandbox=True)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Runs a bare server during the block. Yields its port, and the heads of the requests that reached it."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heads.append(head)
                await reader.readexactly(2)
                await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


def plainly(response: bytes) -> Answer:
    """Returns an answer that consists of exactly these bytes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()

    return answer


async def post(url: str, allowed: Allowed = SANDBOX, *, times: int = 1, timeout: float = 120) -> Outcome:
    """Sends `times` requests with one sender, and returns the outcome of the last one."""
    sender = Sender(allowed, timeout=timeout)
    try:
        outcome = await sender.post(url, b"{}", {"webhook-id": "evt_1"})
        for _ in range(times - 1):
            outcome = await sender.post(url, b"{}", {"webhook-id": "evt_1"})
    finally:
        await sender.close()
    return outcome


OK = plainly(b"HTTP/1.1 204 No Content\r\n\r\n")


RESPONSE = plainly(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")


@pytest.mark.parametrize("network", ["127.0.0.0/8", "127.0.0.1/32"])
async def test_an_answer_from_an_allowed_network_is_marked(network: str) -> None:
    """An answer is marked as private if its connection leads to an allowed private network, and only then.

    This also applies to a connection that is used again.
    """
    opened = Allowed((ipaddress.ip_network(network),), sandbox=True)
    async with listening(RESPONSE) as (port, heads):
        for times in (1, 3):
            for host in ("127.0.0.1", "localhost"):
                outcome = await post(f"http://{host}:{port}/", opened, times=times)
                assert (outcome.status, outcome.answer, outcome.private) == (200, "secret", True)
                outcome = await post(f"http://{host}:{port}/", SANDBOX, times=times)
                assert (outcome.status, outcome.answer, outcome.private) == (200, "secret", False)
    assert len(heads) == 16


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_no_packet_reaches_loopback(host: str) -> None:
    """A webhook to loopback is refused without even a connection to the server that listens there."""
    reached = asyncio.Event()

    async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        outcome = await post(f"https://{host}:{port}/", Allowed())
        assert (outcome.status, outcome.failure) == (None, "address_refused")
        assert not reached.is_set()


async def test_a_name_that_leads_inside_is_refused_where_the_socket_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name that resolves to loopback later (rebinding) is refused at connection, before any packet is sent."""

    def inside(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with listening(OK) as (port, heads):
        monkeypatch.setattr(socket, "getaddrinfo", inside)
        outcome = await post(f"https://hooks.example.org:{port}/", Allowed())
    assert (outcome.status, outcome.failure) == (None, "address_refused")
    assert heads == []


async def test_one_inner_address_among_public_ones_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that resolves to a public and a private address is refused."""

    def both(*_: object, **__: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(AddressRefused):
        await CheckedResolver(Allowed()).resolve("hooks.example.org", 443)


async def test_a_redirect_is_an_answer_and_not_a_way() -> None:
    """A redirect is recorded as the answer of a receiver, and is not followed."""
    async with listening(OK) as (other, requests):
        location = f"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n"
        async with listening(plainly(location.encode())) as (port, heads):
            outcome = await post(f"http://127.0.0.1:{port}/")
    assert outcome.status == 307
    assert len(heads) == 1
    assert requests == []


async def test_the_environment_and_cookies_do_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Webhook deliveries use no proxy of the environment, and send back no cookie."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    cookie = plainly(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n")
    async with listening(cookie) as (port, heads):
        outcome = await post(f"http://127.0.0.1:{port}/", times=2)
    assert outcome.status == 200
    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


async def test_an_endless_answer_is_cut() -> None:
    """At most four kilobytes of an answer are read, however long it is."""
    sent = 0

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with listening(pour) as (port, _):
        outcome = await post(f"http://127.0.0.1:{port}/")
    assert outcome.status == 200
    assert sent < 50_000_000


async def test_what_a_receiver_says_is_kept_as_far_as_it_can_be_stored() -> None:
    """The first 4,096 bytes of a receiver's answer are stored, even if PostgreSQL cannot store them as text."""
    body = b"no\x00\xff" + "é".encode() * 4000
    head = f"HTTP/1.1 500 X\r\nRetry-After: 7\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with listening(plainly(head + body)) as (port, _):
        outcome = await post(f"http://127.0.0.1:{port}/")
    assert outcome.answer is not None
    assert outcome.answer.startswith("no\ufffd\ufffdéé")
    assert len(outcome.answer) == 4 + (4096 - 4) // 2
    assert outcome.retry_after == "7"


async def test_a_byte_now_and_then_is_not_waited_for() -> None:
    """The timeout of a delivery is for the whole answer, not for each byte."""

    async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with listening(trickle) as (port, _):
        outcome = await post(f"http://127.0.0.1:{port}/", timeout=0.5)
    assert (outcome.status, outcome.failure) == (None, "timeout")
    assert outcome.milliseconds < 300_000, "all the bytes take a quarter of an hour"


@pytest.mark.parametrize(
    ("response", "failure"),
    [(b"", "reset"), (b"HTTP/1.1 20", "reset"), (b"not HTTP at all\r\n\r\n", "broken")],
    ids=["nothing", "half a line", "something else"],
)
async def test_a_broken_answer_is_a_failure_with_a_name(response: bytes, failure: str) -> None:
    """A broken answer is recorded as a failed attempt with the kind of failure, and raises no exception."""

    async def break_off(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()
        writer.close()

    async with listening(break_off) as (port, _):
        outcome = await post(f"http://127.0.0.1:{port}/")
    assert (outcome.status, outcome.failure) == (None, failure)


async def test_the_socket_is_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to a private address is refused, even if the check after the name resolution has accepted the
    address.
    """

    async def inside(_: CheckedResolver, __: str, port: int, family: int) -> list[dict[str, object]]:
        return [
            {
                "hostname": "hooks.example.org",
                "host": "127.0.0.1",
                "port": port,
                "family": socket.AF_INET,
                "proto": 6,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    monkeypatch.setattr(CheckedResolver, "resolve", inside)
    async with listening(OK) as (port, heads):
        outcome = await post(f"https://hooks.example.org:{port}/", Allowed())
    assert (outcome.status, outcome.failure) == (None, "address_refused")
    assert heads == []
