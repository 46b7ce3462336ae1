"""Owns the reads of supports and phases, and of concerns that no support answers."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import any_, cast, exists, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.queries import ConcernFilter, matching
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.roster.lookup import IdList, by_id, of_students
from app.support.models import Phase, Support, SupportConcern


@needs(Can.READ_CONCERNS, Can.READ_SUPPORTS)
async def unserved_concerns(work: Work, keyset: Keyset, wanted: ConcernFilter) -> Page[Concern]:
    """A page of accepted concerns without an active support: the one thing that is always wrong."""
    answered = exists().where(
        SupportConcern.district_id == work.district_id,
        SupportConcern.concern_id == Concern.id,
        Support.district_id == work.district_id,
        Support.id == SupportConcern.support_id,
        Support.state == "active",
    )
    query = matching(work, wanted).where(Concern.state == "accepted", ~answered)
    page: Page[Concern] = await by_id(work, keyset, query, Concern.id)
    work.disclose("concern", (concern.student_id for concern in page.rows))
    return page


@needs(Can.READ_SUPPORTS)
async def support(work: Work, support_id: UUID) -> Support:
    """One support; raises `NotFound`."""
    row = await work.db.scalar(select(Support).where(Support.district_id == work.district_id, Support.id == support_id))
    if row is None:
        raise NotFound("support")
    work.disclose("support", [row.student_id])
    return row


@needs(Can.READ_SUPPORTS)
async def supports_by_id(work: Work, support_ids: Sequence[UUID]) -> dict[UUID, Support]:
    """Those of these supports that the principal reaches."""
    rows = await work.db.scalars(
        select(Support).where(
            Support.district_id == work.district_id, Support.id == any_(cast(list(support_ids), IdList))
        )
    )
    found = {row.id: row for row in rows}
    work.disclose("support", (row.student_id for row in found.values()))
    return found


@needs(Can.READ_SUPPORTS)
async def supports_of_students(work: Work, student_ids: Sequence[UUID]) -> dict[UUID, list[Support]]:
    """Every support of these students, by student, oldest first."""
    return await of_students(work, Support, "support", student_ids, Support.id)


@needs(Can.READ_SUPPORTS)
async def phases_of(work: Work, support_ids: Sequence[UUID]) -> dict[UUID, list[Phase]]:
    """The phases of these supports, by support, in order."""
    rows = await work.db.scalars(
        select(Phase)
        .where(Phase.district_id == work.district_id, Phase.support_id == any_(cast(list(support_ids), IdList)))
        .order_by(Phase.number)
    )
    found: dict[UUID, list[Phase]] = {support_id: [] for support_id in support_ids}
    for row in rows:
        found[row.support_id].append(row)
    work.disclose("support", (row.student_id for rows in found.values() for row in rows))
    return found


@needs(Can.READ_SUPPORTS)
async def phase(work: Work, phase_id: UUID) -> Phase:
    """One phase; raises `NotFound`."""
    row = await work.db.scalar(select(Phase).where(Phase.district_id == work.district_id, Phase.id == phase_id))
    if row is None:
        raise NotFound("phase")
    work.disclose("support", [row.student_id])
    return row


@needs(Can.READ_SUPPORTS)
async def concern_ids_of(work: Work, support_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """The concerns that these supports answer, by support."""
    rows = await work.db.execute(
        select(SupportConcern.support_id, SupportConcern.concern_id)
        .where(
            SupportConcern.district_id == work.district_id,
            SupportConcern.support_id == any_(cast(list(support_ids), IdList)),
        )
        .order_by(SupportConcern.concern_id)
    )
    found: dict[UUID, list[UUID]] = {support_id: [] for support_id in support_ids}
    for support_id, concern_id in rows:
        found[support_id].append(concern_id)
    return found


@needs(Can.READ_SUPPORTS)
async def support_ids_of_concerns(work: Work, concern_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """The supports that answer these concerns, by concern."""
    rows = await work.db.execute(
        select(SupportConcern.concern_id, SupportConcern.support_id)
        .where(
            SupportConcern.district_id == work.district_id,
            SupportConcern.concern_id == any_(cast(list(concern_ids), IdList)),
        )
        .order_by(SupportConcern.support_id)
    )
    found: dict[UUID, list[UUID]] = {concern_id: [] for concern_id in concern_ids}
    for concern_id, support_id in rows:
        found[concern_id].append(support_id)
    return found
