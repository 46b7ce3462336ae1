"""Defines the REST commands on measures."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from app.playbook import measures
from app.playbook.resource import MeasureResource
from app.response.administration.measures import amend_measure as amend
from app.rest.door import OpenWork, requires
from app.rest.pages import NOT_NAMED, Changes, Input, Shape
from app.rest.resources import SHAPES
from app.rest.route import Route
from app.rest.values import Number

router = APIRouter(prefix="/v1", tags=["playbook"], route_class=Route)
MEASURE = SHAPES.of(MeasureResource)
MeasurePath = Annotated[str, Path(description="A measure's code or id.")]
Direction = Literal["up", "down"]
Kind = Literal["growth", "count", "percentage", "criterion"]
Forms = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=500)]
SEM = "Standard error of measurement, in the measure's unit; null where it is not known."
FORMS = "The measure's passages or versions; null where any name is accepted."
KIND = "`growth`, or `count`, `percentage` or `criterion`, each of which is judged by rules of its own."


class NewMeasure(Input):
    """A measure to create."""

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
    """Changes of a measure; other fields stay unchanged. Direction, kind and area cannot change once the measure is in
    use.
    """

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


@router.post(
    "/measures", status_code=201, operation_id="make_measure", response_model=MEASURE, **requires(measures.make_measure)
)
async def make_measure(work: OpenWork, new: NewMeasure) -> Shape:
    """Creates a measure.

    It is judged by the rule for its area, or else by the general rule, until a rule names the measure itself.
    """
    return SHAPES.render(MeasureResource, await measures.make_measure(work, measures.NewMeasure(**new.model_dump())))


@router.patch("/measures/{measure}", operation_id="amend_measure", response_model=MEASURE, **requires(amend))
async def amend_measure(work: OpenWork, measure: MeasurePath, changes: MeasureChanges) -> Shape:
    """Changes a measure. If its SEM changes, its series are judged again shortly afterwards, which raises no alerts.

    A change that would invalidate recorded scores is refused: another direction, kind or area once there are scores or
    supports, or a range or list of forms that excludes scores.
    """
    return SHAPES.render(MeasureResource, await amend(work, measure, changes.model_dump(exclude_unset=True)))
