"""Owns areas, levels and measures in REST: shapes and routes, no rule."""

from fastapi import APIRouter

from app.core import ids
from app.playbook import models, queries
from app.rest.door import Opened, asks
from app.rest.pages import Shape

router = APIRouter(prefix="/v1", tags=["playbook"])


class Area(Shape):
    """An area of concern; its code stands wherever its id does. A secured one needs the scope area:<code>."""

    id: str
    code: str
    name: str
    parent: str | None
    secured: bool


class Level(Shape):
    """A level of support (of the support, not of the child)."""

    id: str
    rank: int
    name: str


class Measure(Shape):
    """An instrument; its code stands wherever its id does."""

    id: str
    code: str
    name: str
    area: str
    unit: str
    direction: str
    sem: float | None
    lowest: float
    highest: float


class AreaList(Shape):
    """All areas."""

    items: list[Area]


class LevelList(Shape):
    """All levels."""

    items: list[Level]


class MeasureList(Shape):
    """All measures."""

    items: list[Measure]


@router.get("/areas", operation_id="list_areas", **asks(queries.areas))
async def list_areas(work: Opened) -> AreaList:
    """The district's areas, by code."""
    return AreaList(items=[_area(row) for row in await queries.areas(work)])


@router.get("/levels", operation_id="list_levels", **asks(queries.levels))
async def list_levels(work: Opened) -> LevelList:
    """The district's levels of support, by rank."""
    rows = await queries.levels(work)
    return LevelList(items=[Level(id=ids.show("level", row.id), rank=row.rank, name=row.name) for row in rows])


@router.get("/measures", operation_id="list_measures", **asks(queries.measures))
async def list_measures(work: Opened) -> MeasureList:
    """The district's measures, by code."""
    return MeasureList(items=[_measure(row) for row in await queries.measures(work)])


def _area(row: models.Area) -> Area:
    return Area(
        id=ids.show("area", row.id),
        code=row.code,
        name=row.name,
        parent=ids.show("area", row.parent_id) if row.parent_id else None,
        secured=row.secured,
    )


def _measure(row: models.Measure) -> Measure:
    return Measure(
        id=ids.show("measure", row.id),
        code=row.code,
        name=row.name,
        area=ids.show("area", row.area_id),
        unit=row.unit,
        direction=row.direction,
        sem=row.sem,
        lowest=row.lowest,
        highest=row.highest,
    )
