"""Saves the day of the last score and the time of the last verdict in each student's row. Lists of students are sorted
by these columns.

The callers lock the students first. They leave out scores and verdicts of secured areas, because the order of a list
must not reveal records that its reader may not see. Opens no database session; uses the caller's unit of work and
permission.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Date, DateTime, cast, func, update
from sqlalchemy.orm import InstrumentedAttribute

from app.access.work import Work
from app.roster.lookup import IdList
from app.roster.models import Person


async def set_last_scores(work: Work, days: Mapping[UUID, date], *, exact: bool = False) -> None:
    """Saves the day of each student's last score. Without `exact`, a day before the saved one is ignored."""
    await _set(work, Person.last_score_on, ARRAY(Date), days, exact=exact)


async def set_last_verdicts(work: Work, instants: Mapping[UUID, datetime]) -> None:
    """Saves the time of each student's last verdict. A time before the saved one is ignored."""
    await _set(work, Person.last_verdict_at, ARRAY(DateTime(timezone=True)), instants, exact=False)


async def _set(
    work: Work, column: InstrumentedAttribute[Any], type_: Any, values: Mapping[UUID, Any], *, exact: bool
) -> None:
    if not values:
        return
    given = func.unnest(cast(list(values), IdList), cast(list(values.values()), type_))
    rows = given.table_valued("id", "value", name="given").render_derived()
    differs = column.is_distinct_from(rows.c.value) if exact else column < rows.c.value
    await work.db.execute(
        update(Person)
        .where(Person.district_id == work.district_id, Person.id == rows.c.id, differs)
        .values({column.key: rows.c.value})
        .execution_options(synchronize_session=False)
    )
