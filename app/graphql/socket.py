"""Serves GraphQL subscriptions over a WebSocket, by the protocol `graphql-transport-ws`.

Strawberry's handler speaks the protocol, and our own `Subscriber` runs the subscriptions. A browser sends the origin of
its page. The connection is refused unless that origin is this service's own or the client has registered it. Cookies
are never used.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected
from strawberry.http.websocket_origin import is_same_origin
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import Operation as Running
from strawberry.types.unset import UNSET

from app.access.admission import RateLimited
from app.core.errors import AimlineError, Invalid, Unauthenticated, Unavailable
from app.core.json_limits import NotText, check_json
from app.core.log import log_context
from app.graphql.door import ACT_FOR, Installation, authorize
from app.graphql.json_text import dump
from app.graphql.prepare import STREAM, Preparation
from app.graphql.request import BadRequest, operation_from
from app.graphql.subscriber import Credentials, Subscriber, errors_of, payload_of

INIT_SECONDS: Final = 10
"""The seconds within which a caller must send `connection_init`."""
IDLE_SECONDS: Final = 60.0
"""The seconds after which a connection without a subscription is closed."""
MAX_SUBSCRIPTIONS: Final = 10
"""The largest number of subscriptions of one connection."""
MAX_MESSAGE: Final = 262_144
"""The largest number of characters of a message; a document has at most 32,768 of them."""
MAX_ID: Final = 100
FORBIDDEN, TOO_BIG, IDLE, BAD_PROTOCOL = 4403, 1009, 4408, 4406
log = structlog.get_logger()


class Socket:
    """A WebSocket with the interface that Strawberry's handler expects."""

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
        """Closes the connection; does nothing if it is already closed."""
        if self._websocket.application_state != WebSocketState.DISCONNECTED:
            await self._websocket.close(code, reason)


class View:
    """The part of Strawberry's view that its handler calls, which decides whether a connection is accepted."""

    def __init__(self, installation: Installation, websocket: WebSocket, trace_id: str) -> None:
        self._installation, self._websocket, self._trace_id = installation, websocket, trace_id
        self.credentials = Credentials(None, None, trace_id)

    async def on_ws_connect(self, context: dict[str, Any]) -> object:
        """Authorizes the caller by the payload of `connection_init`, or else by the headers of the request.

        Raises `ConnectionRejectionError` for a caller without access, or for a page whose origin the client has not
        registered.
        """
        payload = {str(name).lower(): value for name, value in context.get("connection_params", {}).items()}
        headers = self._websocket.headers
        named = [payload.get(name, headers.get(name)) for name in ("authorization", ACT_FOR.lower())]
        if not all(value is None or isinstance(value, str) for value in named):
            raise ConnectionRejectionError
        address = self._websocket.client.host if self._websocket.client else None
        self.credentials = Credentials(named[0], named[1], self._trace_id, address)
        try:
            principal = await authorize(self._installation, named[0], named[1])
            origin = headers.get("origin")
            is_own = origin is None or is_same_origin(origin, headers.get("host"))
            if not (is_own or await self._installation.origins.allow(str(origin), principal.client_id)):
                raise ConnectionRejectionError
        except AimlineError:
            raise ConnectionRejectionError from None
        return UNSET


class Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """Strawberry's handler of the protocol, changed to run subscriptions by our own `Subscriber`."""

    def __init__(self, installation: Installation, prepare: Preparation, websocket: WebSocket, trace_id: str) -> None:
        view: Any = View(installation, websocket, trace_id)
        socket: Any = Socket(websocket)
        schema: Any = None  # the library's way to run a subscription is not used
        init = timedelta(seconds=INIT_SECONDS)
        super().__init__(view, socket, {}, None, schema, init, MAX_SUBSCRIPTIONS)
        self._installation, self._prepare, self._trace_id = installation, prepare, trace_id
        self._view: View = view
        self._idle: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def handle_message(self, message: Any) -> None:
        """Handles a message; closes the connection if the message does not follow the protocol."""
        if not isinstance(message, dict) or not _has_parts(message):
            await self.handle_invalid_message("Failed to parse message")
            return
        parts: Any = message
        await super().handle_message(parts)
        self._watch_idleness()

    async def run_operation(self, operation: Running[Any, None]) -> None:
        """Runs one subscription until it ends, and sends its results."""
        try:
            request = operation_from(
                {"query": operation.query, "variables": operation.variables, "operationName": operation.operation_name}
            )
            prepared = self._prepare.prepare(request, STREAM)
            limits = self._prepare.limits
            subscriber = Subscriber(self._installation, self._view.credentials, prepared, request, limits)
            async for result in subscriber.results():
                if result is None:
                    continue
                payload: Any = payload_of(result, self._trace_id)
                await operation.send_operation_message({"id": operation.id, "type": "next", "payload": payload})
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except WebSocketDisconnected:
            pass
        except Exception as error:
            shown: Any = errors_of(error, self._trace_id)
            await operation.send_operation_message({"id": operation.id, "type": "error", "payload": shown})
            if isinstance(error, Unauthenticated):
                await self.websocket.close(FORBIDDEN, "Forbidden")
        finally:
            self._watch_idleness()

    async def shutdown(self) -> None:
        """Ends all subscriptions of the connection."""
        if self._idle is not None:
            self._idle.cancel()
        await super().shutdown()

    def _watch_idleness(self) -> None:
        """Starts the timer that closes an idle connection, if the connection has no subscription now."""
        if self._idle is not None:
            self._idle.cancel()
        if not self.operations:
            self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        if not self.operations:
            closing = asyncio.ensure_future(self.websocket.close(IDLE, "Idle"))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def serve_socket(websocket: WebSocket, installation: Installation, prepare: Preparation) -> None:
    """Serves one WebSocket connection until it is closed."""
    trace_id = uuid4().hex
    with log_context(trace_id=trace_id):
        if not await _may_connect(websocket, installation):
            await websocket.close(FORBIDDEN, "Forbidden")
            return
        if GRAPHQL_TRANSPORT_WS_PROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(BAD_PROTOCOL, "Subprotocol not acceptable")
            return
        await websocket.accept(subprotocol=GRAPHQL_TRANSPORT_WS_PROTOCOL)
        await Handler(installation, prepare, websocket, trace_id).handle()


async def _may_connect(websocket: WebSocket, installation: Installation) -> bool:
    """Returns whether a connection may be opened.

    The caller's quota must not be used up, and the origin of the page must be this service's own or registered by some
    client.
    """
    headers, admission = websocket.headers, installation.admission
    address = websocket.client.host if websocket.client else None
    try:
        admission.count(admission.identify(Credentials(headers.get("authorization"), None, "").token, address))
        origin = headers.get("origin")
        is_own = origin is None or is_same_origin(origin, headers.get("host"))
        return is_own or await installation.origins.allow(origin or "", None)
    except (RateLimited, Unavailable):
        return False


def _has_parts(message: dict[str, Any]) -> bool:
    """Returns whether a message has the id and the payload that the handler reads without checking them.

    Only the messages `subscribe` and `complete` need them.
    """
    if message.get("type") not in ("subscribe", "complete"):
        return True
    name = message.get("id")
    has_payload = message["type"] == "complete" or isinstance(message.get("payload"), dict)
    return isinstance(name, str) and len(name) <= MAX_ID and has_payload


def _parsed(text: str) -> object:
    try:
        raw = text.encode()
        check_json(raw)
        parsed: object = orjson.loads(raw)
    except (Invalid, NotText, BadRequest, ValueError):
        raise NonJsonMessageReceived from None
    return parsed
