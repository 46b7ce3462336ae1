"""Decisions and a student's story in REST: shapes and routes, without rules."""

from datetime import date
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.decision import models, queries, service
from app.rest.concern import Concern, concern_shape
from app.rest.door import After, Limit, OpenWork, StudentPath, requires, row_id
from app.rest.evidence import Score, score_shape
from app.rest.pages import Input, Items, Shape, page_keyset, text_field, to_page
from app.rest.roster import Enrollment, Student, enrollment_shape, student_id, student_shape
from app.rest.route import Route
from app.rest.support import Support, SupportChange, support_shape
from app.roster.queries import external_ids_of
from app.support.service import SupportChange as PhaseChange

router = APIRouter(prefix="/v1", tags=["decisions"], route_class=Route)
Kind = Literal["continue", "raise_goal", "intensify", "change", "fade", "exit", "restore_fidelity", "refer"]


class NewDecision(Input):
    """A team's decision to be recorded. A referral can be recorded at any time and requires nothing before it."""

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
    change: SupportChange | None = Field(default=None, description="What changes from that day on.")


class Decision(Shape):
    """A team's decision."""

    id: str
    student: str
    support: str | None
    kind: Kind
    verdict: str | None
    phase: str | None = Field(description="The phase that the decision began.")
    decided_by: str | None
    decided_on: date
    note: str | None
    playbook: str


class Story(Shape):
    """Everything that the service has about one student."""

    student: Student
    enrollments: list[Enrollment]
    concerns: list[Concern]
    supports: list[Support]
    scores: list[Score]
    decisions: list[Decision]


def decision_shape(row: models.Decision) -> Decision:
    """Returns a decision in REST's shape."""
    return Decision.model_construct(
        id=ids.format_id("decision", row.id),
        student=ids.format_id("student", row.student_id),
        support=ids.format_id("support", row.support_id) if row.support_id else None,
        kind=cast(Kind, row.kind),
        verdict=ids.format_id("verdict", row.verdict_id) if row.verdict_id else None,
        phase=ids.format_id("phase", row.phase_id) if row.phase_id else None,
        decided_by=ids.format_id("person", row.decided_by) if row.decided_by else None,
        decided_on=row.decided_on,
        note=row.note,
        playbook=ids.format_id("playbook", row.playbook_version_id),
    )


@router.post("/decisions", status_code=201, operation_id="decide", **requires(service.decide))
async def decide(work: OpenWork, new: NewDecision) -> Decision:
    """Records a team's decision and applies it: a change begins a new phase, an exit ends the support."""
    values = new.model_dump(exclude={"change"})
    change = PhaseChange(**new.change.model_dump()) if new.change else None
    return decision_shape(await service.decide(work, service.NewDecision(**values, change=change)))


@router.get("/decisions", operation_id="list_decisions", **requires(queries.decisions))
async def list_decisions(
    work: OpenWork,
    request: Request,
    response: Response,
    student: Annotated[str | None, Query(description="An id or an external id.")] = None,
    support: str | None = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Decision]:
    """Lists the decisions within the caller's reach, in the order in which they were recorded."""
    about = await student_id(work, student)
    support_id = ids.parse_id("support", support, "/support") if support else None
    keyset = page_keyset(work, "decisions", {"student": about, "support": support_id}, after, limit)
    page = await queries.decisions(work, keyset, about, support_id)
    items, next_cursor = to_page(request, response, page, decision_shape)
    return Items(items=items, next=next_cursor)


@router.get("/decisions/{decision}", operation_id="get_decision", **requires(queries.decision))
async def get_decision(work: OpenWork, decision: str) -> Decision:
    """Returns one decision."""
    return decision_shape(await queries.decision(work, row_id("decision", decision)))


@router.get("/students/{student}/story", operation_id="get_story", tags=["roster"], **requires(queries.story))
async def get_story(work: OpenWork, student: StudentPath) -> Story:
    """Returns everything that the service has about one student, in one call."""
    story = await queries.story(work, student)
    aliases = await external_ids_of(work, [story.student.id])
    return Story.model_construct(
        student=student_shape(story.student, aliases),
        enrollments=[enrollment_shape(row) for row in story.enrollments],
        concerns=[concern_shape(row) for row in story.concerns],
        supports=[
            support_shape(row, story.phases[row.id], story.concern_ids[row.id], story.verdicts.get(row.id))
            for row in story.supports
        ],
        scores=[score_shape(row) for row in story.scores],
        decisions=[decision_shape(row) for row in story.decisions],
    )
