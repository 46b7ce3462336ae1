"""Reads verdicts, and lists supports by the state of their current verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import any_, cast, or_, select

from app.access.listing import at_school, schools_of_list
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.response.models import ResponseState, VerdictRow
from app.roster.lookup import IdList, page_by_id, within_reach
from app.support.models import Support


@dataclass(frozen=True, slots=True)
class SupportFilter:
    """The filters of a list of supports; a support must match all that are set.

    `staff_id` is the support's lead or provider.
    """

    student_id: UUID | None = None
    staff_id: UUID | None = None
    school_id: UUID | None = None
    area_id: UUID | None = None
    level_id: UUID | None = None
    state: str | None = None
    verdict: str | None = None


@needs(Can.READ_SUPPORTS, Can.READ_VERDICTS)
async def supports(work: Work, keyset: Keyset, criteria: SupportFilter) -> Page[Support]:
    """Returns a page of the supports that match the filters, in the order in which they were planned."""
    query = select(Support).where(Support.district_id == work.district_id, within_reach(work, Support.student_id))
    for column, value in (
        (Support.student_id, criteria.student_id),
        (Support.area_id, criteria.area_id),
        (Support.level_id, criteria.level_id),
        (Support.state, criteria.state),
    ):
        if value is not None:
            query = query.where(column == value)
    if criteria.staff_id is not None:
        query = query.where(or_(Support.lead_id == criteria.staff_id, Support.provider_id == criteria.staff_id))
    # A student or a member of staff has few supports, so their own indexes serve the list.
    is_short = criteria.student_id is not None or criteria.staff_id is not None
    schools = None if is_short else schools_of_list(work, criteria.school_id)
    query = query.where(at_school(Support, criteria.school_id, schools))
    if criteria.verdict is not None:
        query = query.join(
            ResponseState,
            (ResponseState.district_id == Support.district_id) & (ResponseState.support_id == Support.id),
        ).where(ResponseState.district_id == work.district_id, ResponseState.state == criteria.verdict)
    page: Page[Support] = await page_by_id(work, keyset, query, Support.id, schools)
    work.disclose("support", (support.student_id for support in page.rows))
    return page


@needs(Can.READ_VERDICTS)
async def verdicts_now(work: Work, support_ids: Sequence[UUID]) -> dict[UUID, VerdictRow]:
    """Returns the current verdict of each support, keyed by support.

    A support that was never judged is not in the result.
    """
    rows = await work.db.scalars(
        select(VerdictRow)
        .join(
            ResponseState,
            (ResponseState.district_id == VerdictRow.district_id) & (ResponseState.verdict_id == VerdictRow.id),
        )
        .where(
            VerdictRow.district_id == work.district_id,
            ResponseState.district_id == work.district_id,
            ResponseState.support_id == any_(cast(list(support_ids), IdList)),
        )
    )
    rows_by_support = {row.support_id: row for row in rows}
    work.disclose("verdict", (row.student_id for row in rows_by_support.values()))
    return rows_by_support


@needs(Can.READ_VERDICTS)
async def verdicts_on_measures(work: Work, support_id: UUID) -> dict[UUID, VerdictRow]:
    """Returns the current verdicts on a support's measures, keyed by measure."""
    rows = await work.db.scalars(
        select(VerdictRow)
        .join(
            ResponseState,
            (ResponseState.district_id == VerdictRow.district_id) & (VerdictRow.id == any_(ResponseState.verdict_ids)),
        )
        .where(
            VerdictRow.district_id == work.district_id,
            ResponseState.district_id == work.district_id,
            ResponseState.support_id == support_id,
        )
    )
    rows_by_measure = {row.measure_id: row for row in rows}
    work.disclose("verdict", (row.student_id for row in rows_by_measure.values()))
    return rows_by_measure


@needs(Can.READ_VERDICTS)
async def verdicts(work: Work, keyset: Keyset, support_id: UUID) -> Page[VerdictRow]:
    """Returns a page of a support's verdicts, oldest first."""
    query = select(VerdictRow).where(VerdictRow.district_id == work.district_id, VerdictRow.support_id == support_id)
    page: Page[VerdictRow] = await page_by_id(work, keyset, query, VerdictRow.id)
    work.disclose("verdict", (row.student_id for row in page.rows))
    return page


@needs(Can.READ_VERDICTS)
async def verdict(work: Work, verdict_id: UUID) -> VerdictRow:
    """Returns the verdict with this id; raises `NotFound`."""
    row = await work.db.scalar(
        select(VerdictRow).where(VerdictRow.district_id == work.district_id, VerdictRow.id == verdict_id)
    )
    if row is None:
        raise NotFound("verdict")
    work.disclose("verdict", [row.student_id])
    return row
