"""Streams the change feed as server-sent events, with the same events, cursors and bodies as GET /v1/events."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

import orjson
import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.access.principal import Principal
from app.core.errors import AimlineError, Busy
from app.core.fault_report import describe_fault
from app.events import feed
from app.events.hub import Stopping
from app.events.render import body
from app.events.stream import HEARTBEAT, Batch, FeedReader
from app.rest.door import After, Services, principal_of, requires
from app.rest.events import VERSION
from app.rest.problem import from_error
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["events"], route_class=Route)
RECONNECT = 5000
"""The milliseconds after which a disconnected client connects again."""
OPERATION = "GET /v1/events/stream"
CONTENT = {"text/event-stream": {"schema": {"type": "string"}}}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a stream, and the payload versions that the caller requested."""

    request: Request
    services: Services
    versions: dict[str, int]

    async def authorize(self) -> Principal:
        """Returns the principal with the rights that the caller has now.

        Raises `Unauthenticated` or `Forbidden` if the caller has lost access.
        """
        self.request.state.principal = None
        headers = self.request.headers
        principal = await principal_of(self.request, headers.get("authorization"), headers.get("aimline-act-for"))
        self.request.state.principal = principal
        return principal


class EventStream(StreamingResponse):
    """The response that streams events. While it is open, it counts as one of the client's streams."""

    def __init__(self, caller: Caller, reader: FeedReader, principal: Principal, first: Batch) -> None:
        super().__init__(self._messages(caller, reader, first), media_type="text/event-stream")
        self.headers["X-Accel-Buffering"] = "no"
        self._caller, self._district_id, self._client_id = caller, principal.district_id, principal.client_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._caller.services.hub.subscribe(self._district_id, self._client_id) as self._subscription:
                scope["state"]["is_stream"] = True
                await super().__call__(scope, receive, send)
        except Busy as error:
            await from_error(self._caller.request, error)(scope, receive, send)

    async def _messages(self, caller: Caller, reader: FeedReader, first: Batch) -> AsyncIterator[str]:
        services = caller.services
        yield f"retry: {RECONNECT}\nid: {first.cursor}\n\n"
        try:
            async for batch in reader.follow(services.hub, self._subscription, first):
                for cursor, event in batch.events:
                    shown = orjson.dumps(body(event, services.base_url, caller.versions)).decode()
                    yield f"id: {cursor}\nevent: {event.type}\ndata: {shown}\n\n"
                if batch.is_idle:
                    # An id without data moves the client's position without delivering an event.
                    yield f":\nid: {batch.cursor}\n\n"
        except Stopping:
            yield ": stopping\n\n"
        except AimlineError as error:
            # The token or the cursor is no longer valid; the client learns which when it connects again.
            yield f": {error.code}\n\n"
        except Exception as error:
            log.error("stream.fault", **describe_fault(error))
            yield ": internal\n\n"


@router.get(
    "/events/stream",
    operation_id="stream_events",
    response_class=Response,
    **requires(
        feed.events_after,
        gone="The cursor is older than the feed's retention, or from before a restore.",
        answers={200: {"description": "Server-sent events, one for each event of the feed.", "content": CONTENT}},
    ),
)
async def stream_events(
    request: Request,
    principal: Annotated[Principal, Depends(principal_of)],
    type_: Annotated[
        list[str] | None, Query(alias="type", max_length=100, description="Only events of these types.")
    ] = None,
    version: Annotated[list[str] | None, Query(max_length=100, description=VERSION)] = None,
    after: After = None,
    last_event_id: Annotated[
        str | None,
        Header(max_length=500, description="The id of the last event that was received; takes the place of `after`."),
    ] = None,
) -> Response:
    """Streams the change feed as server-sent events, within a second of each commit.

    Each message has the event's type as `event`, the body of GET /v1/events as `data`, and a cursor of the feed as
    `id`. A client that reconnects with this id as Last-Event-ID misses nothing. Without a cursor the stream begins with
    the next event. The stream ends when its token expires; reconnect with a new token. A comment is sent every 15
    seconds.
    """
    services: Services = request.app.state.services
    caller = Caller(request, services, feed.read_versions(version or ()))
    types = sorted(set(type_)) if type_ else None
    reader = FeedReader(services.engine, services.keyring, caller.authorize, OPERATION, types, HEARTBEAT)
    feed.require_types(types or ())
    return EventStream(caller, reader, principal, await reader.read(principal, last_event_id or after))
