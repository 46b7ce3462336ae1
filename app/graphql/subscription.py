"""Defines the GraphQL subscriptions: events of the feed, changed verdicts, and syncs. It contains no rules.

The fields of the subscription root have no resolvers. Instead, `subscriber` follows the feed and creates the field's
value for each event.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

import strawberry

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Misuse
from app.events import catalogue, feed, models
from app.graphql.door import Info, guarded_field
from app.graphql.events import TYPES, VERSIONS, EventEdge, FeedEvent
from app.graphql.written import row_of
from app.response import models as responses
from app.response.resource import VerdictResource
from app.sis import models as syncs
from app.sis.runs.resource import RunResource
from app.support import models as supports
from app.support.resource import SupportResource

AFTER: Final = "The subscription begins after the event with this cursor. By default, at the end of the feed."
After = Annotated[str | None, strawberry.argument(description=AFTER)]


@needs(Can.READ_EVENTS, Can.READ_SUPPORTS, Can.READ_VERDICTS)
async def require_verdicts(_work: Work) -> None:
    """Does nothing; its decorator requires the permissions of `verdictChanged`."""


@needs(Can.READ_EVENTS, Can.READ_SYNC)
async def require_syncs(_work: Work) -> None:
    """Does nothing; its decorator requires the permissions of `syncChanged`."""


@needs(Can.READ_EVENTS)
async def require_events(_work: Work) -> None:
    """Does nothing; its decorator requires the permission of `events`."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row to which an event refers. It has only an id, from which the payload's fields are read."""

    id: UUID


@strawberry.type(
    description="A change of a support's verdict: an alert was opened, classified or closed, or too few sessions "
    "were delivered."
)
class VerdictChanged:
    """An event about a verdict, with the verdict and its support."""

    event: FeedEvent
    cursor: str
    support: supports.Support | None = row_of(SupportResource, "The support, as it is now.")
    verdict: responses.VerdictRow | None = row_of(VerdictResource, "The verdict that the event reports.")


@strawberry.type(description="A sync was applied, was held, or failed.")
class SyncChanged:
    """An event about a sync, with the sync run."""

    event: FeedEvent
    cursor: str
    sync_run: syncs.SisRun | None = row_of(RunResource, "The run, as it is now.")


@strawberry.type(
    description=(
        "Events that the caller may see, as they come. Over a WebSocket (`graphql-transport-ws`) or as server-sent "
        "events; docs/graphql.md shows how. A subscription ends with its token."
    )
)
class Subscription:
    """The root type of all subscriptions."""

    @guarded_field("Every event of the feed.", require_events, make=strawberry.subscription)
    async def events(
        self,
        info: Info,
        type_: Annotated[list[str] | None, strawberry.argument(name="type", description=TYPES)] = None,
        version: Annotated[list[str] | None, strawberry.argument(description=VERSIONS)] = None,
        after: After = None,
    ) -> AsyncGenerator[EventEdge | None, None]:
        raise _no_resolver()
        yield  # makes this a generator, as the library requires

    @guarded_field(
        "Changed verdicts: an alert was opened, classified or closed, or too few sessions were delivered "
        "(`response.*`).",
        require_verdicts,
        make=strawberry.subscription,
    )
    async def verdict_changed(self, info: Info, after: After = None) -> AsyncGenerator[VerdictChanged | None, None]:
        raise _no_resolver()
        yield  # as above

    @guarded_field("Syncs that were applied, were held, or failed.", require_syncs, make=strawberry.subscription)
    async def sync_changed(self, info: Info, after: After = None) -> AsyncGenerator[SyncChanged | None, None]:
        raise _no_resolver()
        yield  # as above


def _no_resolver() -> Misuse:
    return Misuse("Subscriptions are run by `subscriber`.")


Make = Callable[[models.Event, str, str, Mapping[str, int]], Any]
"""A function that creates the value of a field from an event, its cursor, the service's base URL, and the payload
versions.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """The source of the values of one subscription field.

    * `require` is a function that requires the field's permissions.
    * `make` creates a value from an event.
    * `types` are the types of event that the field delivers. If they are None, the caller chooses them.
    """

    require: Callable[[Work], Awaitable[None]]
    make: Make
    types: tuple[str, ...] | None = None

    def types_of(self, given: Mapping[str, Any]) -> list[str] | None:
        """Returns the types of event that a subscription delivers, or None for all types.

        Raises `Malformed` for an unknown type.
        """
        if self.types is not None:
            return sorted(self.types)
        types = sorted(set(given.get("type") or ()))
        feed.require_types(types)
        return types or None


def _edge(event: models.Event, cursor: str, base_url: str, versions: Mapping[str, int]) -> EventEdge:
    return EventEdge(node=FeedEvent.of(event, base_url, versions), cursor=cursor)


def _verdict(event: models.Event, cursor: str, base_url: str, versions: Mapping[str, int]) -> VerdictChanged:
    shown = FeedEvent.of(event, base_url, versions)
    return VerdictChanged(
        event=shown, cursor=cursor, support=_row(event.ids["support"]), verdict=_row(event.ids["verdict"])
    )


def _sync(event: models.Event, cursor: str, base_url: str, versions: Mapping[str, int]) -> SyncChanged:
    return SyncChanged(event=FeedEvent.of(event, base_url, versions), cursor=cursor, sync_run=_row(event.ids["run"]))


def _row(text: str) -> Any:
    return Row(UUID(text))


_VERDICTS: Final = catalogue.expand(["response.*"])
"""All types of event about a verdict. A type that is added later is delivered too."""
_SYNCS = (catalogue.SYNC_APPLIED, catalogue.SYNC_HELD, catalogue.SYNC_FAILED, catalogue.SYNC_FAILED_TO_APPLY)
SOURCES: Final = {
    "events": Source(require_events, _edge),
    "verdictChanged": Source(require_verdicts, _verdict, tuple(_VERDICTS)),
    "syncChanged": Source(require_syncs, _sync, tuple(type_.name for type_ in _SYNCS)),
}
"""The sources of the subscription fields, keyed by the fields' names in GraphQL."""
