"""Streams the change feed as server-sent events, with the same events, cursors and bodies as GET /v1/events.

A stream outlives its request's turn and transaction. Every batch is therefore read in a transaction of its own, by a
caller who is authorized again: a token that ends or is revoked ends the stream, and a caseload that changes restricts
it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from uuid import UUID

import orjson
import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.access.principal import Principal
from app.access.retry import run_with_retry
from app.access.work import unit
from app.core.errors import AimlineError, Busy
from app.core.fault_report import describe_fault
from app.events import feed
from app.events.models import Event
from app.events.render import body
from app.rest.door import After, Services, principal_of, requires
from app.rest.events import VERSION
from app.rest.pages import page_keyset
from app.rest.problem import from_error
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["events"], route_class=Route)
HEARTBEAT = 15.0
"""The seconds after which a stream without events sends a comment, so that no proxy closes it."""
RECONNECT = 5000
"""The milliseconds after which a disconnected client connects again."""
BATCH = 200
OPERATION = "GET /v1/events/stream"
CONTENT = {"text/event-stream": {"schema": {"type": "string"}}}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of a stream with the cursor of each, and the cursor after the last one."""

    events: Sequence[tuple[str, Event]]
    cursor: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the events of one stream for its caller."""

    request: Request
    services: Services
    types: list[str] | None
    versions: dict[str, int]

    async def authorize(self) -> Principal:
        """Returns the caller with its present rights; raises `Unauthenticated` or `Forbidden` if it has lost them."""
        self.request.state.principal = None
        headers = self.request.headers
        principal = await principal_of(self.request, headers.get("authorization"), headers.get("aimline-act-for"))
        self.request.state.principal = principal
        return principal

    async def read(self, principal: Principal, cursor: str | None) -> Batch:
        """Returns the events after a cursor, or without a cursor no event and the cursor of the feed's end."""
        return await run_with_retry(partial(self._read, principal, cursor), reads=True)

    async def _read(self, principal: Principal, cursor: str | None) -> Batch:
        async with unit(self.services.engine, principal, self.services.keyring, OPERATION) as work:
            at = page_keyset(work, "events", {"type": self.types}, cursor, BATCH)
            if cursor is None:
                end = await feed.feed_end(work)
                return Batch((), at.mark(end.epoch, end.last))
            page = await feed.events_after(work, at, self.types)
            epoch: UUID = at.after_id()
            return Batch([(at.mark(epoch, event.seq), event) for event in page.rows], str(page.next))


class EventStream(StreamingResponse):
    """The response that streams events; while it lasts, the event hub counts it among its open streams."""

    def __init__(self, reader: Reader, principal: Principal, first: Batch) -> None:
        super().__init__(self._messages(reader, first), media_type="text/event-stream")
        self.headers["X-Accel-Buffering"] = "no"
        self._reader, self._district_id = reader, principal.district_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._reader.services.hub.subscribe(self._district_id) as self._subscription:
                scope["state"]["is_stream"] = True
                await super().__call__(scope, receive, send)
        except Busy as error:
            await from_error(self._reader.request, error)(scope, receive, send)

    async def _messages(self, reader: Reader, batch: Batch) -> AsyncIterator[str]:
        yield f"retry: {RECONNECT}\nid: {batch.cursor}\n\n"
        try:
            while True:
                for cursor, event in batch.events:
                    event_json = orjson.dumps(body(event, reader.services.base_url, reader.versions)).decode()
                    yield f"id: {cursor}\nevent: {event.type}\ndata: {event_json}\n\n"
                has_more = len(batch.events) == BATCH
                if not has_more and not await self._subscription.moved(HEARTBEAT):
                    await reader.authorize()
                    # An id without data moves the client's position without delivering an event.
                    yield f":\nid: {batch.cursor}\n\n"
                    batch = Batch((), batch.cursor)
                    continue
                async with reader.services.hub.readers:
                    principal = await reader.authorize()
                    batch = await reader.read(principal, batch.cursor)
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

    Each event has the type as its `event`, the body of GET /v1/events as its `data`, and a cursor of the feed as its
    `id`: a client that reconnects with it as Last-Event-ID misses nothing. Without one the stream begins with the next
    event. It ends with its token; reconnect with a new one. A comment comes every 15 seconds.
    """
    services: Services = request.app.state.services
    reader = Reader(request, services, sorted(set(type_)) if type_ else None, feed.read_versions(version or ()))
    feed.require_types(reader.types or ())
    return EventStream(reader, principal, await reader.read(principal, last_event_id or after))
