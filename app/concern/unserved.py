"""Finds unserved concerns: accepted concerns that have no active support.

Also counts for how many days they have had none.

Never changes a concern.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, any_, cast, func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.roster.calendar import days_of_instruction
from app.roster.lookup import IdList, today_of

IS_UNSERVED: Final[ColumnElement[bool]] = Concern.unserved_since.is_not(None)
"""SQL that is true for an accepted concern without an active support."""


@dataclass(frozen=True, slots=True)
class UnservedTime:
    """For how many days of instruction an accepted concern has had no active support."""

    days: int


@needs(Can.READ_CONCERNS)
async def count_unserved_days(work: Work, keys: Sequence[tuple[UUID, str | None]]) -> list[UnservedTime | None]:
    """Returns for how long each concern has had no active support, or None for a concern that has one or needs none.

    `keys` has the id and the `unserved_since` of each concern.
    """
    return [None if days is None else UnservedTime(days) for days in await unserved_days(work, keys)]


async def unserved_days(work: Work, keys: Sequence[tuple[UUID, str | None]]) -> list[int | None]:
    """Returns for how many days of instruction each concern has had no active support.

    The number is None for a concern that has a support or needs none. `keys` has the id and the `unserved_since` of
    each concern. No statement is executed if `unserved_since` is None for all of them.
    """
    concern_ids = [concern_id for concern_id, since in keys if since is not None]
    if not concern_ids:
        return [None] * len(keys)
    days = days_of_instruction(work.district_id, Concern.school_ids, Concern.unserved_order, await today_of(work))
    rows = await work.db.execute(
        select(Concern.id, func.greatest(days, 0)).where(
            Concern.district_id == work.district_id, Concern.id == any_(cast(concern_ids, IdList)), IS_UNSERVED
        )
    )
    numbers = {concern_id: int(number) for concern_id, number in rows}
    return [numbers.get(concern_id) for concern_id, _ in keys]
