"""Owns what a district is reminded of: decisions that nobody made, and with them all that is overdue below.

Each is told once, until it is another; after how many days, the district's playbook says. Never decides anything.
"""

from datetime import date

from sqlalchemy import Date, Text, and_, cast, func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.overdue import remind_unanswered_concerns
from app.core.clock import today_in
from app.decision.models import Decision
from app.events.catalogue import DECISION_OVERDUE
from app.events.reminders import AT_ONCE, Reminder, remind_once, select_unsent
from app.playbook.queries import reminder_days
from app.response.models import ResponseState
from app.response.overdue import remind_overdue_scores, remind_supports_not_started
from app.roster.calendar import days_of_instruction
from app.roster.lookup import zone_of
from app.roster.models import Person
from app.roster.student_lock import skip_busy_students
from app.support.models import Support
from app.support.phase import support_event


@needs(Can.JUDGE)
async def send_overdue_reminders(work: Work) -> int:
    """Tells the district what is overdue and was not told; how many. Each kind at most a thousand at a time."""
    days, zone = await reminder_days(work), await zone_of(work)
    today, told = today_in(zone), 0
    if days["concern_unanswered"]:
        told += await remind_unanswered_concerns(work, days["concern_unanswered"], today)
    if days["support_not_started"]:
        told += await remind_supports_not_started(work, days["support_not_started"], today)
    if days["score_overdue"]:
        told += await remind_overdue_scores(work, days["score_overdue"], today)
    if days["decision_overdue"]:
        told += await remind_overdue_decisions(work, days["decision_overdue"], today, zone)
    return told


@needs(Can.JUDGE)
async def remind_overdue_decisions(work: Work, days: int, today: date, zone: str) -> int:
    """Tells of students who have not responded for so many days of instruction, and no team has decided since."""
    since = cast(func.timezone(zone, ResponseState.since), Date)
    mark = cast(ResponseState.since, Text)
    decided = select(Decision.id).where(
        Decision.district_id == work.district_id,
        Decision.support_id == Support.id,
        Decision.created_at >= ResponseState.since,
    )
    query = (
        select(Support, ResponseState.verdict_id, mark.label("mark"))
        .join(
            ResponseState,
            and_(ResponseState.district_id == work.district_id, ResponseState.support_id == Support.id),
        )
        .join(Person, and_(Person.district_id == work.district_id, Person.id == Support.student_id))
        .where(
            Support.district_id == work.district_id,
            Support.state == "active",
            ResponseState.state == "not_responding",
            Person.removed_at.is_(None),
            ~decided.exists(),
            days_of_instruction(work.district_id, Support.school_ids, since, today) >= days,
            select_unsent(work, DECISION_OVERDUE, Support.id, mark),
        )
        .order_by(Support.id)
        .limit(AT_ONCE)
    )
    rows = (await work.db.execute(query)).all()
    lasting = [Reminder(support_event(DECISION_OVERDUE, row, {"verdict": verdict}), at) for row, verdict, at in rows]
    return await remind_once(work, DECISION_OVERDUE, await skip_busy_students(work, lasting))
