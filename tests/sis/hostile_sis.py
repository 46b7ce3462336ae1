"""Runs a SIS that tries to do harm. Each test chooses a function, which sends the response to a request for users."""

import asyncio
import gzip
import itertools
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

Write = Callable[["Hostile", asyncio.StreamWriter, str], None]
TOKEN = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600}


@dataclass
class Hostile:
    """A hostile SIS: its address, and the paths that were requested from it."""

    users: Write
    address: str = ""
    requested: list[str] = field(default_factory=list)
    count: "itertools.count[int]" = field(default_factory=itertools.count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request, and closes the connection."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ", 2)[1]
            self.requested.append(path)
            name = path.partition("?")[0].rpartition("/")[2]
            if name == "token":
                say(writer, TOKEN)
            elif name == "users":
                self.users(self, writer, path)
            else:
                say(writer, {name: []})
            await writer.drain()
            while name == "users" and self.users in (drip, huge):
                writer.write(b" " * (1 if self.users is drip else 1 << 16))
                await writer.drain()
                await asyncio.sleep(0.05 if self.users is drip else 0)
        writer.close()


def say(writer: asyncio.StreamWriter, body: object, *headers: str, kind: str = "application/json") -> None:
    """Sends a whole HTTP response."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {len(raw)}", "Connection: close", *headers]
    writer.write("\r\n".join([*head, "", ""]).encode() + raw)


def linking(link: str, pages: float = math.inf) -> Write:
    """Returns a function that sends pages with one user each, and with `link` as the address of the next page.

    A growing number replaces `{}` in `link`. After `pages` pages, the pages have no user.
    """

    def users(self: Hostile, writer: asyncio.StreamWriter, _: str) -> None:
        number = next(self.count)
        if number >= pages:
            say(writer, {"users": []})
            return
        target = link.replace("{}", str(number)).replace("SELF", self.address.rstrip("/"))
        say(writer, {"users": [{"sourcedId": f"u{number}"}]}, f'Link: <{target}>; rel="next"')

    return users


def huge(_: Hostile, writer: asyncio.StreamWriter, __: str) -> None:
    """Sends a page of 64 MB in small parts, so that this process does not hold it in memory."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (64 << 20))


def bomb(_: Hostile, writer: asyncio.StreamWriter, __: str) -> None:
    """Sends a megabyte that unpacks to a gigabyte."""
    say(writer, _bomb(), "Content-Encoding: gzip")


def page_of_html(_: Hostile, writer: asyncio.StreamWriter, __: str) -> None:
    """Sends an HTML page with status 200, as proxies and portals do."""
    say(writer, b"<html>Zoe Secret</html>", kind="text/html")


def nested(_: Hostile, writer: asyncio.StreamWriter, __: str) -> None:
    """Sends JSON of a hundred thousand levels."""
    say(writer, b'{"users":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def drip(_: Hostile, writer: asyncio.StreamWriter, __: str) -> None:
    """Sends a page without end, a byte from time to time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n")


def leading_away(_: Hostile, writer: asyncio.StreamWriter, __: str) -> None:
    """Redirects to the address at which a cloud's machines get their credentials."""
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n")


def long_headers(_: Hostile, writer: asyncio.StreamWriter, __: str) -> None:
    """Sends ten megabytes of headers."""
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(10_000)))
    writer.write(b"Content-Length: 0\r\n\r\n")


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(64 << 20), 9) * 16


@asynccontextmanager
async def hostile(users: Write) -> AsyncIterator[Hostile]:
    """Yields a running hostile SIS that answers requests for users by this function."""
    sis = Hostile(users)
    server = await asyncio.start_server(sis.serve, "127.0.0.1", 0)
    sis.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield sis
    finally:
        server.close()
