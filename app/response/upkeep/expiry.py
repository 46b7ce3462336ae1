"""Closes the alerts of supports whose goal dates have passed. Judges no series."""

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.catalogue import RESPONSE_EXPIRED
from app.events.reminders import AT_ONCE
from app.response.judging.close import close_alerts
from app.response.models import ResponseState, VerdictRow
from app.response.rules.verdict import ALARMS
from app.roster.lookup import IdList
from app.roster.student_lock import lock_students
from app.support.models import Phase, PhaseGoal, Support


@needs(Can.JUDGE)
async def expire_alerts(work: Work, today: date) -> int:
    """Closes the open alerts that have expired because a goal date has passed. Returns the number of closed alerts.

    An alert expires on the day after the goal date of the measure that opened it. It stays open, however, while another
    measure of the support is off track and has a goal date that is not past.
    """
    opener = VerdictRow.__table__.alias("opener")
    is_off_track = (
        select(VerdictRow.id)
        .where(
            VerdictRow.district_id == work.district_id,
            VerdictRow.id == any_(ResponseState.verdict_ids),
            VerdictRow.state.in_([state.value for state in ALARMS]),
            _goal_on(work.district_id, VerdictRow.measure_id) >= today,
        )
        .correlate_except(VerdictRow)
        .exists()
    )
    query = (
        select(Support.id, Support.student_id, Support.measure_id, Support.more_measures, Phase.id, Phase.goal_on)
        .join(
            ResponseState,
            and_(ResponseState.district_id == work.district_id, ResponseState.support_id == Support.id),
        )
        .join(Phase, and_(Phase.district_id == work.district_id, Phase.support_id == Support.id))
        .join(opener, and_(opener.c.district_id == work.district_id, opener.c.id == ResponseState.alert_id))
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            Phase.ends_on.is_(None),
            _goal_on(work.district_id, opener.c.measure_id) < today,
            ~is_off_track,
        )
        .order_by(Support.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    if not rows:
        return 0
    # A busy student's alert is closed by the next maintenance run.
    locked = await lock_students(work, {row.student_id for row in rows}, wait=False)
    rows = [row for row in rows if row.student_id in locked]
    further = await _further_goals(work, {phase_id for *_, more, phase_id, _ in rows if more})
    passed: dict[UUID, list[UUID]] = {}
    for support_id, _, first, more, phase_id, goal_on in rows:
        goals = {first: goal_on} | {each: further[phase_id, each] for each in more if (phase_id, each) in further}
        if max(goals.values()) >= today:
            passed[support_id] = [measure_id for measure_id, day in goals.items() if day < today]
    return await close_alerts(work, [support_id for support_id, *_ in rows], RESPONSE_EXPIRED, passed=passed)


def _goal_on(district_id: UUID, measure_id: InstrumentedAttribute[UUID] | ColumnElement[UUID]) -> ColumnElement[date]:
    """Returns SQL for the goal date of a measure in a phase. An additional measure may have its own goal date.

    For a measure without its own goal date, it is the goal date of the phase.
    """
    own = (
        select(PhaseGoal.goal_on)
        .where(PhaseGoal.district_id == district_id, PhaseGoal.phase_id == Phase.id, PhaseGoal.measure_id == measure_id)
        .limit(1)
        .correlate_except(PhaseGoal)
        .scalar_subquery()
    )
    return func.coalesce(own, Phase.goal_on)


@needs(Can.JUDGE)
async def _further_goals(work: Work, phase_ids: set[UUID]) -> Mapping[tuple[UUID, UUID], date]:
    """Returns the goal dates of additional measures, keyed by phase and measure."""
    if not phase_ids:
        return {}
    query = select(PhaseGoal.phase_id, PhaseGoal.measure_id, PhaseGoal.goal_on).where(
        PhaseGoal.district_id == work.district_id, PhaseGoal.phase_id == any_(cast(list(phase_ids), IdList))
    )
    return {(phase_id, measure_id): day for phase_id, measure_id, day in await work.db.execute(query)}
