"""Reads supports, phases, sessions and dosage. Also reads accepted concerns that have no active support."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, any_, cast, exists, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.queries import ConcernFilter, select_concerns
from app.concern.unserved import IS_UNSERVED
from app.core.errors import Malformed, NotFound, Violation
from app.core.page import Keyset, Page
from app.roster.lookup import IdList, page_by_id, rows_of_students, today_of
from app.roster.models import Person
from app.support.dosage import Dosage, combine_dosages
from app.support.lookup import DosageWindow, dosages_of
from app.support.models import Phase, PhaseGoal, Session, SessionChange, Support, SupportConcern


@needs(Can.READ_CONCERNS, Can.READ_SUPPORTS)
async def unserved_concerns(work: Work, keyset: Keyset, criteria: ConcernFilter) -> Page[Concern]:
    """Returns a page of accepted concerns that have no active support and match the filters."""
    # The supports of a student who left are suspended. The concerns are left out until the student is back.
    has_left = exists().where(
        Person.district_id == work.district_id, Person.id == Concern.student_id, Person.removed_at.is_not(None)
    )
    query = select_concerns(work, criteria).where(IS_UNSERVED, ~has_left)
    page: Page[Concern] = await page_by_id(work, keyset, query, Concern.id, criteria.schools(work))
    work.disclose("concern", (concern.student_id for concern in page.rows))
    return page


@needs(Can.READ_SUPPORTS)
async def support(work: Work, support_id: UUID) -> Support:
    """Returns the support with this id; raises `NotFound`."""
    row = await work.db.scalar(select(Support).where(Support.district_id == work.district_id, Support.id == support_id))
    if row is None:
        raise NotFound("support")
    work.disclose("support", [row.student_id])
    return row


@needs(Can.READ_SUPPORTS)
async def supports_by_id(work: Work, support_ids: Sequence[UUID]) -> dict[UUID, Support]:
    """Returns the supports with these ids that the caller may see, keyed by id."""
    rows = await work.db.scalars(
        select(Support).where(
            Support.district_id == work.district_id, Support.id == any_(cast(list(support_ids), IdList))
        )
    )
    rows_by_id = {row.id: row for row in rows}
    work.disclose("support", (row.student_id for row in rows_by_id.values()))
    return rows_by_id


@needs(Can.READ_SUPPORTS)
async def supports_of_students(work: Work, student_ids: Sequence[UUID]) -> dict[UUID, list[Support]]:
    """Returns all supports of these students, oldest first, keyed by the student's id."""
    return await rows_of_students(work, Support, "support", student_ids, Support.id)


@needs(Can.READ_SUPPORTS)
async def phases_of(work: Work, support_ids: Sequence[UUID]) -> dict[UUID, list[Phase]]:
    """Returns the phases of these supports, oldest first, keyed by the support's id."""
    rows = await work.db.scalars(
        select(Phase)
        .where(Phase.district_id == work.district_id, Phase.support_id == any_(cast(list(support_ids), IdList)))
        .order_by(Phase.number)
    )
    phases_by_support: dict[UUID, list[Phase]] = {support_id: [] for support_id in support_ids}
    for phase in rows:
        phases_by_support[phase.support_id].append(phase)
    work.disclose("support", (phase.student_id for phases in phases_by_support.values() for phase in phases))
    return phases_by_support


@needs(Can.READ_SUPPORTS)
async def goals_of_measure(work: Work, phase_ids: Sequence[UUID], measure_id: UUID) -> dict[UUID, PhaseGoal]:
    """Returns the goals that an additional measure of a support has in these phases, keyed by phase."""
    of_measure = (PhaseGoal.phase_id == any_(cast(list(phase_ids), IdList)), PhaseGoal.measure_id == measure_id)
    return {goal.phase_id: goal for goal in await _goals(work, *of_measure)}


@needs(Can.READ_SUPPORTS)
async def further_goals(work: Work, phase_id: UUID) -> dict[UUID, PhaseGoal]:
    """Returns the goals that the additional measures of a support have in a phase, keyed by measure."""
    return {goal.measure_id: goal for goal in await _goals(work, PhaseGoal.phase_id == phase_id)}


async def _goals(work: Work, *conditions: ColumnElement[bool]) -> Sequence[PhaseGoal]:
    query = select(PhaseGoal).where(PhaseGoal.district_id == work.district_id, *conditions)
    goals = (await work.db.scalars(query)).all()
    work.disclose("support", (goal.student_id for goal in goals))
    return goals


@needs(Can.READ_SUPPORTS)
async def phase(work: Work, phase_id: UUID) -> Phase:
    """Returns the phase with this id; raises `NotFound`."""
    row = await work.db.scalar(select(Phase).where(Phase.district_id == work.district_id, Phase.id == phase_id))
    if row is None:
        raise NotFound("phase")
    work.disclose("support", [row.student_id])
    return row


