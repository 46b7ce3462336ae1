"""Sends reminders about late starts of supports, overdue scores, goal dates and due reviews. Changes no support."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import Date

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.db import Bound
from app.events.catalogue import (
    GOAL_DUE,
    GOAL_PASSED,
    SCORE_OVERDUE,
    SUPPORT_NOT_STARTED,
    SUPPORT_REVIEW_DUE,
    EventType,
)
from app.events.reminders import AT_ONCE, Reminder, remind_once, select_unsent
from app.evidence.models import Score
from app.response.models import ResponseState
from app.roster.calendar import days_of_instruction
from app.roster.models import Person
from app.roster.student_lock import skip_busy_students
from app.support.models import Phase, PhaseGoal, Support, SupportMeasure
from app.support.phase import support_event
from app.support.rules import GOAL_NOTICE

OfSupport = type[Phase] | type[ResponseState] | type[SupportMeasure] | type[PhaseGoal]


@dataclass(frozen=True, slots=True)
class GoalColumns:
    """The database columns that have the goals of active supports.

    `FIRST` has the columns for the first measure of each support, and `FURTHER` those for additional measures.

    `about` is the column of the id that identifies a measure of a support. For the first measure, it is the support's
    id. For an additional measure, it is the id of the `SupportMeasure`. `tables` are the tables that the columns and
    `conditions` need in addition to the table of supports.
    """

    about: InstrumentedAttribute[UUID]
    measure: InstrumentedAttribute[Any]
    begins_on: InstrumentedAttribute[date]
    goal_on: InstrumentedAttribute[date]
    tables: tuple[OfSupport, ...]
    conditions: tuple[ColumnElement[bool], ...]


ACTIVE: Final = (Support.state == "active", Phase.ends_on.is_(None))
FIRST: Final = GoalColumns(
    Support.id,
    Support.measure_id,
    Phase.begins_on,
    Phase.goal_on,
    (Phase,),
    (*ACTIVE, Support.measure_id.is_not(None)),
)
FURTHER: Final = GoalColumns(
    SupportMeasure.id,
    SupportMeasure.measure_id,
    PhaseGoal.begins_on,
    PhaseGoal.goal_on,
    (Phase, SupportMeasure, PhaseGoal),
    (
        *ACTIVE,
        func.cardinality(Support.more_measures) > 0,
        SupportMeasure.followed_until.is_(None),
        PhaseGoal.support_measure_id == SupportMeasure.id,
        PhaseGoal.phase_id == Phase.id,
    ),
)


@needs(Can.JUDGE)
async def remind_of_supports(
    work: Work,
    event: EventType,
    mark: ColumnElement[str],
    *conditions: ColumnElement[bool],
    joined: Sequence[OfSupport] = (),
    about: InstrumentedAttribute[UUID] = Support.id,
    ids: Mapping[str, InstrumentedAttribute[Any]] = {},
) -> int:
    """Sends the reminder `event` about each support that meets the conditions and whose student has not left.

    Each reminder is sent once. It can be sent again only if `mark` has changed.

    * `about` is the id of the row that the reminder is about. `mark` is a text that changes when the reminder is to be
      sent again, such as a goal date.
    * `joined` has the tables that the conditions need in addition to the table of supports.
    * `ids` has the columns of additional ids for the event, keyed by name.

    Returns the number of reminders.
    """
    query = select(Support, about.label("about"), mark.label("mark"), *ids.values())
    for table in joined:
        query = query.join(table, and_(table.district_id == work.district_id, table.support_id == Support.id))
    query = (
        query.join(Person, and_(Person.district_id == work.district_id, Person.id == Support.student_id))
        .where(
            Support.district_id == work.district_id,
            Person.removed_at.is_(None),
            *conditions,
            select_unsent(work, event, about, mark),
        )
        .order_by(Support.id, about)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    reminders = [
        Reminder(support_event(event, support, dict(zip(ids, more, strict=True))), state, row_id)
        for support, row_id, state, *more in rows
    ]
    return await remind_once(work, event, await skip_busy_students(work, reminders))


@needs(Can.JUDGE)
async def remind_supports_not_started(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each support that is still planned `days` days of instruction after its planned start.

    Returns the number of reminders.
    """
    overdue = days_of_instruction(work.district_id, Support.school_ids, Support.starts_on, today) >= days
    mark = cast(Support.version, Text)
    return await remind_of_supports(work, SUPPORT_NOT_STARTED, mark, Support.state == "planned", overdue)


@needs(Can.JUDGE)
async def remind_overdue_scores(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each measure without a score for `days` days of instruction, if the support is active.

    The days are counted from the last score or the first day of the measure's aimline, whichever is later. Screening
    scores do not count. No score is overdue after the goal date. Returns the number of reminders.
    """
    sent = 0
    for of_measure in (FIRST, FURTHER):
        since = last_check(work.district_id, of_measure)
        sent += await remind_of_supports(
            work,
            SCORE_OVERDUE,
            cast(since, Text),
            *checks_overdue(work.district_id, of_measure, since, days, today),
            joined=of_measure.tables,
            about=of_measure.about,
            ids={"measure": of_measure.measure},
        )
    return sent


def last_check(district_id: Bound[UUID], of_measure: GoalColumns) -> ColumnElement[date]:
    """Returns SQL for the day from which the days without a score are counted.

    This is the day of the last score or the first day of the aimline, whichever is later.
    """
    last = (
        select(func.max(Score.taken_on))
        .where(
            Score.district_id == district_id,
            Score.student_id == Support.student_id,
            Score.measure_id == of_measure.measure,
            Score.purpose != "screening",
            Score.removed_at.is_(None),
        )
        .correlate(Support, SupportMeasure)
        .scalar_subquery()
    )
    return func.greatest(of_measure.begins_on, last, type_=Date)


def checks_overdue(
    district_id: Bound[UUID], of_measure: GoalColumns, since: ColumnElement[date], days: Bound[int], today: Bound[date]
) -> tuple[ColumnElement[bool], ...]:
    """Returns the SQL conditions under which a score on a measure of a support is overdue.

    From the day `since` until today, there must be at least `days` days of instruction. The goal date must not be past.
    """
    return (
        *of_measure.conditions,
        of_measure.goal_on >= today,
        days_of_instruction(district_id, Support.school_ids, since, today) >= days,
    )


@needs(Can.JUDGE)
async def remind_goal_dates(work: Work, today: date) -> int:
    """Sends two reminders for each goal of an active support: when the goal date is near, and when it has come.

    Each reminder is sent once. Returns the number of reminders.
    """
    sent = 0
    for of_measure in (FIRST, FURTHER):
        goal_on = of_measure.goal_on
        mark = func.concat(cast(Phase.id, Text), " ", cast(goal_on, Text))
        near = and_(goal_on > today, goal_on <= today + GOAL_NOTICE)
        for event, condition in ((GOAL_DUE, near), (GOAL_PASSED, goal_on <= today)):
            sent += await remind_of_supports(
                work,
                event,
                mark,
                *of_measure.conditions,
                condition,
                joined=of_measure.tables,
                about=of_measure.about,
                ids={"phase": Phase.id, "measure": of_measure.measure},
            )
    return sent


@needs(Can.JUDGE)
async def remind_reviews_due(work: Work, today: date) -> int:
    """Sends a reminder for each active support that has no measure, when the support's review date has come.

    Returns the number of reminders.
    """
    mark = cast(Support.review_on, Text)
    due = (Support.state == "active", Support.review_on <= today)
    return await remind_of_supports(work, SUPPORT_REVIEW_DUE, mark, *due)
