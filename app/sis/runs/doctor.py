"""Checks two kinds of stored lists: the schools in each row about a student, and the students of each team.

The schools must be those of the student. The students of a team must be those whom the team's scopes and the roster
require. If requested, wrong lists are also corrected. The check reads no source.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.models import District
from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.crypto import Keyring
from app.core.ids import new_id
from app.sis.engine.moves import find_out_of_step, follow_moves, follow_teams, lock_people
from app.sis.engine.run import lock_district_writes
from app.sis.service import open_stage
from app.team.students import count_out_of_step

NO_SOURCE = UUID(int=0)
SIZE = 1 << 26  # Bytes; the check gets as much memory as a sync with a file of this size.


@dataclass(frozen=True, slots=True)
class Examination:
    """What the check of one district has found.

    * `rows_by_table`: for each table, the number of rows whose list of schools differs from the student's.
    * `of_teams`: the number of students who are wrongly on a team's list of students, or wrongly missing from it. The
      scopes of the team and the roster determine which students belong on the list.
    """

    district: str
    rows_by_table: dict[str, int]
    of_teams: int = 0

    @property
    def is_out_of_step(self) -> bool:
        """Returns whether the check has found any wrong row about a student, or any wrong list of a team's students."""
        return bool(self.rows_by_table or self.of_teams)


async def examine(engine: AsyncEngine, keyring: Keyring, district_id: UUID, *, repair: bool) -> Examination:
    """Checks a district and returns the numbers of wrong rows. Corrects these rows if `repair` is true.

    A row about a student is wrong if its list of schools differs from the student's. A team's list of students is wrong
    if it differs from the students whom the team's scopes and the roster require. A repair waits until no sync is being
    applied. Raises `RosterBusy` if another transaction locks the district's people for too long.
    """
    async with unit(engine, system_principal(district_id, "operator"), keyring, "doctor") as work:
        return await _examine(work, repair=repair)


@needs(Can.SYNC_ROSTER)
async def _examine(work: Work, *, repair: bool) -> Examination:
    slug = await work.db.scalar(select(District.slug).where(District.district_id == work.district_id))
    if repair:
        await lock_district_writes(work)
    stage = await open_stage(work, new_id(), NO_SOURCE, SIZE)
    rows_by_table = await find_out_of_step(stage)
    if repair and rows_by_table:
        await lock_people(stage, planned=False)
        await follow_moves(stage)
    of_teams = await count_out_of_step(work)
    if repair and of_teams:
        await follow_teams(stage)
    await stage.clear()
    return Examination(str(slug), rows_by_table, of_teams)
