"""Reads and writes the JSON messages of a WebSocket, within limits, with the interface that Strawberry's handler
expects.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Final

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected

from app.core.errors import Invalid
from app.core.json_limits import NotText, check_json
from app.graphql.json_text import dump
from app.graphql.request import BadRequest

MAX_MESSAGE: Final = 262_144
"""The largest number of characters of a message; a document has at most 32,768 of them."""
MAX_REASON: Final = 123
"""The largest number of bytes of the reason in a close frame (RFC 6455, section 5.5)."""
TOO_BIG: Final = 1009


class TextSocket:
    """A WebSocket whose messages are JSON texts."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:
        """Yields the parsed messages of the caller.

        A message that is not text or not JSON raises an exception, on which the handler closes the connection. A
        message that is too long closes the connection here.
        """
        del ignore_parsing_errors
        while self._websocket.application_state != WebSocketState.DISCONNECTED:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise NonTextMessageReceived
            if len(text) > MAX_MESSAGE:
                await self.close(TOO_BIG, "Message too big")
                return
            yield _parsed(text)

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Sends a message; waits while the caller's receive buffer is full."""
        try:
            await self._websocket.send_text(dump(dict(message)).decode())
        except (WebSocketDisconnect, RuntimeError) as error:
            raise WebSocketDisconnected from error

    async def close(self, code: int, reason: str) -> None:
        """Closes the connection; does nothing if it is already closed. A long reason is cut."""
        if self._websocket.application_state != WebSocketState.DISCONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):  # the caller may have closed it meanwhile
                await self._websocket.close(code, reason.encode()[:MAX_REASON].decode(errors="ignore"))


def _parsed(text: str) -> object:
    try:
        raw = text.encode()
        check_json(raw)
        parsed: object = orjson.loads(raw)
    except (Invalid, NotText, BadRequest, ValueError):
        raise NonJsonMessageReceived from None
    return parsed
