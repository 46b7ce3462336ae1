"""Computes the day of each student's last score and saves it in the student's row. Ignores scores of secured areas.

Opens no database session; it uses the caller's unit of work and permission.
"""

from collections.abc import Collection, Iterable
from datetime import date
from uuid import UUID

from sqlalchemy import any_, cast, func, select

from app.access.work import Work
from app.evidence.models import Score
from app.roster.latest import set_last_scores
from app.roster.lookup import IdList
from app.roster.models import NEVER_ON


def last_days(scores: Iterable[Score]) -> dict[UUID, date]:
    """Returns the day of each student's last score in `scores`, keyed by student. Ignores scores of secured areas."""
    days: dict[UUID, date] = {}
    for score in scores:
        if score.secured_area is None:
            days[score.student_id] = max(score.taken_on, days.get(score.student_id, NEVER_ON))
    return days


async def find_last_scores(work: Work, student_ids: Collection[UUID]) -> None:
    """Computes and saves the day of each student's last score. Needed after scores were amended or removed."""
    if not student_ids:
        return
    rows = await work.db.execute(
        select(Score.student_id, func.max(Score.taken_on))
        .where(
            Score.district_id == work.district_id,
            Score.student_id == any_(cast(list(student_ids), IdList)),
            Score.removed_at.is_(None),
            Score.secured_area.is_(None),
        )
        .group_by(Score.student_id)
    )
    days = {student_id: max(day, NEVER_ON) for student_id, day in rows}
    await set_last_scores(work, {one: days.get(one, NEVER_ON) for one in student_ids}, exact=True)