@needs(Can.READ_SUPPORTS)
async def concern_ids_of(work: Work, support_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """Returns the ids of the concerns that these supports address, keyed by the support's id."""
    rows = await work.db.execute(
        select(SupportConcern.support_id, SupportConcern.concern_id)
        .where(
            SupportConcern.district_id == work.district_id,
            SupportConcern.support_id == any_(cast(list(support_ids), IdList)),
        )
        .order_by(SupportConcern.concern_id)
    )
    concern_ids: dict[UUID, list[UUID]] = {support_id: [] for support_id in support_ids}
    for support_id, concern_id in rows:
        concern_ids[support_id].append(concern_id)
    return concern_ids


@needs(Can.READ_SUPPORTS)
async def sessions(
    work: Work, keyset: Keyset, support_id: UUID, since: date | None = None, until: date | None = None
) -> Page[Session]:
    """Returns a page of a support's sessions in the order in which they were recorded.

    With `since`, earlier sessions are left out. With `until`, later sessions are left out.
    """
    query = select(Session).where(
        Session.district_id == work.district_id, Session.support_id == support_id, Session.removed_at.is_(None)
    )
    if since is not None:
        query = query.where(Session.held_on >= since)
    if until is not None:
        query = query.where(Session.held_on <= until)
    page: Page[Session] = await page_by_id(work, keyset, query, Session.id)
    work.disclose("session", (row.student_id for row in page.rows))
    return page


@needs(Can.READ_SUPPORTS)
async def session(work: Work, session_id: UUID) -> Session:
    """Returns the session with this id; raises `NotFound`."""
    row = await work.db.scalar(
        select(Session).where(
            Session.district_id == work.district_id, Session.id == session_id, Session.removed_at.is_(None)
        )
    )
    if row is None:
        raise NotFound("session")
    work.disclose("session", [row.student_id])
    return row


@needs(Can.READ_SUPPORTS)
async def changes_of(work: Work, session_id: UUID) -> list[SessionChange]:
    """Returns the changes of a session, oldest first. Each has the values from before the change."""
    rows = await work.db.scalars(
        select(SessionChange)
        .where(SessionChange.district_id == work.district_id, SessionChange.session_id == session_id)
        .order_by(SessionChange.version)
    )
    changes = list(rows)
    work.disclose("session", (row.student_id for row in changes))
    return changes


@needs(Can.READ_SUPPORTS)
async def dosage_between(work: Work, support_id: UUID, since: date | None, until: date | None) -> Dosage:
    """Returns the dosage of a support from `since` to `until`, both included.

    By default, `since` is the first day of the support's last phase, and `until` is today. Raises `Malformed` for an
    impossible period.
    """
    row = await support(work, support_id)
    _check_window(since, until)
    return (await _dosages(work, [row], since, until))[row.id]


@needs(Can.READ_SUPPORTS)
async def dosages_between(
    work: Work, keys: Sequence[tuple[UUID]], since: date | None = None, until: date | None = None
) -> list[Dosage | None]:
    """Returns the dosage of each of these supports in a period, or None for an unknown support.

    Each tuple in `keys` has the id of one support. `since` and `until` have the same meaning and defaults as in
    `dosage_between`. Executes five statements, however many supports there are.
    """
    _check_window(since, until)
    rows = await supports_by_id(work, [support_id for (support_id,) in keys])
    dosages = await _dosages(work, list(rows.values()), since, until)
    return [dosages.get(support_id) for (support_id,) in keys]


async def _dosages(
    work: Work, supports: Sequence[Support], since: date | None, until: date | None
) -> dict[UUID, Dosage]:
    phases = await phases_of(work, [row.id for row in supports])
    today = await today_of(work)
    last = today if until is None else min(until, today)
    firsts = {
        row.id: max(phases[row.id][-1].begins_on if since is None else since, phases[row.id][0].begins_on)
        for row in supports
    }
    windows = [
        window
        for row in supports
        for phase in phases[row.id]
        if (window := DosageWindow(row, phase, firsts[row.id], last)).first <= window.last
    ]
    parts: dict[UUID, list[Dosage]] = {row.id: [] for row in supports}
    for window, part in zip(windows, await dosages_of(work, windows), strict=True):
        parts[window.support.id].append(part)
    return {row.id: combine_dosages(firsts[row.id], last, parts[row.id]) for row in supports}


def _check_window(since: date | None, until: date | None) -> None:
    if since is not None and until is not None and since > until:
        raise Malformed([Violation("/since", "window.empty", "The first day lies after the last.")])
