"""Declares the filters by area, level and measure, which the lists of many resources use.

The two APIs report an unknown code or id by different errors. In REST, `Invalid` is raised, with a JSON pointer that
names the parameter. In GraphQL, `NotFound` is raised.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy.sql.elements import SQLCoreOperations

from app.access.work import Work
from app.core.errors import Invalid, NotFound
from app.playbook.models import Area, Level, Measure
from app.playbook.queries import area_named, level_of_rank, measure_named
from app.resources.listing import Filter, Resolver

Find = Callable[[Work, Any, str], Awaitable[Area | Level | Measure]]


def by_area(column: SQLCoreOperations[UUID]) -> Filter[UUID]:
    """Returns a filter by area, given as a code or an id."""
    return _filter("area", str, column, area_named, "Only rows of this area: a code or an id.", "reading")


def by_measure(column: SQLCoreOperations[UUID]) -> Filter[UUID]:
    """Returns a filter by measure, given as a code or an id."""
    return _filter("measure", str, column, measure_named, "Only rows of this measure: a code or an id.", "orf")


def by_level(column: SQLCoreOperations[UUID]) -> Filter[UUID]:
    """Returns a filter by level, given as a rank."""
    return _filter("level", int, column, level_of_rank, "Only rows of the level with this rank.", 2)


def _filter(
    kind: str, type_: type[Any], column: SQLCoreOperations[UUID], find: Any, description: str, example: Any
) -> Filter[UUID]:
    return Filter(
        kind, type_, lambda row_id: column == row_id, description, example, resolve=_resolver(kind, find), bound=UUID
    )


def _resolver(kind: str, find: Find) -> Resolver:
    async def resolve(work: Work, name: str, pointer: str | None) -> UUID:
        try:
            return (await find(work, name, pointer or "")).id
        except Invalid:
            if pointer is None:
                raise NotFound(kind) from None
            raise

    return resolve
