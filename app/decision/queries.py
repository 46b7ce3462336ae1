"""Reads decisions, and the story of a student: all records about this student in one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from app.access.listing import schools_of_list
from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.queries import concerns_of
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.decision.models import Decision
from app.evidence.models import Score
from app.evidence.queries import scores_of
from app.response.models import VerdictRow
from app.response.queries import verdicts_now
from app.roster.lookup import page_by_id, rows_of_students, within_reach
from app.roster.models import Enrollment, Person
from app.roster.queries import enrollments_of, find_student
from app.support.models import Phase, Support
from app.support.queries import concern_ids_of, phases_of, supports_of_students


@dataclass(frozen=True, slots=True)
class Story:
    """The story of one student: roster rows, concerns, supports, scores, verdicts and decisions."""

    student: Person
    enrollments: list[Enrollment]
    concerns: list[Concern]
    supports: list[Support]
    phases: dict[UUID, list[Phase]]
    concern_ids: dict[UUID, list[UUID]]
    scores: list[Score]
    verdicts: dict[UUID, VerdictRow]
    decisions: list[Decision]


@needs(
    Can.READ_ROSTER,
    Can.READ_CONCERNS,
    Can.READ_SUPPORTS,
    Can.READ_SCORES,
    Can.READ_VERDICTS,
    Can.READ_DECISIONS,
)
async def story(work: Work, name: str) -> Story:
    """Returns all records about the student with this id or external id; raises `NotFound`."""
    student = await find_student(work, name)
    supports = (await supports_of_students(work, [student.id]))[student.id]
    support_ids = [support.id for support in supports]
    return Story(
        student=student,
        enrollments=await enrollments_of(work, [student.id]),
        concerns=(await concerns_of(work, [student.id]))[student.id],
        supports=supports,
        phases=await phases_of(work, support_ids),
        concern_ids=await concern_ids_of(work, support_ids),
        scores=(await scores_of(work, [student.id]))[student.id],
        verdicts=await verdicts_now(work, support_ids),
        decisions=(await decisions_of(work, [student.id]))[student.id],
    )


@needs(Can.READ_DECISIONS)
async def decisions(
    work: Work, keyset: Keyset, student_id: UUID | None = None, support_id: UUID | None = None
) -> Page[Decision]:
    """Returns a page of decisions in the order in which they were recorded, filtered by student or support."""
    query = select(Decision).where(Decision.district_id == work.district_id, within_reach(work, Decision.student_id))
    if student_id is not None:
        query = query.where(Decision.student_id == student_id)
    if support_id is not None:
        query = query.where(Decision.support_id == support_id)
    schools = schools_of_list(work, None) if student_id is None and support_id is None else None
    page: Page[Decision] = await page_by_id(work, keyset, query, Decision.id, schools)
    work.disclose("decision", (row.student_id for row in page.rows))
    return page


@needs(Can.READ_DECISIONS)
async def decision(work: Work, decision_id: UUID) -> Decision:
    """Returns the decision with this id; raises `NotFound`."""
    row = await work.db.scalar(
        select(Decision).where(Decision.district_id == work.district_id, Decision.id == decision_id)
    )
    if row is None:
        raise NotFound("decision")
    work.disclose("decision", [row.student_id])
    return row


@needs(Can.READ_DECISIONS)
async def decisions_of(work: Work, student_ids: Sequence[UUID]) -> dict[UUID, list[Decision]]:
    """Returns all decisions about these students, oldest first, keyed by the student's id."""
    return await rows_of_students(work, Decision, "decision", student_ids, Decision.id)
