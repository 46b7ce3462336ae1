"""Resolves and shows the names of roster rows: ids and external ids. It contains no rules."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import strawberry

from app.access.work import Work
from app.graphql.door import OperationContext
from app.roster import models, queries
from app.roster.references import parse

Finder = Callable[[Work, str], Awaitable[models.FromSource]]
NAME = "an id, or an external id `sis:<source>:<sourcedId>`"


@strawberry.type(description="A row's id in a source; `sis:<source>:<sourcedId>` is accepted wherever an id is.")
class ExternalId:
    """An external id of a row."""

    source: str
    sourced_id: str


async def external_ids_of(context: OperationContext, row: UUID) -> list[ExternalId]:
    """Returns the ids of a row in its sources."""
    aliases = await context.load(queries.external_ids_of, row) or []
    return [ExternalId(source=source, sourced_id=sourced_id) for source, sourced_id in aliases]


async def row_id(context: OperationContext, kind: str, name: str | None, finder: Finder) -> UUID | None:
    """Returns the id of the row that a filter names by id or external id; raises `NotFound`."""
    if name is None:
        return None
    reference = parse(kind, name)
    return reference.id if reference.id is not None else (await context.read(finder, name)).id
