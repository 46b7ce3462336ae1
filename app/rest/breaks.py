"""The breaks of the school year in REST: shapes and routes, without rules."""

from datetime import date, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.response.administration.breaks import declare_break, remove_break
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Input, Items, Shape, page_keyset, to_page
from app.rest.roster import school_id
from app.rest.route import Route
from app.roster import models
from app.roster.breaks import NewBreak, breaks

router = APIRouter(prefix="/v1/breaks", tags=["roster"], route_class=Route)


class NewSchoolBreak(Input):
    """Days without school to be declared. Declaring the same days of the same school again returns the same break."""

    school: str | None = Field(default=None, description="The school's id or external id; null for the whole district.")
    begins_on: date = Field(description="The first day of the break, included.")
    ends_on: date = Field(description="The last day of the break, included.")
    name: str | None = Field(
        default=None, min_length=1, max_length=200, description="The district's name for the break."
    )


class SchoolBreak(Shape):
    """Days without school. A week whose weekdays all lie in breaks is not an instructional week."""

    id: str
    school: str | None = Field(
        description=(
            "The school's id; null for a break of the whole district, which schools that are added later have too."
        )
    )
    begins_on: date
    ends_on: date
    name: str | None
    declared_at: datetime


@router.get("", operation_id="list_breaks", **requires(breaks))
async def list_breaks(
    work: OpenWork,
    request: Request,
    response: Response,
    school: Annotated[
        str | None, Query(description="A school's id or external id: only the breaks that apply to it.")
    ] = None,
    after: After = None,
    limit: Limit = None,
) -> Items[SchoolBreak]:
    """Lists the district's breaks, in the order in which they were declared."""
    of_school = await school_id(work, school)
    page = await breaks(work, page_keyset(work, "breaks", {"school": of_school}, after, limit), of_school)
    items, next_cursor = to_page(request, response, page, _break)
    return Items(items=items, next=next_cursor)


KNOWN = {200: {"model": SchoolBreak, "description": "The break was declared before."}}


@router.post("", status_code=201, operation_id="declare_break", **requires(declare_break, answers=KNOWN))
async def declare_school_break(work: OpenWork, response: Response, new: NewSchoolBreak) -> SchoolBreak:
    """Declares a break: 201, or 200 if it exists already.

    The affected series are judged again shortly afterwards, which raises no alerts.
    """
    declared = await declare_break(work, NewBreak(**new.model_dump()))
    response.status_code = 201 if declared.is_new else 200
    return _break(declared.row)


@router.delete("/{break_}", status_code=204, operation_id="remove_break", **requires(remove_break))
async def remove_school_break(work: OpenWork, break_: str) -> None:
    """Removes a break; its weeks become instructional weeks again.

    The affected series are judged again shortly afterwards, which raises no alerts.
    """
    await remove_break(work, row_id("break", break_))


def _break(row: models.SchoolBreak) -> SchoolBreak:
    return SchoolBreak(
        id=ids.format_id("break", row.id),
        school=ids.format_id("org", row.school_id) if row.school_id else None,
        begins_on=row.begins_on,
        ends_on=row.ends_on,
        name=row.name,
        declared_at=row.declared_at,
    )
