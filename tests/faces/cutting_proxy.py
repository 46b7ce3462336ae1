"""Runs a proxy between the product and PostgreSQL that cuts a connection at the point that a test chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url


@dataclass
class CuttingProxy:
    """A proxy that cuts a connection once the server has answered a message that contains `cut_after`.

    Then `cut_after` is None again, so that no other connection is cut. `cuts` is the number of cuts.
    """

    url: str
    cut_after: bytes | None = None
    cuts: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@asynccontextmanager
async def cutting_proxy(url: str, folder: Path) -> AsyncIterator[CuttingProxy]:
    """Runs a proxy to the PostgreSQL server of this URL, and yields it with an address of its own."""
    remote = make_url(url)
    host, port = str(remote.query.get("host") or remote.host), int(str(remote.query.get("port") or remote.port or 5432))
    local = remote.set(host=None, port=None, query={"host": str(folder), "port": "5432"})
    proxy = CuttingProxy(local.render_as_string(hide_password=False))

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if host.startswith("/"):
            far_reader, far_writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        doomed = asyncio.Event()
        both = [
            asyncio.create_task(_to_server(proxy, reader, far_writer, doomed)),
            asyncio.create_task(_to_client(proxy, far_reader, writer, doomed)),
        ]
        proxy.tasks.update(both)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        for one in (writer, far_writer):
            one.close()

    server = await asyncio.start_unix_server(meet, folder / ".s.PGSQL.5432")
    try:
        yield proxy
    finally:
        server.close()
        for task in proxy.tasks:
            task.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)


async def _to_server(
    proxy: CuttingProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
) -> None:
    while chunk := await reader.read(65536):
        if proxy.cut_after is not None and proxy.cut_after in chunk:
            proxy.cut_after = None
            doomed.set()
        writer.write(chunk)
        await writer.drain()


async def _to_client(
    proxy: CuttingProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event
) -> None:
    while chunk := await reader.read(65536):
        if doomed.is_set():
            # The server has carried out what was sent, and its answer is lost.
            proxy.cuts += 1
            return
        writer.write(chunk)
        await writer.drain()
