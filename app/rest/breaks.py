"""Owns the breaks of the schools' year in REST: shapes and routes, no rule."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.response.administration.breaks import declare_break, remove_break
from app.rest.door import After, Limit, Opened, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place
from app.rest.roster import school_id
from app.rest.route import Route
from app.roster import models
from app.roster.breaks import NewBreak, breaks

router = APIRouter(prefix="/v1/breaks", tags=["roster"], route_class=Route)


class NewSchoolBreak(Input):
    """Days without school. The same days of the same school said again are the same break."""

    school: str | None = Field(default=None, description="An id or an external id; none for the whole district.")
    begins_on: date = Field(description="The first day; it counts.")
    ends_on: date = Field(description="The last day; it counts.")
    name: str | None = Field(default=None, min_length=1, max_length=200, description="As the district calls it.")


class SchoolBreak(Shape):
    """Days without school. A week whose weekdays all lie in breaks is no week of instruction."""

    id: str
    school: str | None = Field(description="None for the whole district, schools that come later included.")
    begins_on: date
    ends_on: date
    name: str | None
    declared_at: datetime


@router.get("", operation_id="list_breaks", **asks(breaks))
async def list_breaks(
    work: Opened,
    request: Request,
    response: Response,
    school: Annotated[str | None, Query(description="An id or an external id: what holds there.")] = None,
    after: After = None,
    limit: Limit = None,
) -> Items[SchoolBreak]:
    """The district's breaks, in the order in which they were said."""
    of_school = await school_id(work, school)
    page = await breaks(work, place(work, "breaks", {"school": of_school}, after, limit), of_school)
    items, then = paged(request, response, page, _break)
    return Items(items=items, next=then)


@router.post("", status_code=201, operation_id="declare_break", **asks(declare_break))
async def say_break(work: Opened, response: Response, new: NewSchoolBreak) -> SchoolBreak:
    """Says a break (201; 200 where it is known). What it changes is judged shortly; that raises no alerts."""
    laid = await declare_break(work, NewBreak(**new.model_dump()))
    response.status_code = 201 if laid.is_new else 200
    return _break(laid.row)


@router.delete("/{break_}", status_code=204, operation_id="remove_break", **asks(remove_break))
async def take_back_break(work: Opened, break_: str) -> None:
    """Takes a break back: its weeks are weeks of instruction again, and judged so shortly, without alerts."""
    await remove_break(work, row_id("break", break_))


def _break(row: models.SchoolBreak) -> SchoolBreak:
    return SchoolBreak(
        id=ids.show("break", row.id),
        school=ids.show("org", row.school_id) if row.school_id else None,
        begins_on=row.begins_on,
        ends_on=row.ends_on,
        name=row.name,
        declared_at=row.declared_at,
    )
