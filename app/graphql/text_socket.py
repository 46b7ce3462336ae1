"""Reads and writes the JSON messages of a WebSocket, within limits.

Has the interface that Strawberry's handler expects.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected

from app.core.errors import Invalid, Throttled
from app.core.json_limits import NotText, check_json
from app.graphql.json_text import dump
from app.graphql.request import BadRequest

MAX_MESSAGE: Final = 65_536
"""The largest number of characters of a message. A GraphQL document in a message has at most 32,768 characters."""
MAX_EARLY_MESSAGE, MAX_EARLY_MESSAGES = 8_192, 3
"""The largest length of a message in characters, and the largest number of messages, until the caller is known."""
AT_ONCE: Final = 1_024
"""The largest number of characters of a message that is parsed without waiting for its caller's turn."""
MAX_REASON: Final = 123
"""The largest number of bytes of the reason in a close frame (RFC 6455, section 5.5)."""
TOO_BIG, TRY_LATER, UNKNOWN = 1009, 1013, 4401
InTurn = Callable[[Callable[[], Coroutine[Any, Any, object]]], Awaitable[object]]


class TextSocket:
    """A WebSocket whose messages are JSON texts.

    `in_turn` is None until the caller has been identified. It is then a function that runs another function when it is
    this caller's turn among all requests.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.in_turn: InTurn | None = None

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:
        """Yields the parsed messages of the caller.

        Raises an exception for a message that is not text or not JSON. The handler then closes the connection.

        If a message is too long, or if too many messages come before the caller is identified, closes the connection.
        """
        del ignore_parsing_errors
        early = 0
        while self._websocket.application_state != WebSocketState.DISCONNECTED:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise NonTextMessageReceived
            early += self.in_turn is None
            if len(text) > (MAX_EARLY_MESSAGE if self.in_turn is None else MAX_MESSAGE):
                await self.close(TOO_BIG, "Message too big")
                return
            if self.in_turn is None and early > MAX_EARLY_MESSAGES:
                await self.close(UNKNOWN, "Too many messages before connection_init")
                return
            if self.in_turn is None or len(text) <= AT_ONCE:
                yield _parsed(text)
                continue
            try:
                parsed = await self.in_turn(partial(_parse, text))
            except Throttled:
                await self.close(TRY_LATER, "Try again later")
                return
            yield parsed

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


async def _parse(text: str) -> object:
    return _parsed(text)


def _parsed(text: str) -> object:
    try:
        raw = text.encode()
        check_json(raw)
        parsed: object = orjson.loads(raw)
    except (Invalid, NotText, BadRequest, ValueError):
        raise NonJsonMessageReceived from None
    return parsed
