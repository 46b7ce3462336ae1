"""Serves GraphQL subscriptions over a WebSocket, by the protocol `graphql-transport-ws`.

Strawberry's handler speaks the protocol, and our own `Subscriber` runs the subscriptions. A browser sends the origin of
its page. The connection is refused unless that origin is this service's own or the client has registered it. Cookies
are never used.
"""

import asyncio
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

import structlog
from starlette.websockets import WebSocket
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.http.websocket_origin import is_same_origin
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import Operation as Running
from strawberry.types.unset import UNSET

from app.access.admission import RateLimited
from app.core.errors import AimlineError, Busy, Unauthenticated, Unavailable
from app.core.log import log_context
from app.events.hub import Stopping
from app.graphql.door import Installation, authorize
from app.graphql.open_sockets import OpenSockets
from app.graphql.prepare import STREAM, Preparation
from app.graphql.request import operation_from
from app.graphql.subscriber import Credentials, Subscriber, errors_of, payload_of
from app.graphql.text_socket import TRY_LATER, TextSocket
from app.team.caseload import ACT_FOR

INIT_SECONDS: Final = 10
"""The seconds within which a caller must send `connection_init`."""
IDLE_SECONDS: Final = 60.0
"""The seconds after which a connection without a subscription is closed."""
MAX_SUBSCRIPTIONS: Final = 10
"""The largest number of subscriptions of one connection."""
MAX_ID: Final = 100
FORBIDDEN, IDLE, BAD_PROTOCOL, TOO_MANY = 4403, 4408, 4406, 4429
RESTART: Final = 1012
"""The code with which a WebSocket is closed when the process ends (RFC 6455 §7.4: service restart)."""
log = structlog.get_logger()


class View:
    """The part of Strawberry's view that the handler calls. It decides whether a connection is accepted."""

    def __init__(
        self,
        installation: Installation,
        websocket: WebSocket,
        trace_id: str,
        sockets: OpenSockets,
        messages: TextSocket,
    ) -> None:
        self._installation, self._websocket, self._trace_id, self._messages = (
            installation,
            websocket,
            trace_id,
            messages,
        )
        self._sockets, self._counted = sockets, ExitStack()
        self.credentials = Credentials(None, None, trace_id)

    async def on_ws_connect(self, context: dict[str, Any]) -> object:
        """Authorizes the caller by the payload of `connection_init`, or else by the headers of the request.

        Raises `ConnectionRejectionError` for a caller without access, or for a page whose origin the client has not
        registered. If there are too many connections, or the database cannot be read, closes the connection with
        another code, so that the client connects again later.
        """
        payload = {str(name).lower(): value for name, value in context.get("connection_params", {}).items()}
        headers = self._websocket.headers
        named = [payload.get(name, headers.get(name)) for name in ("authorization", ACT_FOR.lower())]
        if len(headers.getlist(ACT_FOR)) > 1 or not all(value is None or isinstance(value, str) for value in named):
            raise ConnectionRejectionError
        address = self._websocket.client.host if self._websocket.client else None
        self.credentials = Credentials(named[0], named[1], self._trace_id, address)
        try:
            async with self._installation.hub.readers:
                principal = await authorize(self._installation, named[0], named[1])
            origin = headers.get("origin")
            is_own = origin is None or is_same_origin(origin, headers.get("host"))
            if not (is_own or await self._installation.origins.allow(str(origin), principal.client_id)):
                raise ConnectionRejectionError
            self._counted.enter_context(self._sockets.count(principal.district_id, principal.client_id))
        except Busy:
            await self._messages.close(TOO_MANY, "Too many connections")
            raise WebSocketDisconnected from None
        except Unavailable:
            await self._messages.close(TRY_LATER, "Try again later")
            raise WebSocketDisconnected from None
        except AimlineError:
            raise ConnectionRejectionError from None
        admission = self._installation.admission
        requester = admission.identify(self.credentials.token, address)
        self._messages.in_turn = partial(admission.run_in_turn, requester)
        return UNSET

    def end(self) -> None:
        """Removes the connection from the count of its caller's open connections."""
        self._counted.close()


