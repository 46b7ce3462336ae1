"""Defines the REST command that records a team's decision."""

from datetime import date
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from app.decision import service
from app.decision.resource import DecisionResource
from app.rest.door import OpenWork, requires
from app.rest.pages import Input, Shape, text_field
from app.rest.resources import SHAPES
from app.rest.route import Route
from app.rest.support import SupportChange
from app.support.service import SupportChange as PhaseChange

router = APIRouter(prefix="/v1", tags=["decisions"], route_class=Route)
DECISION = SHAPES.of(DecisionResource)
Kind = Literal["continue", "raise_goal", "intensify", "change", "fade", "exit", "restore_fidelity", "refer"]


class NewDecision(Input):
    """A team's decision to record. A referral can be recorded at any time and requires nothing before it."""

    kind: Kind
    support: str | None = Field(
        default=None, description="The support that the decision is about; only a referral can be without one."
    )
    student: str | None = Field(default=None, description="The student, for a referral without a support.")
    verdict: str | None = Field(
        default=None, description="The verdict that the team saw; without it, the verdict in force."
    )
    decided_by: str | None = Field(default=None, description="An id or an external id.")
    decided_on: date | None = Field(default=None, description="Without it, today.")
    note: str | None = text_field(service.NewDecision, "note", default=None)
    change: SupportChange | None = Field(default=None, description="The changes of the plan from that day on.")


@router.post("/decisions", status_code=201, operation_id="decide", response_model=DECISION, **requires(service.decide))
async def decide(work: OpenWork, new: NewDecision) -> Shape:
    """Records a team's decision and applies it: a change begins a new phase, an exit ends the support."""
    values = new.model_dump(exclude={"change"})
    change = PhaseChange(**new.change.model_dump()) if new.change else None
    return SHAPES.render(DecisionResource, await service.decide(work, service.NewDecision(**values, change=change)))
