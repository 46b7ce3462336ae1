"""Checks that every row about a student has the student's schools, and repairs rows that do not. Reads no source."""

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
from app.sis.engine.moves import find_out_of_step, follow_moves, lock_people
from app.sis.engine.run import lock_district_writes
from app.sis.service import open_stage

NO_SOURCE = UUID(int=0)
SIZE = 1 << 26  # Bytes; the check gets as much memory as a sync with a file of this size.


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of checking one district: by table, the number of rows with other schools than their student has."""

    district: str
    rows_by_table: dict[str, int]


async def examine(engine: AsyncEngine, keyring: Keyring, district_id: UUID, *, repair: bool) -> Examination:
    """Counts, by table, the rows with other schools than their student has, and corrects them if `repair` is true.

    A repair waits until no sync is being applied. Raises `RosterBusy` if another transaction locks the district's
    people for too long.
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
    await stage.clear()
    return Examination(str(slug), rows_by_table)
