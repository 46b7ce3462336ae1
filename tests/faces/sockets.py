"""Serves the app on a real port of this process, with a client of `graphql-transport-ws` over a real WebSocket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from app.graphql.text_socket import MAX_MESSAGE
from app.serving.protocol import BoundedProtocol
from app.serving.websocket import BoundedWebSocket

PROTOCOL = Subprotocol("graphql-transport-ws")


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    """Serves the app on a port of this process, and yields its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws=BoundedWebSocket,
            ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


class Client:
    """A WebSocket connection with one or several subscriptions."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, **message: Any) -> None:
        """Sends a message of the protocol."""
        await self.connection.send(orjson.dumps(message).decode())

    async def receive(self) -> dict[str, Any]:
        """Returns the next message."""
        async with asyncio.timeout(60):
            message: dict[str, Any] = orjson.loads(await self.connection.recv())
        return message

    async def subscribe(self, query: str, name: str = "one", **variables: Any) -> None:
        """Begins a subscription."""
        await self.send(type="subscribe", id=name, payload={"query": query, "variables": variables})

    async def next(self, name: str = "one") -> Any:
        """Returns the data of the next event of a subscription."""
        message = await self.receive()
        assert (message["type"], message["id"]) == ("next", name), message
        assert "errors" not in message["payload"], message
        return message["payload"]["data"]

    async def closed(self) -> int | None:
        """Returns the code with which the connection was closed."""
        async with asyncio.timeout(60):
            await self.connection.wait_closed()
        return self.connection.close_code


@asynccontextmanager
async def connected(
    address: str, token: str | None, *, act_for: str | None = None, origin: str | None = None
) -> AsyncIterator[Client]:
    """Yields a WebSocket connection to the GraphQL API.

    With a token, the connection is already authenticated by `connection_init`. Without a token, the client has sent
    nothing yet.
    """
    page = None if origin is None else Origin(origin)
    async with connect(f"ws://{address}/graphql", subprotocols=[PROTOCOL], origin=page, proxy=None) as connection:
        client = Client(connection)
        if token is not None:
            payload = {"Authorization": f"Bearer {token}"}
            if act_for is not None:
                payload["Aimline-Act-For"] = act_for
            await client.send(type="connection_init", payload=payload)
            assert await client.receive() == {"type": "connection_ack"}
        yield client