class Handler(BaseGraphQLTransportWSHandler[Any, None]):
    """Strawberry's handler of the protocol, changed to run subscriptions by our own `Subscriber`."""

    def __init__(
        self,
        installation: Installation,
        prepare: Preparation,
        sockets: OpenSockets,
        websocket: WebSocket,
        trace_id: str,
    ) -> None:
        socket: Any = TextSocket(websocket)
        view: Any = View(installation, websocket, trace_id, sockets, socket)
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
        if message.get("type") not in ("ping", "pong"):
            self._watch_idleness()

    async def run_operation(self, operation: Running[Any, None]) -> None:
        """Runs one subscription until it ends, and sends its results."""
        try:
            admission, credentials = self._installation.admission, self._view.credentials
            requester = admission.identify(credentials.token, credentials.address)
            admission.count(requester)
            subscriber = await admission.run_in_turn(requester, partial(self._subscriber_of, operation))
            async for result in subscriber.results():
                if result is None:
                    continue
                payload: Any = payload_of(result, self._trace_id)
                await operation.send_operation_message({"id": operation.id, "type": "next", "payload": payload})
            await operation.send_operation_message({"id": operation.id, "type": "complete"})
        except WebSocketDisconnected:
            pass
        except Stopping:
            await self.websocket.close(RESTART, "The process ends")  # without an error: clients connect again
        except Exception as error:
            shown: Any = errors_of(error, self._trace_id)
            await operation.send_operation_message({"id": operation.id, "type": "error", "payload": shown})
            if isinstance(error, Unauthenticated):
                await self.websocket.close(FORBIDDEN, "Forbidden")
        finally:
            self._watch_idleness()

    async def _subscriber_of(self, operation: Running[Any, None]) -> Subscriber:
        request = operation_from(
            {"query": operation.query, "variables": operation.variables, "operationName": operation.operation_name}
        )
        prepared, limits = self._prepare.prepare(request, STREAM), self._prepare.limits
        return Subscriber(self._installation, self._view.credentials, prepared, request, limits)

    async def shutdown(self) -> None:
        """Ends all subscriptions of the connection."""
        if self._idle is not None:
            self._idle.cancel()
        self._view.end()
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


async def serve_socket(
    websocket: WebSocket, installation: Installation, prepare: Preparation, sockets: OpenSockets
) -> None:
    """Serves one WebSocket connection until it is closed."""
    trace_id = uuid4().hex
    with log_context(trace_id=trace_id):
        try:
            may_connect = await _may_connect(websocket, installation)
        except RateLimited as error:
            await _refuse(websocket, TOO_MANY, _over_quota(error))
            return
        except Unavailable:
            await _refuse(websocket, TRY_LATER, "Try again later")
            return
        if not may_connect:
            await websocket.close(FORBIDDEN, "Forbidden")
            return
        if GRAPHQL_TRANSPORT_WS_PROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(BAD_PROTOCOL, "Subprotocol not acceptable")
            return
        await websocket.accept(subprotocol=GRAPHQL_TRANSPORT_WS_PROTOCOL)
        await Handler(installation, prepare, sockets, websocket, trace_id).handle()


async def _may_connect(websocket: WebSocket, installation: Installation) -> bool:
    """Counts the request for a WebSocket, and returns whether its origin may open one.

    If the request comes from a web page, the origin of the page must be this service's own or must be registered by
    some client. Raises `RateLimited` if a quota of the caller is used up, and `Unavailable` if the registered origins
    cannot be read.
    """
    headers, admission = websocket.headers, installation.admission
    address = websocket.client.host if websocket.client else None
    admission.count(admission.identify(Credentials(headers.get("authorization"), None, "").token, address))
    origin = headers.get("origin")
    is_own = origin is None or is_same_origin(origin, headers.get("host"))
    return is_own or await installation.origins.allow(origin or "", None)


async def _refuse(websocket: WebSocket, code: int, reason: str) -> None:
    """Opens a WebSocket and closes it with this code and reason.

    A page in a browser learns nothing about a WebSocket that was refused before it was open.
    """
    is_offered = GRAPHQL_TRANSPORT_WS_PROTOCOL in websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=GRAPHQL_TRANSPORT_WS_PROTOCOL if is_offered else None)
    await websocket.close(code, reason)


def _over_quota(error: RateLimited) -> str:
    """Returns the reason for which a WebSocket over a quota is closed: the quota, and when to connect again."""
    used_up = (state.policy for state in error.standings if not state.is_allowed)
    quotas = " and ".join(f"{policy.name} ({policy.quota} in {policy.window} s)" for policy in used_up)
    return f"Too many requests. Used up: {quotas}. Connect again in {error.retry_after} s."


def _has_parts(message: dict[str, Any]) -> bool:
    """Returns whether a message has the id and the payload that the handler reads without checking them.

    Only the messages `subscribe` and `complete` are checked; only `subscribe` needs a payload.
    """
    if message.get("type") not in ("subscribe", "complete"):
        return True
    name = message.get("id")
    has_payload = message["type"] == "complete" or isinstance(message.get("payload"), dict)
    return isinstance(name, str) and len(name) <= MAX_ID and has_payload
