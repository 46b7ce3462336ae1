"""Owns the change feed in REST: the same events, ids and bodies as the webhooks."""

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request

from app.events import feed
from app.events.render import body
from app.rest.door import After, House, Limit, Opened, asks
from app.rest.pages import Shape, place

router = APIRouter(prefix="/v1", tags=["events"])


class Event(Shape):
    """What happened: a type, a time, ids, a link."""

    type: str
    timestamp: datetime
    data: dict[str, Any]


class Events(Shape):
    """Events in the order of their commits, oldest first."""

    items: list[Event]
    next: str


class EventTypeShape(Shape):
    """A type of event."""

    name: str
    version: int
    meaning: str
    ids: list[str]


class EventTypes(Shape):
    """Every type of event."""

    items: list[EventTypeShape]


@router.get("/events", operation_id="list_events", **asks(feed.events_after))
async def list_events(
    work: Opened,
    request: Request,
    type_: Annotated[str | None, Query(alias="type", description="Only events of this type.")] = None,
    after: After = None,
    limit: Limit = None,
) -> Events:
    """Events after a cursor. `next` is always there: keep it, and ask again from it."""
    house: House = request.app.state.house
    page = await feed.events_after(work, place(work, "events", {"type": type_}, after, limit), type_)
    items = [Event.model_validate(body(event, house.base_url)) for event in page.rows]
    return Events(items=items, next=cast(str, page.next))


@router.get("/event-types", operation_id="list_event_types", **asks(feed.event_types))
async def list_event_types(work: Opened) -> EventTypes:
    """The catalogue of events."""
    rows = await feed.event_types(work)
    shapes = [
        EventTypeShape(name=row.name, version=row.version, meaning=row.meaning, ids=list(row.ids)) for row in rows
    ]
    return EventTypes(items=shapes)
