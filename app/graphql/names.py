"""Owns how roster rows are named: ids and external ids, in filters and on rows. Holds no rule."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import strawberry

from app.access.work import Work
from app.graphql.door import OperationContext
from app.roster import models, queries
from app.roster.references import parse

Finder = Callable[[Work, str], Awaitable[models.FromSource]]
NAME = "an id, or an external id `sis:<source>:<sourcedId>`"


@strawberry.type(description="The row's name in a source; `sis:<source>:<sourcedId>` stands wherever an id does.")
class ExternalId:
    """An alias."""

    source: str
    sourced_id: str


async def external_ids_of(asked: OperationContext, row: UUID) -> list[ExternalId]:
    """How the sources know a row."""
    found = await asked.load(queries.external_ids_of, row) or []
    return [ExternalId(source=source, sourced_id=sourced_id) for source, sourced_id in found]


async def row_id(asked: OperationContext, kind: str, name: str | None, finder: Finder) -> UUID | None:
    """The row that a filter names by its id or external id; raises `NotFound`."""
    if name is None:
        return None
    named = parse(kind, name)
    return named.id if named.id is not None else (await asked.read(finder, name)).id
