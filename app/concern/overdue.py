"""Sends one reminder for each concern that nobody has answered in time. Never changes a concern."""

from datetime import date

from sqlalchemy import Text, and_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.events.catalogue import CONCERN_UNANSWERED, NewEvent
from app.events.reminders import AT_ONCE, Reminder, remind_once, select_unsent
from app.roster.calendar import days_of_instruction
from app.roster.models import Person
from app.roster.student_lock import skip_busy_students


@needs(Can.JUDGE)
async def remind_unanswered_concerns(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each concern that is still `raised` after `days` days of instruction. Returns the number of
    reminders.

    Concerns about students who left get no reminder.
    """
    mark = cast(Concern.version, Text)
    query = (
        select(Concern, mark.label("mark"))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Concern.student_id))
        .where(
            Concern.district_id == work.district_id,
            Concern.state == "raised",
            Person.removed_at.is_(None),
            days_of_instruction(work.district_id, Concern.school_ids, Concern.raised_on, today) >= days,
            select_unsent(work, CONCERN_UNANSWERED, Concern.id, mark),
        )
        .order_by(Concern.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    reminders = [Reminder(_unanswered_event(concern), version) for concern, version in rows]
    return await remind_once(work, CONCERN_UNANSWERED, await skip_busy_students(work, reminders))


def _unanswered_event(concern: Concern) -> NewEvent:
    return NewEvent(
        type=CONCERN_UNANSWERED,
        subject_id=concern.id,
        subject_version=concern.version,
        ids={"student": concern.student_id},
        student_id=concern.student_id,
        school_ids=tuple(concern.school_ids),
        secured_area=concern.secured_area,
    )
