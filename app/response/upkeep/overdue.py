"""Sends reminders about supports that did not start, overdue scores and goals' dates. Changes no support."""

from datetime import date

from sqlalchemy import ColumnElement, Text, and_, cast, func, select
from sqlalchemy.types import Date

from app.access.permission import Can
from app.access.work import Work, needs
from app.events.catalogue import (
    GOAL_DUE,
    GOAL_PASSED,
    RESPONSE_EXPIRED,
    SCORE_OVERDUE,
    SUPPORT_NOT_STARTED,
    SUPPORT_REVIEW_DUE,
    EventType,
)
from app.events.reminders import AT_ONCE, Reminder, remind_once, select_unsent
from app.evidence.models import Score
from app.response.judging.close import close_alerts
from app.response.models import ResponseState
from app.roster.calendar import days_of_instruction
from app.roster.models import Person
from app.roster.student_lock import lock_students, skip_busy_students
from app.support.models import Phase, Support
from app.support.phase import support_event
from app.support.rules import GOAL_NOTICE


@needs(Can.JUDGE)
async def remind_supports_not_started(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each support that is still planned `days` days of instruction after its planned start.

    Returns the number of reminders.
    """
    mark = cast(Support.version, Text)
    query = (
        select(Support, mark.label("mark"))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Support.student_id))
        .where(
            Support.district_id == work.district_id,
            Support.state == "planned",
            Person.removed_at.is_(None),
            days_of_instruction(work.district_id, Support.school_ids, Support.starts_on, today) >= days,
            select_unsent(work, SUPPORT_NOT_STARTED, Support.id, mark),
        )
        .order_by(Support.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    reminders = [Reminder(support_event(SUPPORT_NOT_STARTED, support), version) for support, version in rows]
    return await remind_once(work, SUPPORT_NOT_STARTED, await skip_busy_students(work, reminders))


@needs(Can.JUDGE)
async def remind_overdue_scores(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each active support whose measure has had no score for `days` days of instruction.

    The days are counted from the last score of the phase, or else from the beginning of the phase. A screening score
    does not count, and none is missed after the goal's date. Returns the number of reminders.
    """
    last = (
        select(func.max(Score.taken_on))
        .where(
            Score.district_id == work.district_id,
            Score.student_id == Support.student_id,
            Score.measure_id == Support.measure_id,
            Score.purpose != "screening",
            Score.removed_at.is_(None),
        )
        .correlate(Support)
        .scalar_subquery()
    )
    since = func.greatest(Phase.begins_on, last, type_=Date)
    mark = cast(since, Text)
    query = (
        select(Support, mark.label("mark"))
        .join(Phase, and_(Phase.district_id == work.district_id, Phase.support_id == Support.id))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Support.student_id))
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            Support.measure_id.is_not(None),
            Phase.ends_on.is_(None),
            Phase.goal_on >= today,
            Person.removed_at.is_(None),
            days_of_instruction(work.district_id, Support.school_ids, since, today) >= days,
            select_unsent(work, SCORE_OVERDUE, Support.id, mark),
        )
        .order_by(Support.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    reminders = [Reminder(support_event(SCORE_OVERDUE, support), day) for support, day in rows]
    return await remind_once(work, SCORE_OVERDUE, await skip_busy_students(work, reminders))


@needs(Can.JUDGE)
async def remind_goal_dates(work: Work, today: date) -> int:
    """Reports once for each goal of an active support that its date is near, and once that it has come.

    Returns the number of reports.
    """
    near = and_(Phase.goal_on > today, Phase.goal_on <= today + GOAL_NOTICE)
    sent = await _report_goals(work, GOAL_DUE, near)
    return sent + await _report_goals(work, GOAL_PASSED, Phase.goal_on <= today)


async def _report_goals(work: Work, type_: EventType, condition: ColumnElement[bool]) -> int:
    mark = func.concat(cast(Phase.id, Text), " ", cast(Phase.goal_on, Text))
    query = (
        select(Support, Phase.id, mark.label("mark"))
        .join(Phase, and_(Phase.district_id == work.district_id, Phase.support_id == Support.id))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Support.student_id))
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            Phase.ends_on.is_(None),
            condition,
            Person.removed_at.is_(None),
            select_unsent(work, type_, Support.id, mark),
        )
        .order_by(Support.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    reminders = [Reminder(support_event(type_, support, {"phase": phase}), goal) for support, phase, goal in rows]
    return await remind_once(work, type_, await skip_busy_students(work, reminders))


@needs(Can.JUDGE)
async def remind_reviews_due(work: Work, today: date) -> int:
    """Sends a reminder for each active support without a measure whose review date has come.

    Returns the number of reminders.
    """
    mark = cast(Support.review_on, Text)
    query = (
        select(Support, mark.label("mark"))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Support.student_id))
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            Support.review_on <= today,
            Person.removed_at.is_(None),
            select_unsent(work, SUPPORT_REVIEW_DUE, Support.id, mark),
        )
        .order_by(Support.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    reminders = [Reminder(support_event(SUPPORT_REVIEW_DUE, support), day) for support, day in rows]
    return await remind_once(work, SUPPORT_REVIEW_DUE, await skip_busy_students(work, reminders))


@needs(Can.JUDGE)
async def expire_alerts(work: Work, today: date) -> int:
    """Closes the open alerts of active supports whose goal date has passed. Returns the number of closed alerts."""
    query = (
        select(Support.id, Support.student_id)
        .join(
            ResponseState,
            and_(ResponseState.district_id == work.district_id, ResponseState.support_id == Support.id),
        )
        .join(Phase, and_(Phase.district_id == work.district_id, Phase.support_id == Support.id))
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            Phase.ends_on.is_(None),
            Phase.goal_on < today,
            ResponseState.alert_id.is_not(None),
        )
        .order_by(Support.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    if not rows:
        return 0
    # A busy student's alert is closed by the next maintenance run.
    locked = await lock_students(work, {student_id for _, student_id in rows}, wait=False)
    return await close_alerts(work, [support for support, student_id in rows if student_id in locked], RESPONSE_EXPIRED)
