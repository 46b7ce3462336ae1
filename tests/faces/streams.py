"""Implements a client of server-sent events over ASGI, which can leave at any time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi import FastAPI


class Stream:
    """A stream of server-sent events: its status, its headers, and its events in order."""

    def __init__(self) -> None:
        self._parts: asyncio.Queue[str] = asyncio.Queue()
        self._text = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.last_id = ""
        self.ended = asyncio.Event()
        self.left = asyncio.Event()

    async def block(self) -> str:
        """Returns the next block of the stream, which may be a comment."""
        while "\n\n" not in self._text:
            async with asyncio.timeout(60):
                self._text += await self._parts.get()
        block, _, self._text = self._text.partition("\n\n")
        for line in block.split("\n"):
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
        return block

    async def event(self) -> dict[str, Any]:
        """Returns the data of the next event."""
        while True:
            for line in (await self.block()).split("\n"):
                if line.startswith("data: "):
                    data: dict[str, Any] = orjson.loads(line.removeprefix("data: "))
                    return data

    async def receive(self) -> dict[str, Any]:
        """Returns a message for the app: first the request, and then, when the client leaves, the disconnection."""
        if not self.status and not self.body:
            self.body = b" "
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Stores the messages that the app sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self._parts.put_nowait(message.get("body", b"").decode())
            self.body += message.get("body", b"")


@asynccontextmanager
async def streaming(
    app: FastAPI, token: str, *, last_event_id: str | None = None, act_for: str | None = None, **params: Any
) -> AsyncIterator[Stream]:
    """Yields a stream that has begun or was refused. The client leaves at the end of the block."""
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"accept-encoding", b"gzip")]
    if last_event_id is not None:
        headers.append((b"last-event-id", last_event_id.encode()))
    if act_for is not None:
        headers.append((b"aimline-act-for", act_for.encode()))
    query = urlencode(params, doseq=True).encode()
    scope = {"type": "http", "method": "GET", "path": "/v1/events/stream", "query_string": query, "headers": headers}
    stream = Stream()
    task = asyncio.create_task(app(scope, stream.receive, stream.send))
    task.add_done_callback(lambda _: stream.ended.set())
    try:
        first = asyncio.create_task(stream.block())
        await asyncio.wait({first, task}, return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        yield stream
    finally:
        stream.left.set()
        async with asyncio.timeout(60):
            await task
