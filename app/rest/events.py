"""Serves the change feed in REST, with the same events, ids and payloads as the webhooks."""

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from app.events import feed
from app.events.catalogue import CATALOGUE, EventType
from app.events.render import OLDEST, body, schema
from app.rest.door import After, Limit, OpenWork, Services, requires
from app.rest.pages import Shape, page_keyset
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["events"], route_class=Route)
VERSION = f"The payload version of a type, as concern.raised:2; can be repeated. By default, {OLDEST} of each."


class Event(Shape):
    """An event: its type, its time, ids and a link."""

    type: str
    timestamp: datetime
    data: dict[str, Any]


class Events(Shape):
    """A page of events in the order of their commits, oldest first."""

    items: list[Event]
    next: str


class PayloadVersion(Shape):
    """One version of an event type's payload."""

    version: int
    ids: list[str]
    body: dict[str, Any] = Field(description="The JSON Schema of a body of this type and version.")


class EventTypeShape(Shape):
    """A type of event in its newest version; `versions` lists all versions that are still sent, oldest first."""

    name: str
    version: int
    meaning: str
    ids: list[str]
    body: dict[str, Any] = Field(description="The JSON Schema of a body of this type and version.")
    versions: list[PayloadVersion]


class EventTypes(Shape):
    """All types of event."""

    items: list[EventTypeShape]


@router.get(
    "/events",
    operation_id="list_events",
    **requires(feed.events_after, gone="The cursor is older than the feed's retention, or from before a restore."),
)
async def list_events(
    work: OpenWork,
    request: Request,
    type_: Annotated[
        list[str] | None, Query(alias="type", max_length=100, description="Only events of these types.")
    ] = None,
    version: Annotated[list[str] | None, Query(max_length=100, description=VERSION)] = None,
    after: After = None,
    limit: Limit = None,
) -> Events:
    """Returns the events after a cursor, from the last 30 days; `next` is always present, for the next request.

    410 if events between the cursor and now are no longer kept, or if the feed was restarted after the database was
    restored from a backup. Then read what you need from the lists, and begin without a cursor.
    """
    services: Services = request.app.state.services
    types = sorted(set(type_)) if type_ else None
    versions = feed.read_versions(version or ())
    page = await feed.events_after(work, page_keyset(work, "events", {"type": types}, after, limit), types)
    items = [Event.model_validate(body(event, services.base_url, versions)) for event in page.rows]
    return Events(items=items, next=cast(str, page.next))


@router.get("/event-types", operation_id="list_event_types", **requires(feed.event_types))
async def list_event_types(work: OpenWork) -> EventTypes:
    """Returns the catalogue of event types."""
    rows = await feed.event_types(work)
    return EventTypes(items=[_type(row) for row in rows])


def _type(row: EventType) -> EventTypeShape:
    versions = [
        PayloadVersion(version=payload.version, ids=list(payload.ids), body=schema(payload)) for payload in row.versions
    ]
    newest = versions[-1]
    return EventTypeShape(
        name=row.name, version=newest.version, meaning=row.meaning, ids=newest.ids, body=newest.body, versions=versions
    )


async def notified(
    webhook_id: Annotated[
        str, Header(description="The event's id, the same at every attempt: ignore an id that you have processed.")
    ],
    webhook_timestamp: Annotated[
        str, Header(description="When this attempt was signed, in whole seconds of Unix time.")
    ],
    webhook_signature: Annotated[
        str,
        Header(
            description="One signature `v1,<base64>` for each live secret, separated by spaces; see Standard Webhooks."
        ),
    ],
) -> None:
    """Describes for the contract the request that an endpoint receives for an event. This function is never called."""


def webhooks() -> APIRouter:
    """Returns the `webhooks` section of the contract, with one POST for each type of event."""
    receiver = APIRouter(tags=["webhooks"])
    for name, type_ in sorted(CATALOGUE.items()):
        bodies = [schema(payload) for payload in type_.versions]
        # The versions differ in `data.version`, but linters expect a `oneOf` to differ in a top-level property.
        content = {"application/json": {"schema": bodies[0] if len(bodies) == 1 else {"anyOf": bodies}}}
        receiver.post(
            name,
            operation_id=f"on_{name.replace('.', '_')}",
            summary=type_.meaning,
            description="Sent to every endpoint that subscribes to the type, once for each event, until accepted.",
            response_class=Response,
            response_description="Accepted, as with every other 2XX status.",
            responses={
                410: {"description": "Gone for good: the endpoint is disabled."},
                "default": {"description": "Not accepted: the delivery is tried again, ten times over three days."},
            },
            openapi_extra={"requestBody": {"required": True, "content": content}},
        )(notified)
    return receiver
