"""A webhook receiver that misbehaves on request, records every request, and verifies as an integrator would.

It speaks bare HTTP/1.1 over asyncio, because no web server sends half a line or a byte per second.
"""

import asyncio
import socket
import struct
from collections import defaultdict, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from standardwebhooks.webhooks import Webhook

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
QUICK = ("error", "reset", "half", "torn")
SLOW = ("silent", "drip")
"""The behaviours of a receiver for which the sender waits until it gives up."""


@dataclass(frozen=True, slots=True)
class Came:
    """A received request: its path, webhook id and body.

    `verified` is true if the signature is valid. `acknowledged` is true if the receiver answered with 2xx.
    """

    path: str
    webhook_id: str
    body: bytes
    verified: bool
    acknowledged: bool


@dataclass
class Receiver:
    """A webhook receiver that can misbehave. `behaviours` lists by path what it does with each of the next requests.

    `secrets` are the current secrets by path.
    """

    behaviours: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    secrets: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    came: list[Came] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        # asyncio waits for open connections; a silent one would keep us here.

    def url(self, path: str) -> str:
        """Returns the URL of a path of this receiver."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request, and returns whether the connection is kept open."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = first.split(" ")[1]
        verified = any(_verifies(secret, body, headers) for secret in self.secrets[path])
        does = self.behaviours[path].popleft() if self.behaviours[path] else "well"
        acknowledged = verified and does in ("well", "torn")
        self.came.append(Came(path, headers.get("webhook-id", ""), body, verified, acknowledged))
        self.arrived.set()
        return await _answer(does if verified or does != "well" else "refuse", reader, writer)


async def _answer(does: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    match does:
        case "well" | "error" | "refuse":
            writer.write({"well": OK, "error": ERROR, "refuse": REFUSED}[does])
            await writer.drain()
            return True
        case "half":  # breaks off within the head: no answer at all
            writer.write(OK[:20])
        case "torn":  # the status is there, the body breaks off: an answer all the same
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthank")
        case "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        case "silent":
            await reader.read()
        case "drip":
            for number in range(len(OK)):
                writer.write(OK[number : number + 1])
                await writer.drain()
                await asyncio.sleep(1)
    await writer.drain()
    return False


def _verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except Exception:
        return False
    return True
