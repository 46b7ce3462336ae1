"""Defines the REST commands on breaks of the school year."""

from datetime import date

from fastapi import APIRouter, Response
from pydantic import Field

from app.response.administration.breaks import declare_break, remove_break
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Input, Shape
from app.rest.resources import SHAPES
from app.rest.route import Route
from app.roster.breaks import NewBreak
from app.roster.schools import BreakResource

router = APIRouter(prefix="/v1/breaks", tags=["roster"], route_class=Route)
BREAK = SHAPES.of(BreakResource)


class NewSchoolBreak(Input):
    """Days without school to declare. Declaring the same days of the same school again returns the same break."""

    school: str | None = Field(default=None, description="The school's id or external id; null for the whole district.")
    begins_on: date = Field(description="The first day of the break, included.")
    ends_on: date = Field(description="The last day of the break, included.")
    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="The district's name for the break."
    )


KNOWN = {200: {"model": BREAK, "description": "The break was declared before."}}


@router.post(
    "", status_code=201, operation_id="declare_break", response_model=BREAK, **requires(declare_break, answers=KNOWN)
)
async def declare_school_break(work: OpenWork, response: Response, new: NewSchoolBreak) -> Shape:
    """Declares a break: 201, or 200 if it exists already.

    The affected series are judged again shortly afterwards, which raises no alerts.
    """
    declared = await declare_break(work, NewBreak(**new.model_dump()))
    response.status_code = 201 if declared.is_new else 200
    return SHAPES.render(BreakResource, declared.row)


@router.delete("/{break_}", status_code=204, operation_id="remove_break", **requires(remove_break))
async def remove_school_break(work: OpenWork, break_: str) -> None:
    """Removes a break; its weeks become instructional weeks again.

    The affected series are judged again shortly afterwards, which raises no alerts.
    """
    await remove_break(work, row_id("break", break_))
