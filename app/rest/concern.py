"""Concerns in REST: shapes and routes, without rules."""

from datetime import date, datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.concern import models, queries, service
from app.core import ids
from app.playbook.queries import area_named
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Input, Items, Shape, page_keyset, text_field, to_page
from app.rest.roster import school_id, student_id
from app.rest.route import Route
from app.support.queries import unserved_concerns

router = APIRouter(prefix="/v1", tags=["concerns"], route_class=Route)
State = Literal["raised", "accepted", "dismissed", "resolved"]


class NewConcern(Input):
    """A concern to be raised about one student in one area."""

    student: str = Field(description="An id or an external id.")
    area: str = Field(description="A code or an id.")
    description: str = text_field(service.NewConcern, "description")
    raised_by: str | None = Field(
        default=None, description="The person who raised it; without it, the person whom the request acts for."
    )
    raised_on: date | None = Field(default=None, description="Without it, today.")


class ConcernReason(Input):
    """The reason for a change of state."""

    because: str | None = Field(default=None, max_length=service.BECAUSE.max)


class Concern(Shape):
    """A concern about one student in one area."""

    id: str
    student: str
    area: str
    state: State
    description: str
    raised_by: str | None
    raised_on: date
    settled_by: str | None
    settled_at: datetime | None
    settled_because: str | None
    version: int


def concern_shape(row: models.Concern) -> Concern:
    """Returns a concern in REST's shape."""
    return Concern.model_construct(
        id=ids.format_id("concern", row.id),
        student=ids.format_id("student", row.student_id),
        area=ids.format_id("area", row.area_id),
        state=cast(State, row.state),
        description=row.description,
        raised_by=ids.format_id("person", row.raised_by) if row.raised_by else None,
        raised_on=row.raised_on,
        settled_by=ids.format_id("person", row.settled_by) if row.settled_by else None,
        settled_at=row.settled_at,
        settled_because=row.settled_because,
        version=row.version,
    )


@router.post("/concerns", status_code=201, operation_id="raise_concern", **requires(service.raise_concern))
async def raise_concern(work: OpenWork, new: NewConcern) -> Concern:
    """Raises a concern about one student in one area."""
    return concern_shape(await service.raise_concern(work, service.NewConcern(**new.model_dump())))


@router.get("/concerns", operation_id="list_concerns", **requires(queries.concerns))
async def list_concerns(
    work: OpenWork,
    request: Request,
    response: Response,
    student: Annotated[str | None, Query(description="An id or an external id.")] = None,
    area: Annotated[str | None, Query(description="A code or an id.")] = None,
    school: Annotated[str | None, Query(description="An id or an external id.")] = None,
    state: State | None = None,
    unserved: Annotated[bool, Query(description="Only accepted concerns without an active support.")] = False,
    after: After = None,
    limit: Limit = None,
) -> Items[Concern]:
    """Lists the concerns within the caller's reach, in the order in which they were recorded."""
    filters = queries.ConcernFilter(
        student_id=await student_id(work, student),
        area_id=(await area_named(work, area, "/area")).id if area else None,
        school_id=await school_id(work, school),
        state=state,
    )
    filter_values = {"unserved": unserved} | {name: getattr(filters, name) for name in filters.__slots__}
    keyset = page_keyset(work, "concerns", filter_values, after, limit)
    page = await (unserved_concerns if unserved else queries.concerns)(work, keyset, filters)
    items, next_cursor = to_page(request, response, page, concern_shape)
    return Items(items=items, next=next_cursor)


@router.get("/concerns/{concern}", operation_id="get_concern", **requires(queries.concern))
async def get_concern(work: OpenWork, concern: str) -> Concern:
    """Returns one concern."""
    return concern_shape(await queries.concern(work, row_id("concern", concern)))


@router.post("/concerns/{concern}/accept", operation_id="accept_concern", **requires(service.accept_concern))
async def accept_concern(work: OpenWork, concern: str, reason: ConcernReason) -> Concern:
    """Accepts a concern: the team will act on it."""
    return concern_shape(await service.accept_concern(work, row_id("concern", concern), reason.because))


@router.post("/concerns/{concern}/dismiss", operation_id="dismiss_concern", **requires(service.dismiss_concern))
async def dismiss_concern(work: OpenWork, concern: str, reason: ConcernReason) -> Concern:
    """Dismisses a concern: the team will not act on it."""
    return concern_shape(await service.dismiss_concern(work, row_id("concern", concern), reason.because))


@router.post("/concerns/{concern}/resolve", operation_id="resolve_concern", **requires(service.resolve_concern))
async def resolve_concern(work: OpenWork, concern: str, reason: ConcernReason) -> Concern:
    """Resolves an accepted concern."""
    return concern_shape(await service.resolve_concern(work, row_id("concern", concern), reason.because))
