"""Measures in REST: shapes and routes, without rules."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from app.core import ids
from app.playbook import measures, models, queries
from app.response.administration.measures import amend_measure as amend
from app.rest.door import OpenWork, requires
from app.rest.pages import NOT_NAMED, Changes, Input, Shape
from app.rest.route import Route
from app.rest.values import Number

router = APIRouter(prefix="/v1", tags=["playbook"], route_class=Route)
MeasurePath = Annotated[str, Path(description="A measure's code or id.")]
Direction = Literal["up", "down"]
Kind = Literal["growth", "count", "percentage", "criterion"]
Forms = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=500)]
SEM = "Standard error of measurement, in the measure's unit; null where it is not known."
FORMS = "The measure's passages or versions; null where any name is accepted."
KIND = "`growth`, or `count`, `percentage` or `criterion`, each of which is judged by rules of its own."


class Measure(Shape):
    """An instrument that gives scores. Its code is accepted wherever its id is."""

    id: str
    code: str
    name: str
    area: str
    unit: str
    direction: str
    sem: float | None
    lowest: float
    highest: float
    kind: str = Field(description=KIND)
    forms: list[str] | None = Field(description=FORMS)
    version: int = Field(description="The number of changes, plus one: for If-Match.")


class MeasureList(Shape):
    """All measures."""

    items: list[Measure]


class NewMeasure(Input):
    """A measure to be created."""

    code: str = Field(max_length=63, description="The code by which scores and rules name it; it never changes.")
    name: str = Field(max_length=200)
    area: str = Field(description="A code or an id.")
    unit: str = Field(max_length=100)
    direction: Direction = Field(description="The direction in which scores improve.")
    lowest: Number
    highest: Number
    sem: Number | None = Field(default=None, description=SEM)
    kind: Kind = Field(default="growth", description=KIND)
    forms: Forms | None = Field(default=None, description=FORMS)


class MeasureChanges(Changes):
    """Changes of a measure; other fields keep their values. Direction, kind and area are fixed once it is in use."""

    code: str = Field(default=NOT_NAMED, max_length=63, description="Cannot be changed; another code is refused.")
    name: str = Field(default=NOT_NAMED, max_length=200)
    area: str = Field(default=NOT_NAMED, description="A code or an id.")
    unit: str = Field(default=NOT_NAMED, max_length=100)
    direction: Direction = Field(default=NOT_NAMED, description="The direction in which scores improve.")
    lowest: Number = NOT_NAMED
    highest: Number = NOT_NAMED
    sem: Number | None = Field(default=NOT_NAMED, description=SEM)
    kind: Kind = Field(default=NOT_NAMED, description=KIND)
    forms: Forms | None = Field(default=NOT_NAMED, description=FORMS)


@router.get("/measures", operation_id="list_measures", **requires(queries.measures))
async def list_measures(work: OpenWork) -> MeasureList:
    """Lists the district's measures, by code."""
    return MeasureList(items=[_measure(row) for row in await queries.measures(work)])


@router.post("/measures", status_code=201, operation_id="make_measure", **requires(measures.make_measure))
async def make_measure(work: OpenWork, new: NewMeasure) -> Measure:
    """Creates a measure. Until a rule names it, the rule for its area judges it, otherwise the general rule."""
    return _measure(await measures.make_measure(work, measures.NewMeasure(**new.model_dump())))


@router.patch("/measures/{measure}", operation_id="amend_measure", **requires(amend))
async def amend_measure(work: OpenWork, measure: MeasurePath, changes: MeasureChanges) -> Measure:
    """Changes a measure. If its SEM changes, its series are judged again shortly afterwards, which raises no alerts.

    A change that would invalidate recorded scores is refused: another direction, kind or area once there are scores or
    supports, or a range or list of forms that excludes scores.
    """
    return _measure(await amend(work, measure, changes.model_dump(exclude_unset=True)))


def _measure(row: models.Measure) -> Measure:
    return Measure(
        id=ids.format_id("measure", row.id),
        code=row.code,
        name=row.name,
        area=ids.format_id("area", row.area_id),
        unit=row.unit,
        direction=row.direction,
        sem=row.sem,
        lowest=row.lowest,
        highest=row.highest,
        kind=row.kind,
        forms=row.forms,
        version=row.version,
    )
