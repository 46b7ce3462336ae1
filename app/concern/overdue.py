"""Owns which concerns nobody has answered for days: told once each. Never changes a concern."""

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
    """Tells of concerns that were raised so many days of instruction ago and neither accepted nor dismissed."""
    here, mark = Concern.district_id == work.district_id, cast(Concern.version, Text)
    query = (
        select(Concern, mark.label("mark"))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Concern.student_id))
        .where(
            here,
            Concern.state == "raised",
            Person.removed_at.is_(None),
            days_of_instruction(work.district_id, Concern.school_ids, Concern.raised_on, today) >= days,
            select_unsent(work, CONCERN_UNANSWERED, Concern.id, mark),
        )
        .order_by(Concern.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    lasting = [Reminder(_happened(row), version) for row, version in rows]
    return await remind_once(work, CONCERN_UNANSWERED, await skip_busy_students(work, lasting))


def _happened(row: Concern) -> NewEvent:
    return NewEvent(
        type=CONCERN_UNANSWERED,
        subject_id=row.id,
        subject_version=row.version,
        ids={"student": row.student_id},
        student_id=row.student_id,
        school_ids=tuple(row.school_ids),
        secured_area=row.secured_area,
    )
