"""Owns named consumers of the change feed in REST: shapes and routes, no rule."""

from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Path, Request, Response
from pydantic import AwareDatetime, Field

from app.events import consumers
from app.events.render import body
from app.rest.door import After, House, Limit, Opened, asks
from app.rest.events import Event, Events
from app.rest.pages import Input, Items, Shape, paged, place
from app.rest.route import Route

router = APIRouter(prefix="/v1/events/consumers", tags=["events"], route_class=Route)
Name = Annotated[str, Path(description="The name that the client gave it: a to z, 0 to 9, dots, hyphens, underscores.")]
LOST = "Something after its place is kept no longer, or the feed began anew: seek."


class NewConsumer(Input):
    """What a consumer reads."""

    event_types: list[str] = Field(default=[], max_length=100, description="All, where none is named.")
    versions: dict[str, int] = Field(
        default={}, max_length=100, description="The payload's version by type; the newest of now, where none is named."
    )
    begin: Literal["beginning", "end"] = Field(
        default="end", description="Where a new one begins: what is kept (30 days), or what happens from now on."
    )


class Commit(Input):
    """How far the reader has come."""

    cursor: str = Field(max_length=500, description="The `next` of the events that it has dealt with.")


class Seek(Input):
    """Where the consumer goes."""

    to: Literal["beginning", "end", "cursor", "time"]
    cursor: str | None = Field(
        default=None,
        max_length=500,
        description="With `cursor`: one of its own, or of GET /v1/events with its types or none.",
    )
    time: AwareDatetime | None = Field(default=None, description="With `time`: what happened from this instant on.")


class Consumer(Shape):
    """A reader of the feed whose place is kept here."""

    name: str
    event_types: list[str] = Field(description="All, where there are none.")
    versions: dict[str, int] = Field(description="The payload's version by type.")
    cursor: str = Field(description="Its place.")
    behind: int = Field(description="How many events of the district, of any type, come after its place.")
    created_at: datetime
    committed_at: datetime | None


@router.get("", operation_id="list_consumers", **asks(consumers.consumers))
async def list_consumers(
    work: Opened, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[Consumer]:
    """The caller's consumers, by name."""
    page = await consumers.consumers(work, place(work, "consumers", {}, after, limit))
    items, then = paged(request, response, page, _consumer)
    return Items(items=items, next=then)


@router.put("/{name}", operation_id="keep_consumer", **asks(consumers.save_consumer))
async def keep_consumer(work: Opened, response: Response, name: Name, new: NewConsumer) -> Consumer:
    """Makes a consumer of this name (201), or gives the one that is there other types; its place stays (200)."""
    wanted = consumers.NewConsumer(tuple(new.event_types), new.versions, new.begin)
    found, is_new = await consumers.save_consumer(work, name, wanted)
    response.status_code = 201 if is_new else 200
    return _consumer(found)


@router.get("/{name}", operation_id="get_consumer", **asks(consumers.consumer))
async def get_consumer(work: Opened, name: Name) -> Consumer:
    """One consumer, and its place."""
    return _consumer(await consumers.consumer(work, name))


@router.delete("/{name}", status_code=204, operation_id="remove_consumer", **asks(consumers.remove_consumer))
async def remove_consumer(work: Opened, name: Name) -> None:
    """Forgets a consumer and its place."""
    await consumers.remove_consumer(work, name)


@router.get("/{name}/events", operation_id="list_consumer_events", **asks(consumers.consumer_events, gone=LOST))
async def list_consumer_events(work: Opened, request: Request, name: Name, limit: Limit = None) -> Events:
    """The events after its place. Deal with them, then commit `next`; until then the same ones come again."""
    house: House = request.app.state.house
    found, page = await consumers.consumer_events(work, name, limit)
    items = [Event.model_validate(body(event, house.base_url, found.versions)) for event in page.rows]
    return Events(items=items, next=cast(str, page.next))


@router.post("/{name}/commit", operation_id="commit_consumer", **asks(consumers.commit, gone=LOST))
async def commit_consumer(work: Opened, name: Name, asked: Commit) -> Consumer:
    """Moves the consumer to a cursor that reading it gave. Never back: a slower reader undoes nothing."""
    return _consumer(await consumers.commit(work, name, asked.cursor))


@router.post("/{name}/seek", operation_id="seek_consumer", **asks(consumers.seek, gone=LOST))
async def seek_consumer(work: Opened, name: Name, asked: Seek) -> Consumer:
    """Moves the consumer anywhere that is kept. What was read before commits nothing any more."""
    return _consumer(await consumers.seek(work, name, asked.to, asked.cursor, asked.time))


def _consumer(found: consumers.ConsumerPosition) -> Consumer:
    row = found.consumer
    return Consumer(
        name=row.name,
        event_types=row.event_types,
        versions=row.versions,
        cursor=found.cursor,
        behind=found.behind,
        created_at=row.created_at,
        committed_at=row.committed_at,
    )
