"""Defines the REST commands on supports."""

from datetime import date
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from app.access.work import Work
from app.response import queries as response_queries
from app.response import service as response_service
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Input, text_field
from app.rest.resources import READER, SHAPES
from app.rest.route import Route
from app.support import queries, service
from app.support.resource import SupportResource

router = APIRouter(prefix="/v1", tags=["supports"], route_class=Route)
SUPPORT = SHAPES.of(SupportResource)
READS = (queries.support, response_queries.verdicts_now)


class NewSupport(Input):
    """A support to plan."""

    student: str = Field(description="An id or an external id.")
    intervention: str = text_field(
        service.NewSupport, "intervention", description="The intervention, such as repeated reading."
    )
    level: int = Field(description="The rank of a level: 2 is targeted by default.")
    measure: str = Field(description="The measure that follows the response: a code or an id.")
    starts_on: date
    goal: float
    goal_on: date
    minutes_per_session: int
    sessions_per_week: int
    baseline: float | None = Field(default=None, description="By default, the median of the last three scores.")
    concerns: list[str] = Field(
        default=[], max_length=100, description="The accepted concerns that this support answers."
    )
    lead: str | None = Field(default=None, description="An id or an external id.")
    provider: str | None = Field(default=None, description="An id or an external id.")


class SupportStart(Input):
    """The day on which a support started."""

    on: date | None = Field(default=None, description="By default, the planned day.")


class SupportChange(Input):
    """Changes of a support from a day on; fields that are not given stay unchanged."""

    because: str = text_field(service.SupportChange, "because")
    begins_on: date | None = None
    level: int | None = None
    goal: float | None = None
    goal_on: date | None = None
    baseline: float | None = None
    minutes_per_session: int | None = None
    sessions_per_week: int | None = None


class SupportEnd(Input):
    """The reason and the day on which a support ended."""

    because: str = Field(min_length=service.BECAUSE.min, max_length=service.BECAUSE.max)
    on: date | None = None


async def _answer(work: Work, support_id: UUID, status: int = 200) -> Response:
    text = await READER.read_row(work, SupportResource, support_id)
    return Response(text, status, media_type="application/json")


@router.post(
    "/supports",
    status_code=201,
    operation_id="plan_support",
    response_model=SUPPORT,
    **requires(service.plan_support, *READS),
)
async def plan_support(work: OpenWork, new: NewSupport) -> Response:
    """Plans a support with its goal and aimline."""
    values = new.model_dump() | {"concerns": tuple(new.concerns)}
    row = await service.plan_support(work, service.NewSupport(**values))
    return await _answer(work, row.id, 201)


@router.post(
    "/supports/{support}/start",
    operation_id="start_support",
    response_model=SUPPORT,
    **requires(response_service.start_support, *READS),
)
async def start_support(work: OpenWork, support: str, start: SupportStart) -> Response:
    """Starts a planned support on the day of its first session."""
    row = await response_service.start_support(work, row_id("support", support), start.on)
    return await _answer(work, row.id)


@router.post(
    "/supports/{support}/change",
    operation_id="change_support",
    response_model=SUPPORT,
    **requires(response_service.change_support, *READS),
)
async def change_support(work: OpenWork, support: str, change: SupportChange) -> Response:
    """Changes a support: a new phase with another level, goal or dosage begins on the given day."""
    support_id = row_id("support", support)
    await response_service.change_support(work, support_id, service.SupportChange(**change.model_dump()))
    return await _answer(work, support_id)


@router.post(
    "/supports/{support}/end",
    operation_id="end_support",
    response_model=SUPPORT,
    **requires(response_service.end_support, *READS),
)
async def end_support(work: OpenWork, support: str, end: SupportEnd) -> Response:
    """Ends a planned or active support."""
    row = await response_service.end_support(work, row_id("support", support), end.because, end.on)
    return await _answer(work, row.id)
