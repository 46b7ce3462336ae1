"""Sends one reminder for each concern that has had no answer, or no support, for too long. Never changes a concern."""

from datetime import date

from sqlalchemy import ColumnElement, SQLColumnExpression, Text, and_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.rules import ConcernState
from app.concern.unserved import IS_UNSERVED
from app.events.catalogue import CONCERN_UNANSWERED, CONCERN_UNSERVED, EventType
from app.events.outbox import student_event
from app.events.reminders import AT_ONCE, Reminder, remind_once, select_unsent
from app.roster.calendar import days_of_instruction
from app.roster.models import Person
from app.roster.student_lock import skip_busy_students


@needs(Can.JUDGE)
async def remind_unanswered_concerns(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each concern that is still `raised` after `days` days of instruction.

    Returns the number of reminders. Concerns about students who left get no reminder.
    """
    is_unanswered = Concern.state == ConcernState.RAISED
    mark = cast(Concern.version, Text)
    return await _remind(work, CONCERN_UNANSWERED, mark, is_unanswered, Concern.raised_on, days, today)


@needs(Can.JUDGE)
async def remind_unserved_concerns(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each concern that has had no active support for `days` days of instruction.

    Returns the number of reminders. If a concern gets a support and later has none again, it gets a new reminder.
    Concerns about students who left get no reminder.
    """
    since = Concern.unserved_order
    return await _remind(work, CONCERN_UNSERVED, cast(since, Text), IS_UNSERVED, since, days, today)


async def _remind(
    work: Work,
    type_: EventType,
    mark: ColumnElement[str],
    condition: ColumnElement[bool],
    since: SQLColumnExpression[date],
    days: int,
    today: date,
) -> int:
    query = (
        select(Concern, mark.label("mark"))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Concern.student_id))
        .where(
            Concern.district_id == work.district_id,
            condition,
            Person.removed_at.is_(None),
            days_of_instruction(work.district_id, Concern.school_ids, since, today) >= days,
            select_unsent(work, type_, Concern.id, mark),
        )
        .order_by(Concern.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    reminders = [Reminder(student_event(type_, concern), state) for concern, state in rows]
    return await remind_once(work, type_, await skip_busy_students(work, reminders))
