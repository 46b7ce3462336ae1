"""Defines the REST commands on concerns."""

from datetime import date

from fastapi import APIRouter
from pydantic import Field

from app.concern import service
from app.concern.resource import ConcernResource
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Input, Shape, text_field
from app.rest.resources import SHAPES
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["concerns"], route_class=Route)
CONCERN = SHAPES.of(ConcernResource)


class NewConcern(Input):
    """A concern to raise about one student in one area."""

    student: str = Field(description="An id or an external id.")
    area: str = Field(description="A code or an id.")
    description: str = text_field(service.NewConcern, "description")
    raised_by: str | None = Field(
        default=None, description="The person who raised it; without it, the person whom the request acts for."
    )
    raised_on: date | None = Field(default=None, description="Without it, today.")


class ConcernReason(Input):
    """The reason for a change of a concern's state."""

    because: str | None = Field(default=None, max_length=service.BECAUSE.max)


@router.post(
    "/concerns",
    status_code=201,
    operation_id="raise_concern",
    response_model=CONCERN,
    **requires(service.raise_concern),
)
async def raise_concern(work: OpenWork, new: NewConcern) -> Shape:
    """Raises a concern about one student in one area."""
    return SHAPES.render(ConcernResource, await service.raise_concern(work, service.NewConcern(**new.model_dump())))


@router.post(
    "/concerns/{concern}/accept",
    operation_id="accept_concern",
    response_model=CONCERN,
    **requires(service.accept_concern),
)
async def accept_concern(work: OpenWork, concern: str, reason: ConcernReason) -> Shape:
    """Accepts a concern: the team will act on it."""
    return SHAPES.render(
        ConcernResource, await service.accept_concern(work, row_id("concern", concern), reason.because)
    )


@router.post(
    "/concerns/{concern}/dismiss",
    operation_id="dismiss_concern",
    response_model=CONCERN,
    **requires(service.dismiss_concern),
)
async def dismiss_concern(work: OpenWork, concern: str, reason: ConcernReason) -> Shape:
    """Dismisses a concern: the team will not act on it."""
    return SHAPES.render(
        ConcernResource, await service.dismiss_concern(work, row_id("concern", concern), reason.because)
    )


@router.post(
    "/concerns/{concern}/resolve",
    operation_id="resolve_concern",
    response_model=CONCERN,
    **requires(service.resolve_concern),
)
async def resolve_concern(work: OpenWork, concern: str, reason: ConcernReason) -> Shape:
    """Resolves an accepted concern."""
    return SHAPES.render(
        ConcernResource, await service.resolve_concern(work, row_id("concern", concern), reason.because)
    )
