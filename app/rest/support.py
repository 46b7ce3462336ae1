"""Supports, their phases and verdicts in REST: shapes and routes, without rules."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.access.work import Work
from app.core import ids
from app.playbook.queries import area_named, level_of_rank
from app.response import models as response_models
from app.response import queries as response_queries
from app.response import service as response_service
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Input, Items, Shape, page_keyset, text_field, to_page
from app.rest.response import Verdict, VerdictState, verdict_shape
from app.rest.roster import school_id, staff_id, student_id
from app.rest.route import Route
from app.support import models, queries, service

router = APIRouter(prefix="/v1", tags=["supports"], route_class=Route)
State = Literal["planned", "active", "ended"]


class NewSupport(Input):
    """A support to be planned."""

    student: str = Field(description="An id or an external id.")
    intervention: str = text_field(service.NewSupport, "intervention", description="What is done.")
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
    """Changes of a support from a day on; fields that are not given keep their values."""

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


class Phase(Shape):
    """The part of a support between two changes; its aimline runs from the baseline to the goal."""

    id: str
    number: int
    level: str
    begins_on: date
    ends_on: date | None
    baseline: float
    goal: float
    goal_on: date
    minutes_per_session: int
    sessions_per_week: int
    because: str


class Support(Shape):
    """A support with its phases and its current verdict."""

    id: str
    student: str
    intervention: str
    area: str
    level: str
    measure: str
    state: State
    lead: str | None
    provider: str | None
    starts_on: date
    ends_on: date | None
    ended_because: str | None
    concerns: list[str]
    phases: list[Phase]
    verdict: Verdict | None
    version: int


def phase_shape(row: models.Phase) -> Phase:
    """Returns a phase in REST's shape."""
    return Phase(
        id=ids.format_id("phase", row.id),
        number=row.number,
        level=ids.format_id("level", row.level_id),
        begins_on=row.begins_on,
        ends_on=row.ends_on,
        baseline=row.baseline,
        goal=row.goal,
        goal_on=row.goal_on,
        minutes_per_session=row.minutes_per_session,
        sessions_per_week=row.sessions_per_week,
        because=row.because,
    )


def support_shape(
    row: models.Support,
    phases: Sequence[models.Phase],
    concerns: Sequence[UUID],
    verdict: response_models.VerdictRow | None,
) -> Support:
    """Returns a support in REST's shape."""
    return Support.model_construct(
        id=ids.format_id("support", row.id),
        student=ids.format_id("student", row.student_id),
        intervention=row.intervention,
        area=ids.format_id("area", row.area_id),
        level=ids.format_id("level", row.level_id),
        measure=ids.format_id("measure", row.measure_id),
        state=cast(State, row.state),
        lead=ids.format_id("person", row.lead_id) if row.lead_id else None,
        provider=ids.format_id("person", row.provider_id) if row.provider_id else None,
        starts_on=row.starts_on,
        ends_on=row.ends_on,
        ended_because=row.ended_because,
        concerns=[ids.format_id("concern", concern) for concern in concerns],
        phases=[phase_shape(phase) for phase in phases],
        verdict=verdict_shape(verdict) if verdict else None,
        version=row.version,
    )


async def _load_shapes(work: Work, rows: Sequence[models.Support]) -> list[Support]:
    support_ids = [row.id for row in rows]
    phases = await queries.phases_of(work, support_ids)
    concerns = await queries.concern_ids_of(work, support_ids)
    verdicts = await response_queries.verdicts_now(work, support_ids)
    return [support_shape(row, phases[row.id], concerns[row.id], verdicts.get(row.id)) for row in rows]


READS = (queries.support, response_queries.verdicts_now)


@router.post("/supports", status_code=201, operation_id="plan_support", **requires(service.plan_support, *READS))
async def plan_support(work: OpenWork, new: NewSupport) -> Support:
    """Plans a support with its goal and aimline."""
    values = new.model_dump() | {"concerns": tuple(new.concerns)}
    return (await _load_shapes(work, [await service.plan_support(work, service.NewSupport(**values))]))[0]


@router.get("/supports", operation_id="list_supports", **requires(response_queries.supports))
async def list_supports(
    work: OpenWork,
    request: Request,
    response: Response,
    student: Annotated[str | None, Query(description="An id or an external id.")] = None,
    caseload: Annotated[
        str | None,
        Query(description="The lead's or provider's id or external id: only supports of that person's caseload."),
    ] = None,
    school: Annotated[str | None, Query(description="An id or an external id.")] = None,
    area: Annotated[str | None, Query(description="A code or an id.")] = None,
    level: Annotated[int | None, Query(description="The rank of a level.")] = None,
    state: State | None = None,
    verdict: VerdictState | None = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Support]:
    """Lists the supports within the caller's reach, in the order in which they were planned."""
    filters = response_queries.SupportFilter(
        student_id=await student_id(work, student),
        staff_id=await staff_id(work, caseload, "/caseload"),
        school_id=await school_id(work, school),
        area_id=(await area_named(work, area, "/area")).id if area else None,
        level_id=(await level_of_rank(work, level, "/level")).id if level is not None else None,
        state=state,
        verdict=verdict,
    )
    filter_values = {name: getattr(filters, name) for name in filters.__slots__}
    page = await response_queries.supports(work, page_keyset(work, "supports", filter_values, after, limit), filters)
    shapes = {shape.id: shape for shape in await _load_shapes(work, page.rows)}
    items, next_cursor = to_page(request, response, page, lambda row: shapes[ids.format_id("support", row.id)])
    return Items(items=items, next=next_cursor)


@router.get("/supports/{support}", operation_id="get_support", **requires(*READS))
async def get_support(work: OpenWork, support: str) -> Support:
    """Returns one support."""
    return (await _load_shapes(work, [await queries.support(work, row_id("support", support))]))[0]


@router.post(
    "/supports/{support}/start", operation_id="start_support", **requires(response_service.start_support, *READS)
)
async def start_support(work: OpenWork, support: str, start: SupportStart) -> Support:
    """Starts a planned support, when its first session was given."""
    row = await response_service.start_support(work, row_id("support", support), start.on)
    return (await _load_shapes(work, [row]))[0]


@router.post(
    "/supports/{support}/change", operation_id="change_support", **requires(response_service.change_support, *READS)
)
async def change_support(work: OpenWork, support: str, change: SupportChange) -> Support:
    """Changes a support: a new phase with another level, goal or dosage begins on the given day."""
    support_id = row_id("support", support)
    await response_service.change_support(work, support_id, service.SupportChange(**change.model_dump()))
    return (await _load_shapes(work, [await queries.support(work, support_id)]))[0]


@router.post("/supports/{support}/end", operation_id="end_support", **requires(service.end_support, *READS))
async def end_support(work: OpenWork, support: str, end: SupportEnd) -> Support:
    """Ends a planned or active support."""
    row = await service.end_support(work, row_id("support", support), end.because, end.on)
    return (await _load_shapes(work, [row]))[0]
