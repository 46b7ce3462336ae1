"""Owns decisions and a student's story in REST: shapes and routes, no rule."""

from datetime import date
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.decision import models, queries, service
from app.rest.concern import Concern, concern_shape
from app.rest.door import After, Limit, Opened, StudentPath, asks, row_id
from app.rest.evidence import Score, score_shape
from app.rest.pages import Input, Items, Shape, paged, place
from app.rest.roster import Enrollment, Student, enrollment_shape, student_id, student_shape
from app.rest.route import Route
from app.rest.support import Change, Support, support_shape
from app.roster.queries import external_ids_of
from app.support.service import SupportChange as PhaseChange

router = APIRouter(prefix="/v1", tags=["decisions"], route_class=Route)
Kind = Literal["continue", "raise_goal", "intensify", "change", "fade", "exit", "restore_fidelity", "refer"]


class NewDecision(Input):
    """What a team chose. A referral can be recorded at any time, with nothing before it."""

    kind: Kind
    support: str | None = Field(default=None, description="The support; only a referral can be without.")
    student: str | None = Field(default=None, description="The student, for a referral without a support.")
    verdict: str | None = Field(default=None, description="The verdict that the team saw; else the one that holds.")
    decided_by: str | None = Field(default=None, description="An id or an external id.")
    decided_on: date | None = Field(default=None, description="Today, without it.")
    note: str | None = Field(default=None, max_length=4000)
    change: Change | None = Field(default=None, description="What is different from then on.")


class Decision(Shape):
    """A decision."""

    id: str
    student: str
    support: str | None
    kind: Kind
    verdict: str | None
    phase: str | None = Field(description="The phase that it began.")
    decided_by: str | None
    decided_on: date
    note: str | None
    playbook: str


class Story(Shape):
    """Everything about one student."""

    student: Student
    enrollments: list[Enrollment]
    concerns: list[Concern]
    supports: list[Support]
    scores: list[Score]
    decisions: list[Decision]


def decision_shape(row: models.Decision) -> Decision:
    """A decision as REST shows it."""
    return Decision.model_construct(
        id=ids.show("decision", row.id),
        student=ids.show("student", row.student_id),
        support=ids.show("support", row.support_id) if row.support_id else None,
        kind=cast(Kind, row.kind),
        verdict=ids.show("verdict", row.verdict_id) if row.verdict_id else None,
        phase=ids.show("phase", row.phase_id) if row.phase_id else None,
        decided_by=ids.show("person", row.decided_by) if row.decided_by else None,
        decided_on=row.decided_on,
        note=row.note,
        playbook=ids.show("playbook", row.playbook_version_id),
    )


@router.post("/decisions", status_code=201, operation_id="decide", **asks(service.decide))
async def decide(work: Opened, new: NewDecision) -> Decision:
    """Records a team's decision and carries it out: a change draws a phase line, an exit ends the support."""
    told = new.model_dump(exclude={"change"})
    change = PhaseChange(**new.change.model_dump()) if new.change else None
    return decision_shape(await service.decide(work, service.NewDecision(**told, change=change)))


@router.get("/decisions", operation_id="list_decisions", **asks(queries.decisions))
async def list_decisions(
    work: Opened,
    request: Request,
    response: Response,
    student: Annotated[str | None, Query(description="An id or an external id.")] = None,
    support: str | None = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Decision]:
    """Decisions within the caller's reach, in the order in which they were recorded."""
    about = await student_id(work, student)
    support_id = ids.read("support", support, "/support") if support else None
    keyset = place(work, "decisions", {"student": about, "support": support_id}, after, limit)
    page = await queries.decisions(work, keyset, about, support_id)
    items, then = paged(request, response, page, decision_shape)
    return Items(items=items, next=then)


@router.get("/decisions/{decision}", operation_id="get_decision", **asks(queries.decision))
async def get_decision(work: Opened, decision: str) -> Decision:
    """One decision."""
    return decision_shape(await queries.decision(work, row_id("decision", decision)))


@router.get("/students/{student}/story", operation_id="get_story", tags=["roster"], **asks(queries.story))
async def get_story(work: Opened, student: StudentPath) -> Story:
    """Everything about one student in one call."""
    found = await queries.story(work, student)
    aliases = await external_ids_of(work, [found.student.id])
    return Story.model_construct(
        student=student_shape(found.student, aliases),
        enrollments=[enrollment_shape(row) for row in found.enrollments],
        concerns=[concern_shape(row) for row in found.concerns],
        supports=[
            support_shape(row, found.phases[row.id], found.concern_ids[row.id], found.verdicts.get(row.id))
            for row in found.supports
        ],
        scores=[score_shape(row) for row in found.scores],
        decisions=[decision_shape(row) for row in found.decisions],
    )
