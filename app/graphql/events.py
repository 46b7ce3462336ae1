"""Defines the GraphQL types and queries of the change feed. It contains no rules.

The events, cursors and payloads are the same as in REST.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from app.access.work import Work
from app.core.page import Keyset, keyset, page_size
from app.events import feed, models
from app.events.catalogue import EventType
from app.events.render import body, schema
from app.graphql.door import Info, guarded_field
from app.graphql.node import show_id
from app.graphql.types import PageInfo

TYPES = "Only events of these types."
VERSIONS = "The payload version of a type, as `concern.raised:2`. By default, version 1 of each."


@strawberry.type(name="Event", description="An event: its type, its time, ids and a link; never a name or a value.")
class FeedEvent:
    """An event of the change feed, without the values that changed."""

    id: strawberry.ID
    type: str
    timestamp: datetime
    subject: strawberry.ID = strawberry.field(description="The id of the row that the event is about.")
    data: JSON = strawberry.field(description="The ids, the version and the link: the `data` of the feed in REST.")

    @classmethod
    def of(cls, event: models.Event, base_url: str, versions: Mapping[str, int]) -> "FeedEvent":
        """Returns the GraphQL object for an event."""
        return cls(
            id=show_id("event", event.id),
            type=event.type,
            timestamp=event.at,
            subject=show_id(event.subject_kind, event.subject_id),
            data=JSON(body(event, base_url, versions)["data"]),
        )


@strawberry.type(description="An event with its cursor, which `after` and the feed in REST accept.")
class EventEdge:
    """An event of the change feed with its cursor."""

    node: FeedEvent
    cursor: str


@strawberry.type(
    description="Events in the order of their commits, oldest first. `endCursor` is never null: ask again with it."
)
class EventConnection:
    """A page of events of the change feed."""

    edges: list[EventEdge]
    page_info: PageInfo

    @classmethod
    def of(cls, edges: Sequence[EventEdge], end: str, *, is_full: bool) -> "EventConnection":
        """Returns the GraphQL object for a page. `end` is the cursor with which the next page is requested.

        If the page is full, there may be a next page.
        """
        start = edges[0].cursor if edges else None
        info = PageInfo(has_next_page=is_full, has_previous_page=False, start_cursor=start, end_cursor=end)
        return cls(edges=list(edges), page_info=info)


@strawberry.type(description="One version of the payload of a type of event.")
class PayloadVersion:
    """One version of an event type's payload."""

    version: int
    ids: list[str] = strawberry.field(description="The names of the ids in `data`.")
    body: JSON = strawberry.field(description="The JSON Schema of the event in REST and in webhooks.")


@strawberry.type(name="EventType", description="A type of event, with every version that is still sent, oldest first.")
class FeedEventType:
    """A type of event, with the versions of its payload."""

    name: str
    version: int
    meaning: str
    versions: list[PayloadVersion]

    @classmethod
    def of(cls, type_: EventType) -> "FeedEventType":
        """Returns the GraphQL object for a type of event."""
        versions = [
            PayloadVersion(version=one.version, ids=list(one.ids), body=JSON(schema(one))) for one in type_.versions
        ]
        return cls(name=type_.name, version=type_.version, meaning=type_.meaning, versions=versions)


def feed_keyset(work: Work, types: Sequence[str] | None, after: str | None, first: int | None) -> Keyset:
    """Returns the start and the length of a requested page of the change feed. REST uses the same cursors."""
    return keyset(work.district_id, "events", {"type": types}, after, page_size(first, "/first"), work.keyring)


@strawberry.type
class EventQueries:
    """The queries of the change feed."""

    @guarded_field(
        "The events after a cursor, from the last 30 days; `feed.expired` if events after it are no longer kept.",
        feed.events_after,
    )
    async def events(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        type_: Annotated[list[str] | None, strawberry.argument(name="type", description=TYPES)] = None,
        version: Annotated[list[str] | None, strawberry.argument(description=VERSIONS)] = None,
    ) -> EventConnection | None:
        context, types = info.context, sorted(set(type_)) if type_ else None
        versions = feed.read_versions(version or ())
        place = feed_keyset(context.work, types, after, first)
        page = await context.read(feed.events_after, place, types)
        end = await context.read(feed.feed_end)
        base_url = context.installation.base_url
        edges = [
            EventEdge(node=FeedEvent.of(event, base_url, versions), cursor=place.mark(end.epoch, event.seq))
            for event in page.rows
        ]
        return EventConnection.of(edges, str(page.next), is_full=len(edges) == place.limit)

    @guarded_field("The types of event.", feed.event_types)
    async def event_types(self, info: Info) -> list[FeedEventType] | None:
        return [FeedEventType.of(type_) for type_ in await info.context.read(feed.event_types)]
