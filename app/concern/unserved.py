"""States since when accepted concerns have no active support, and counts the days. Never changes a concern."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, any_, cast, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import SERVED, Concern
from app.roster.calendar import days_of_instruction
from app.roster.lookup import IdList, today_of

# A literal and no parameter, so that PostgreSQL can use the partial indexes whatever the plan.
_SERVED: Final[ColumnElement[date]] = literal_column(f"DATE '{SERVED.isoformat()}'", Date)
IS_UNSERVED: Final[ColumnElement[bool]] = Concern.unserved_since < _SERVED
"""SQL that is true for an accepted concern without an active support."""
UNSERVED_SINCE: Final[ColumnElement[Any]] = func.nullif(Concern.unserved_since, _SERVED, type_=Date)
"""SQL for the day since which a concern has been unserved, or null."""


@needs(Can.READ_CONCERNS)
async def count_unserved_days(work: Work, keys: Sequence[tuple[UUID, str]]) -> list[int | None]:
    """Returns for how many days of instruction each concern has been unserved, or None for one that is not.

    `keys` has each concern's id and `unserved_since` as an ISO date. No statement is executed if none is unserved.
    """
    concern_ids = [concern_id for concern_id, since in keys if since < SERVED.isoformat()]
    if not concern_ids:
        return [None] * len(keys)
    days = days_of_instruction(work.district_id, Concern.school_ids, Concern.unserved_since, await today_of(work))
    rows = await work.db.execute(
        select(Concern.id, func.greatest(days, 0)).where(
            Concern.district_id == work.district_id, Concern.id == any_(cast(concern_ids, IdList)), IS_UNSERVED
        )
    )
    days_by_concern: dict[UUID, int] = {concern_id: int(number) for concern_id, number in rows}
    return [days_by_concern.get(concern_id) for concern_id, _ in keys]
