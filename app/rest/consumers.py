"""Serves the named consumers of the change feed in REST.

A consumer is a reader of the feed whose position the service stores.
"""

from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Path, Request, Response
from pydantic import AwareDatetime, Field

from app.events import consumers
from app.events.render import body
from app.rest.door import After, Limit, OpenWork, Services, requires
from app.rest.events import Event, Events
from app.rest.pages import Input, Items, Shape, page_keyset, to_page
from app.rest.route import Route

router = APIRouter(prefix="/v1/events/consumers", tags=["events"], route_class=Route)
Name = Annotated[
    str, Path(description="The consumer's name, chosen by the client: a to z, 0 to 9, dots, hyphens, underscores.")
]
LOST = "Events after the consumer's position are no longer kept, or the feed was restarted: use seek."


class NewConsumer(Input):
    """The event types that a consumer reads, and the position at which a new consumer begins."""

    event_types: list[str] | None = Field(
        default=None,
        max_length=100,
        description="All types, if empty. By default, an existing consumer keeps its types, and a new one has all.",
    )
    versions: dict[str, int] = Field(
        default={},
        max_length=100,
        description=(
            "The payload version for each type; for a type that is not named, the newest version at this moment."
        ),
    )
    begin: Literal["beginning", "end"] = Field(
        default="end",
        description=(
            "Where a new consumer begins: `beginning` with the oldest event that is kept (30 days), `end` "
            "with the next event."
        ),
    )


class Commit(Input):
    """The cursor up to which the client has processed the events."""

    cursor: str = Field(max_length=500, description="The `next` of the events that the client has processed.")


class Seek(Input):
    """The position to which a consumer moves."""

    to: Literal["beginning", "end", "cursor", "time"]
    cursor: str | None = Field(
        default=None,
        max_length=500,
        description="With `cursor`: a cursor of this consumer, or one of GET /v1/events with the same types or none.",
    )
    time: AwareDatetime | None = Field(default=None, description="With `time`: events from this instant on.")


class Consumer(Shape):
    """A named reader of the change feed, whose position the service stores."""

    name: str
    event_types: list[str] = Field(description="All types, if empty.")
    versions: dict[str, int] = Field(description="The payload version for each type.")
    cursor: str = Field(description="The consumer's position in the feed.")
    behind: int = Field(description="How many of the district's events, of any type, come after the position.")
    created_at: datetime
    committed_at: datetime | None


@router.get("", operation_id="list_consumers", **requires(consumers.consumers))
async def list_consumers(
    work: OpenWork, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[Consumer]:
    """Lists the caller's consumers, by name."""
    page = await consumers.consumers(work, page_keyset(work, "consumers", {}, after, limit))
    items, next_cursor = to_page(request, response, page, _consumer)
    return Items(items=items, next=next_cursor)


CREATED = {201: {"model": Consumer, "description": "The consumer was created."}}


@router.put("/{name}", operation_id="keep_consumer", **requires(consumers.save_consumer, answers=CREATED))
async def keep_consumer(work: OpenWork, response: Response, name: Name, new: NewConsumer) -> Consumer:
    """Creates a consumer (201), or changes the event types of an existing one, which keeps its position (200)."""
    new_consumer = consumers.NewConsumer(
        None if new.event_types is None else tuple(new.event_types), new.versions, new.begin
    )
    position, is_new = await consumers.save_consumer(work, name, new_consumer)
    response.status_code = 201 if is_new else 200
    return _consumer(position)


@router.get("/{name}", operation_id="get_consumer", **requires(consumers.consumer))
async def get_consumer(work: OpenWork, name: Name) -> Consumer:
    """Returns one consumer with its position."""
    return _consumer(await consumers.consumer(work, name))


@router.delete("/{name}", status_code=204, operation_id="remove_consumer", **requires(consumers.remove_consumer))
async def remove_consumer(work: OpenWork, name: Name) -> None:
    """Removes a consumer and its position."""
    await consumers.remove_consumer(work, name)


@router.get("/{name}/events", operation_id="list_consumer_events", **requires(consumers.consumer_events, gone=LOST))
async def list_consumer_events(work: OpenWork, request: Request, name: Name, limit: Limit = None) -> Events:
    """Returns the events after the consumer's position.

    Process them, then commit `next`. Until then the same events are returned again.
    """
    services: Services = request.app.state.services
    position, page = await consumers.consumer_events(work, name, limit)
    items = [Event.model_validate(body(event, services.base_url, position.versions)) for event in page.rows]
    return Events(items=items, next=cast(str, page.next))


@router.post("/{name}/commit", operation_id="commit_consumer", **requires(consumers.commit, gone=LOST))
async def commit_consumer(work: OpenWork, name: Name, request: Commit) -> Consumer:
    """Moves the consumer's position forward to a cursor that the consumer has returned.

    The position never moves back, so that a slower process does not undo the progress of another one.
    """
    return _consumer(await consumers.commit(work, name, request.cursor))


@router.post("/{name}/seek", operation_id="seek_consumer", **requires(consumers.seek, gone=LOST))
async def seek_consumer(work: OpenWork, name: Name, request: Seek) -> Consumer:
    """Moves the consumer to any event that is still kept. Cursors from before the move can no longer be committed."""
    return _consumer(await consumers.seek(work, name, request.to, request.cursor, request.time))


def _consumer(position: consumers.ConsumerPosition) -> Consumer:
    row = position.consumer
    return Consumer(
        name=row.name,
        event_types=row.event_types,
        versions=row.versions,
        cursor=position.cursor,
        behind=position.behind,
        created_at=row.created_at,
        committed_at=row.committed_at,
    )
