"""Saves the day of the last score in each student's row. Lists of students are sorted by this column.

The callers lock the students first. They leave out scores of secured areas, because the order of a list must not reveal
records that the reader of the list may not see. The functions check no permission, because the commands that call them
have already done so.
"""

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from sqlalchemy import ARRAY, Date, cast, func, update

from app.access.work import Work
from app.roster.lookup import IdList
from app.roster.models import Person


async def set_last_scores(work: Work, days: Mapping[UUID, date], *, exact: bool = False) -> None:
    """Saves the day of each student's last score.

    Without `exact`, a day is saved only if it is later than the day that is already saved.
    """
    if not days:
        return
    given = func.unnest(cast(list(days), IdList), cast(list(days.values()), ARRAY(Date)))
    rows = given.table_valued("id", "day", name="given").render_derived()
    saved = Person.last_score_on
    differs = saved.is_distinct_from(rows.c.day) if exact else saved < rows.c.day
    await work.db.execute(
        update(Person)
        .where(Person.district_id == work.district_id, Person.id == rows.c.id, differs)
        .values(last_score_on=rows.c.day)
        .execution_options(synchronize_session=False)
    )
