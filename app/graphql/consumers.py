"""Defines the GraphQL types, queries and mutations for named consumers of the change feed. It contains no rules.

A consumer is a reader whose position in the feed the service stores.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import strawberry
from strawberry.scalars import JSON

from app.core.errors import NotFound, Violation
from app.core.page import keyset, page_size
from app.events import consumers
from app.graphql.door import Info, guarded_field
from app.graphql.events import EventConnection, EventEdge, FeedEvent
from app.graphql.problems import Problem, run_command, to_problems
from app.graphql.types import PageInfo

NAME = "The consumer's name, chosen by the client: a to z, 0 to 9, dots, hyphens, underscores."
VERSIONS = "The payload version for each type; for a type that is not named, the newest version at this moment."


@strawberry.enum(description="The position at which a new consumer begins.")
class ConsumerBegin(StrEnum):
    """The positions at which a new consumer can begin: the oldest event that is kept, or the next event."""

    BEGINNING = "beginning"
    END = "end"


@strawberry.enum(description="The position to which a consumer moves.")
class SeekTarget(StrEnum):
    """The positions to which a consumer can be moved."""

    BEGINNING = "beginning"
    END = "end"
    CURSOR = "cursor"
    TIME = "time"


@strawberry.type(name="EventConsumer", description="A named reader of the feed, whose position the service stores.")
class Consumer:
    """A named reader of the change feed, with the position that the service stores for it."""

    name: str
    event_types: list[str] = strawberry.field(description="All types, if empty.")
    versions: JSON = strawberry.field(description="The payload version for each type.")
    cursor: str = strawberry.field(description="The consumer's position in the feed.")
    behind: int = strawberry.field(description="How many of the district's events come after the position.")
    created_at: datetime
    committed_at: datetime | None

    @classmethod
    def of(cls, position: consumers.ConsumerPosition) -> "Consumer":
        """Returns the GraphQL object for a consumer."""
        row = position.consumer
        return cls(
            name=row.name,
            event_types=row.event_types,
            versions=JSON(row.versions),
            cursor=position.cursor,
            behind=position.behind,
            created_at=row.created_at,
            committed_at=row.committed_at,
        )

    @guarded_field(
        "The events after the position. Process them, then commit `endCursor`; until then the same are returned again.",
        consumers.consumer_events,
    )
    async def events(self, info: Info, first: int | None = None) -> EventConnection | None:
        context = info.context
        limit = page_size(first, "/first")
        row, page = await context.read(consumers.consumer_events, self.name, limit)
        base_url = context.installation.base_url
        edges = [
            EventEdge(
                node=FeedEvent.of(event, base_url, row.versions),
                cursor=consumers.cursor_after(context.work, row, event),
            )
            for event in page.rows
        ]
        return EventConnection.of(edges, str(page.next), is_full=len(edges) == limit)


@strawberry.type(description="A consumer with the cursor of its place in the list.")
class EventConsumerEdge:
    """A named reader of the change feed, with its cursor in the list of readers."""

    node: Consumer
    cursor: str


@strawberry.type(description="A page of the caller's consumers, by name.")
class EventConsumerConnection:
    """A page of named readers of the change feed."""

    edges: list[EventConsumerEdge]
    page_info: PageInfo


@strawberry.input(description="The event types that a consumer reads, and the position at which a new one begins.")
class KeepConsumerInput:
    """The input of `keepConsumer`."""

    name: str = strawberry.field(description=NAME)
    event_types: list[str] | None = strawberry.field(
        default=None,
        description="All types, if empty. By default, an existing consumer keeps its types, and a new one has all.",
    )
    versions: JSON | None = strawberry.field(default=None, description=VERSIONS)
    begin: ConsumerBegin = ConsumerBegin.END


@strawberry.input(description="The consumer to remove, with its position.")
class RemoveConsumerInput:
    """The input of `removeConsumer`."""

    name: str = strawberry.field(description=NAME)


@strawberry.input(description="The cursor up to which the client has processed the events.")
class CommitConsumerInput:
    """The input of `commitConsumer`."""

    name: str = strawberry.field(description=NAME)
    cursor: str = strawberry.field(description="The `endCursor` of the events that the client has processed.")


@strawberry.input(description="The position to which a consumer moves.")
class SeekConsumerInput:
    """The input of `seekConsumer`."""

    name: str = strawberry.field(description=NAME)
    to: SeekTarget
    cursor: str | None = strawberry.field(
        default=None,
        description="With `CURSOR`: a cursor of this consumer, or one of `events` with the same types or none.",
    )
    time: datetime | None = strawberry.field(default=None, description="With `TIME`: events from this instant on.")


@strawberry.type(description="The consumer after the command, or the problems.")
class ConsumerPayload:
    """The payload of the mutations that change a named reader of the change feed."""

    consumer: Consumer | None
    problems: list[Problem]


@strawberry.type(description="The problems; none if the command has succeeded.")
class RemoveConsumerPayload:
    """The payload of `removeConsumer`."""

    problems: list[Problem]


@strawberry.type
class ConsumerQueries:
    """The queries that list the caller's named readers of the change feed, or return the events that a reader has not
    processed.
    """

    @guarded_field("The caller's consumers, by name.", consumers.consumers)
    async def event_consumers(
        self, info: Info, first: int | None = None, after: str | None = None
    ) -> EventConsumerConnection | None:
        work = info.context.work
        place = keyset(work.district_id, "consumers", {}, after, page_size(first, "/first"), work.keyring)
        page = await info.context.read(consumers.consumers, place)
        edges = [
            EventConsumerEdge(node=Consumer.of(position), cursor=place.mark(position.consumer.name))
            for position in page.rows
        ]
        cursors = (edges[0].cursor, edges[-1].cursor) if edges else (None, None)
        info_ = PageInfo(
            has_next_page=page.next is not None,
            has_previous_page=False,
            start_cursor=cursors[0],
            end_cursor=cursors[1],
        )
        return EventConsumerConnection(edges=edges, page_info=info_)

    @guarded_field("One consumer, by its name.", consumers.consumer)
    async def event_consumer(self, info: Info, name: str) -> Consumer | None:
        try:
            return Consumer.of(await info.context.read(consumers.consumer, name))
        except NotFound:
            return None


@strawberry.type
class ConsumerMutations:
    """The mutations of named readers of the change feed."""

    @guarded_field(
        "Creates a consumer, or changes the event types of an existing one, which keeps its position.",
        consumers.save_consumer,
    )
    async def keep_consumer(self, info: Info, input: KeepConsumerInput) -> ConsumerPayload | None:
        versions: Any = input.versions or {}
        if not isinstance(versions, dict) or not all(type(number) is int for number in versions.values()):
            detail = "Versions are an object: a whole number by the event type's name."
            violation = Violation("/versions", "shape.dict_type", detail)
            return ConsumerPayload(consumer=None, problems=to_problems([violation]))
        types = None if input.event_types is None else tuple(input.event_types)
        new = consumers.NewConsumer(types, versions, "beginning" if input.begin is ConsumerBegin.BEGINNING else "end")
        saved, problems = await run_command(info.context, consumers.save_consumer, input.name, new)
        return _payload(None if saved is None else saved[0], problems)

    @guarded_field(
        "Moves the consumer forward to a cursor that it returned. It never moves back, so that a slower reader does "
        "not undo another's progress.",
        consumers.commit,
    )
    async def commit_consumer(self, info: Info, input: CommitConsumerInput) -> ConsumerPayload | None:
        return _payload(*await run_command(info.context, consumers.commit, input.name, input.cursor))

    @guarded_field(
        "Moves the consumer to any event that is still kept. Cursors that were returned before can no longer be "
        "committed.",
        consumers.seek,
    )
    async def seek_consumer(self, info: Info, input: SeekConsumerInput) -> ConsumerPayload | None:
        if input.time is not None and input.time.tzinfo is None:
            violation = Violation("/time", "shape.timezone_aware", "An instant has its offset, such as Z.")
            return ConsumerPayload(consumer=None, problems=to_problems([violation]))
        return _payload(
            *await run_command(info.context, consumers.seek, input.name, input.to.value, input.cursor, input.time)
        )

    @guarded_field("Removes a consumer and its position.", consumers.remove_consumer)
    async def remove_consumer(self, info: Info, input: RemoveConsumerInput) -> RemoveConsumerPayload | None:
        _, problems = await run_command(info.context, consumers.remove_consumer, input.name)
        return RemoveConsumerPayload(problems=problems)


def _payload(position: consumers.ConsumerPosition | None, problems: list[Problem]) -> ConsumerPayload:
    return ConsumerPayload(consumer=None if position is None else Consumer.of(position), problems=problems)
