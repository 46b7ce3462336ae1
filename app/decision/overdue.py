"""Sends reminders about overdue decisions, and runs the reminders about concerns, supports and scores.

The playbook sets after how many days a reminder is due. Each reminder is sent once, and again only after its subject,
such as a concern, has changed its state. This module makes no decision about a student.
"""

from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.overdue import remind_unanswered_concerns, remind_unserved_concerns
from app.core.db import Bound
from app.decision.models import Decision
from app.events.catalogue import DECISION_OVERDUE
from app.playbook.queries import reminder_days
from app.response.models import ResponseState
from app.response.upkeep.expiry import expire_alerts
from app.response.upkeep.overdue import (
    remind_goal_dates,
    remind_of_supports,
    remind_overdue_scores,
    remind_reviews_due,
    remind_supports_not_started,
)
from app.roster.calendar import days_of_instruction
from app.roster.lookup import today_of
from app.support.models import Support


@needs(Can.JUDGE)
async def send_overdue_reminders(work: Work) -> int:
    """Sends the due reminders that were not sent before, at most a thousand of each type, and closes expired alerts.

    Returns the number of reminders and closed alerts.
    """
    days, today = await reminder_days(work), await today_of(work)
    sent = await expire_alerts(work, today) + await remind_goal_dates(work, today)
    sent += await remind_reviews_due(work, today)
    if days["concern_unanswered"]:
        sent += await remind_unanswered_concerns(work, days["concern_unanswered"], today)
    if days["concern_unserved"]:
        sent += await remind_unserved_concerns(work, days["concern_unserved"], today)
    if days["support_not_started"]:
        sent += await remind_supports_not_started(work, days["support_not_started"], today)
    if days["score_overdue"]:
        sent += await remind_overdue_scores(work, days["score_overdue"], today)
    if days["decision_overdue"]:
        sent += await remind_overdue_decisions(work, days["decision_overdue"], today)
    return sent


@needs(Can.JUDGE)
async def remind_overdue_decisions(work: Work, days: int, today: date) -> int:
    """Sends a reminder for each support that has needed a decision for at least `days` days (see `decision_due`).

    Only days of instruction are counted. Returns the number of reminders.
    """
    mark = cast(ResponseState.since, Text)
    return await remind_of_supports(
        work,
        DECISION_OVERDUE,
        mark,
        *decision_due(work.district_id),
        days_of_instruction(work.district_id, Support.school_ids, ResponseState.since_on, today) >= days,
        joined=(ResponseState,),
        ids={"verdict": ResponseState.verdict_id},
    )


def decision_due(district_id: Bound[UUID]) -> tuple[ColumnElement[bool], ...]:
    """Returns SQL conditions that select the supports about which a team should make a decision.

    Such a support is active, its state is off track or not responding, and no decision about the support was recorded
    since this state began. The query must join `Support` with `ResponseState`.
    """
    decided = select(Decision.id).where(
        Decision.district_id == district_id,
        Decision.support_id == Support.id,
        Decision.created_at >= ResponseState.since,
    )
    return (
        Support.state == "active",
        ResponseState.state.in_(("off_track", "not_responding")),
        ~decided.exists(),
    )
