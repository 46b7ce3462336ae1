"""Owns concerns in REST: shapes and routes, no rule."""

from datetime import date, datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.concern import models, queries, service
from app.core import ids
from app.playbook.queries import area_named
from app.rest.door import After, Limit, Opened, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place, text_field
from app.rest.roster import school_id, student_id
from app.rest.route import Route
from app.support.queries import unserved_concerns

router = APIRouter(prefix="/v1", tags=["concerns"], route_class=Route)
State = Literal["raised", "accepted", "dismissed", "resolved"]


class NewConcern(Input):
    """A worry about one student in one area."""

    student: str = Field(description="An id or an external id.")
    area: str = Field(description="A code or an id.")
    description: str = text_field(service.NewConcern, "description")
    raised_by: str | None = Field(default=None, description="The person who raised it; else whom the request acts for.")
    raised_on: date | None = Field(default=None, description="Today, without it.")


class Because(Input):
    """Why."""

    because: str | None = Field(default=None, max_length=service.BECAUSE.max)


class Concern(Shape):
    """A concern."""

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
    """A concern as REST shows it."""
    return Concern.model_construct(
        id=ids.show("concern", row.id),
        student=ids.show("student", row.student_id),
        area=ids.show("area", row.area_id),
        state=cast(State, row.state),
        description=row.description,
        raised_by=ids.show("person", row.raised_by) if row.raised_by else None,
        raised_on=row.raised_on,
        settled_by=ids.show("person", row.settled_by) if row.settled_by else None,
        settled_at=row.settled_at,
        settled_because=row.settled_because,
        version=row.version,
    )


@router.post("/concerns", status_code=201, operation_id="raise_concern", **asks(service.raise_concern))
async def raise_concern(work: Opened, new: NewConcern) -> Concern:
    """Raises a concern about one student in one area."""
    return concern_shape(await service.raise_concern(work, service.NewConcern(**new.model_dump())))


@router.get("/concerns", operation_id="list_concerns", **asks(queries.concerns))
async def list_concerns(
    work: Opened,
    request: Request,
    response: Response,
    student: Annotated[str | None, Query(description="An id or an external id.")] = None,
    area: Annotated[str | None, Query(description="A code or an id.")] = None,
    school: Annotated[str | None, Query(description="An id or an external id.")] = None,
    state: State | None = None,
    unserved: Annotated[bool, Query(description="Only accepted ones that no active support answers.")] = False,
    after: After = None,
    limit: Limit = None,
) -> Items[Concern]:
    """Concerns within the caller's reach, in the order in which they were raised here."""
    wanted = queries.ConcernFilter(
        student_id=await student_id(work, student),
        area_id=(await area_named(work, area, "/area")).id if area else None,
        school_id=await school_id(work, school),
        state=state,
    )
    told = {"unserved": unserved} | {name: getattr(wanted, name) for name in wanted.__slots__}
    keyset = place(work, "concerns", told, after, limit)
    page = await (unserved_concerns if unserved else queries.concerns)(work, keyset, wanted)
    items, then = paged(request, response, page, concern_shape)
    return Items(items=items, next=then)


@router.get("/concerns/{concern}", operation_id="get_concern", **asks(queries.concern))
async def get_concern(work: Opened, concern: str) -> Concern:
    """One concern."""
    return concern_shape(await queries.concern(work, row_id("concern", concern)))


@router.post("/concerns/{concern}/accept", operation_id="accept_concern", **asks(service.accept_concern))
async def accept_concern(work: Opened, concern: str, said: Because) -> Concern:
    """The team takes the concern up."""
    return concern_shape(await service.accept_concern(work, row_id("concern", concern), said.because))


@router.post("/concerns/{concern}/dismiss", operation_id="dismiss_concern", **asks(service.dismiss_concern))
async def dismiss_concern(work: Opened, concern: str, said: Because) -> Concern:
    """The team lays the concern aside."""
    return concern_shape(await service.dismiss_concern(work, row_id("concern", concern), said.because))


@router.post("/concerns/{concern}/resolve", operation_id="resolve_concern", **asks(service.resolve_concern))
async def resolve_concern(work: Opened, concern: str, said: Because) -> Concern:
    """The worry is no more."""
    return concern_shape(await service.resolve_concern(work, row_id("concern", concern), said.because))
