"""Reads concerns."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, select

from app.access.listing import at_school, schools_of_list
from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.roster.lookup import page_by_id, rows_of_students, within_reach


@dataclass(frozen=True, slots=True)
class ConcernFilter:
    """The filters of a list of concerns; a concern must match all that are set."""

    student_id: UUID | None = None
    area_id: UUID | None = None
    school_id: UUID | None = None
    state: str | None = None

    def schools(self, work: Work) -> tuple[UUID, ...] | None:
        """Returns the ids of the schools to which the list is restricted, or None for a list about one student.

        The concerns about one student are found by the index on students, so the schools are not needed.
        """
        return None if self.student_id is not None else schools_of_list(work, self.school_id)


def select_concerns(work: Work, criteria: ConcernFilter) -> Select[Concern]:
    """Returns an unordered SELECT of the concerns that match the filters and that the caller may see."""
    query = select(Concern).where(Concern.district_id == work.district_id, within_reach(work, Concern.student_id))
    if criteria.student_id is not None:
        query = query.where(Concern.student_id == criteria.student_id)
    if criteria.area_id is not None:
        query = query.where(Concern.area_id == criteria.area_id)
    query = query.where(at_school(Concern, criteria.school_id, criteria.schools(work)))
    if criteria.state is not None:
        query = query.where(Concern.state == criteria.state)
    return query


@needs(Can.READ_CONCERNS)
async def concerns(work: Work, keyset: Keyset, criteria: ConcernFilter) -> Page[Concern]:
    """Returns a page of the concerns that match the filters, in the order in which they were recorded."""
    page: Page[Concern] = await page_by_id(
        work, keyset, select_concerns(work, criteria), Concern.id, criteria.schools(work)
    )
    work.disclose("concern", (concern.student_id for concern in page.rows))
    return page


@needs(Can.READ_CONCERNS)
async def concern(work: Work, concern_id: UUID) -> Concern:
    """Returns the concern with this id; raises `NotFound`."""
    row = await work.db.scalar(select(Concern).where(Concern.district_id == work.district_id, Concern.id == concern_id))
    if row is None:
        raise NotFound("concern")
    work.disclose("concern", [row.student_id])
    return row


@needs(Can.READ_CONCERNS)
async def concerns_of(work: Work, student_ids: Sequence[UUID]) -> dict[UUID, list[Concern]]:
    """Returns all concerns about these students, oldest first, keyed by the student's id."""
    return await rows_of_students(work, Concern, "concern", student_ids, Concern.id)
