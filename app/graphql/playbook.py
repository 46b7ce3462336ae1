"""Owns the shapes of the playbook: areas, levels, measures. Holds no rule."""

from typing import TypeVar
from uuid import UUID

import strawberry

from app.core import ids
from app.core.errors import NotFound
from app.graphql.door import Asked, Info, asks
from app.graphql.node import Node, maybe_shown, shown
from app.playbook import models, queries

Named = TypeVar("Named", models.Area, models.Measure)


@strawberry.type(description="An area of concern, in the district's own tree.")
class Area(Node):
    """An area."""

    code: str
    name: str
    secured: bool = strawberry.field(description="Opens only to a scope of its own, `area:<code>`.")
    parent_id: strawberry.ID | None

    @classmethod
    def of(cls, row: models.Area) -> "Area":
        """The shape of a row."""
        return cls(
            id=shown("area", row.id),
            code=row.code,
            name=row.name,
            secured=row.secured,
            parent_id=maybe_shown("area", row.parent_id),
        )


@strawberry.type(description="A level of support: of the support, not of the child. Rank 1 is core.")
class Level(Node):
    """A level."""

    rank: int
    name: str

    @classmethod
    def of(cls, row: models.Level) -> "Level":
        """The shape of a row."""
        return cls(id=shown("level", row.id), rank=row.rank, name=row.name)


@strawberry.type(description="An instrument.")
class Measure(Node):
    """A measure."""

    area_row: strawberry.Private[UUID]
    code: str
    name: str
    unit: str
    direction: str = strawberry.field(description="`up` or `down`: which is better.")
    sem: float | None = strawberry.field(description="Standard error of measurement, in the unit.")
    lowest: float
    highest: float

    @asks("The area that it measures.", queries.areas)
    async def area(self, info: Info) -> Area | None:
        return await area_of(info.context, self.area_row)

    @classmethod
    def of(cls, row: models.Measure) -> "Measure":
        """The shape of a row."""
        return cls(
            id=shown("measure", row.id),
            area_row=row.area_id,
            code=row.code,
            name=row.name,
            unit=row.unit,
            direction=row.direction,
            sem=row.sem,
            lowest=row.lowest,
            highest=row.highest,
        )


@strawberry.type
class PlaybookQueries:
    """The playbook's part of the query root."""

    @asks("All areas, by code.", queries.areas)
    async def areas(self, info: Info) -> list[Area] | None:
        return [Area.of(row) for row in await info.context.once(queries.areas)]

    @asks("All levels, by rank.", queries.levels)
    async def levels(self, info: Info) -> list[Level] | None:
        return [Level.of(row) for row in await info.context.once(queries.levels)]

    @asks("All measures, by code.", queries.measures)
    async def measures(self, info: Info) -> list[Measure] | None:
        return [Measure.of(row) for row in await info.context.once(queries.measures)]


async def area_of(asked: Asked, area_id: UUID) -> Area | None:
    """The area of this id."""
    return next((Area.of(row) for row in await asked.once(queries.areas) if row.id == area_id), None)


async def level_of(asked: Asked, level_id: UUID) -> Level | None:
    """The level of this id."""
    return next((Level.of(row) for row in await asked.once(queries.levels) if row.id == level_id), None)


async def measure_of(asked: Asked, measure_id: UUID) -> Measure | None:
    """The measure of this id."""
    return next((Measure.of(row) for row in await asked.once(queries.measures) if row.id == measure_id), None)


async def area_id_of(asked: Asked, name: str | None) -> UUID | None:
    """The id of the area of this code or id; raises `NotFound`."""
    return None if name is None else _named("area", await asked.once(queries.areas), name)


async def measure_id_of(asked: Asked, name: str | None) -> UUID | None:
    """The id of the measure of this code or id; raises `NotFound`."""
    return None if name is None else _named("measure", await asked.once(queries.measures), name)


async def level_id_of(asked: Asked, rank: int | None) -> UUID | None:
    """The id of the level of this rank; raises `NotFound`."""
    if rank is None:
        return None
    for row in await asked.once(queries.levels):
        if row.rank == rank:
            return row.id
    raise NotFound("level")


def _named(kind: str, rows: list[Named], name: str) -> UUID:
    for row in rows:
        if name in (row.code, ids.show(kind, row.id)):
            return row.id
    raise NotFound(kind)
