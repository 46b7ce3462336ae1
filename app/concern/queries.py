"""Owns the reads of concerns."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, any_, cast, select

from app.access.listing import at_school, schools_of_list
from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.roster.lookup import IdList, page_by_id, rows_of_students, within_reach


@dataclass(frozen=True, slots=True)
class ConcernFilter:
    """Which concerns: all of these hold."""

    student_id: UUID | None = None
    area_id: UUID | None = None
    school_id: UUID | None = None
    state: str | None = None

    def schools(self, work: Work) -> tuple[UUID, ...] | None:
        """The schools whose index serves the list; None where another does better."""
        return None if self.student_id is not None else schools_of_list(work, self.school_id)


def select_concerns(work: Work, wanted: ConcernFilter) -> Select[Concern]:
    """The statement for these concerns, without an order."""
    query = select(Concern).where(Concern.district_id == work.district_id, within_reach(work, Concern.student_id))
    if wanted.student_id is not None:
        query = query.where(Concern.student_id == wanted.student_id)
    if wanted.area_id is not None:
        query = query.where(Concern.area_id == wanted.area_id)
    query = query.where(at_school(Concern, wanted.school_id, wanted.schools(work)))
    if wanted.state is not None:
        query = query.where(Concern.state == wanted.state)
    return query


@needs(Can.READ_CONCERNS)
async def concerns(work: Work, keyset: Keyset, wanted: ConcernFilter) -> Page[Concern]:
    """A page of concerns in the order in which they were raised here."""
    page: Page[Concern] = await page_by_id(
        work, keyset, select_concerns(work, wanted), Concern.id, wanted.schools(work)
    )
    work.disclose("concern", (concern.student_id for concern in page.rows))
    return page


@needs(Can.READ_CONCERNS)
async def concern(work: Work, concern_id: UUID) -> Concern:
    """One concern; raises `NotFound`."""
    row = await work.db.scalar(select(Concern).where(Concern.district_id == work.district_id, Concern.id == concern_id))
    if row is None:
        raise NotFound("concern")
    work.disclose("concern", [row.student_id])
    return row


@needs(Can.READ_CONCERNS)
async def concerns_of(work: Work, student_ids: Sequence[UUID]) -> dict[UUID, list[Concern]]:
    """Every concern about these students, by student, oldest first."""
    return await rows_of_students(work, Concern, "concern", student_ids, Concern.id)


@needs(Can.READ_CONCERNS)
async def concerns_by_id(work: Work, concern_ids: Sequence[UUID]) -> dict[UUID, Concern]:
    """Those of these concerns that the principal reaches."""
    rows = await work.db.scalars(
        select(Concern).where(
            Concern.district_id == work.district_id, Concern.id == any_(cast(list(concern_ids), IdList))
        )
    )
    found = {row.id: row for row in rows}
    work.disclose("concern", (row.student_id for row in found.values()))
    return found
