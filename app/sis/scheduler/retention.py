"""Deletes the before-images of synced rows after some time, and erases a person from them.

The log entry that a run changed a row is permanent. Once its before-image is deleted, the run can no longer be undone.
"""

import re
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, any_, cast, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.sis.kinds import KINDS
from app.sis.models import SisChange, SisRun
from app.sis.rules import WITH_PLAN, RunState

KEPT: Final = timedelta(days=365)
BATCH: Final = 2000  # rows of one batch
ABOUT: Final = tuple(sorted({ref.column for kind in KINDS for ref in kind.refs if ref.kind == "person"}))
"""The columns that refer to the person whom a row is about."""
_KEPT_TABLE: Final = re.compile(r"(?:plan|rekey)_[a-z_]+_([0-9a-f]{32})")
_KEPT_TABLES: Final = """SELECT c.relname::text FROM pg_class AS c
    WHERE c.relnamespace = 'staging'::regnamespace AND c.relkind = 'r'"""


@needs(Can.SYNC_ROSTER)
async def expire_changes(work: Work, kept: timedelta = KEPT, most: int = BATCH) -> int:
    """Deletes one batch of the before-images of runs that ended longer than `kept` ago; returns its size.

    The ids of runs ascend with time, so that an index finds the oldest runs first and reads no newer ones.
    """
    until = now() - kept
    expired = (
        select(SisChange.id)
        .join(SisRun, (SisRun.district_id == SisChange.district_id) & (SisRun.id == SisChange.run_id))
        .where(
            SisChange.district_id == work.district_id,
            SisRun.district_id == work.district_id,
            SisChange.before.is_not(None),
            SisChange.run_id < _first_id(until),
            SisRun.ended_at < until,
        )
        .order_by(SisChange.run_id)
        .limit(most)
    )
    batch = list(await work.db.scalars(expired))
    return await _blank(work, SisChange.id == any_(cast(batch, ARRAY(PgUUID)))) if batch else 0


@needs(Can.SYNC_ROSTER)
async def erase_person(work: Work, person_id: UUID) -> int:
    """Deletes the before-images of all rows about a person; returns their number.

    The runs that changed these rows can no longer be undone, because an undo would restore the person's data.
    """
    names = (SisChange.before[column].astext == str(person_id) for column in ABOUT)
    return await _blank(work, or_((SisChange.kind == "person") & (SisChange.row_id == person_id), *names))


@needs(Can.SYNC_ROSTER)
async def drop_left_plans(work: Work) -> int:
    """Drops the kept plans of this district's runs that no longer wait for an answer; returns the number of tables."""
    matches = [_KEPT_TABLE.fullmatch(name) for name in await work.db.scalars(text(_KEPT_TABLES))]
    tables = {match[0]: UUID(match[1]) for match in matches if match}
    if not tables:
        return 0
    finished = set(
        await work.db.scalars(
            select(SisRun.id).where(
                SisRun.district_id == work.district_id,
                SisRun.id == any_(cast(list(set(tables.values())), ARRAY(PgUUID))),
                SisRun.state.not_in(WITH_PLAN) | ((SisRun.state == RunState.DISCARDED) & SisRun.plan.is_(None)),
            )
        )
    )
    unneeded = [name for name, run_id in tables.items() if run_id in finished]
    for name in unneeded:
        await work.db.execute(text(f"DROP TABLE IF EXISTS staging.{name}"))
    return len(unneeded)


async def _blank(work: Work, which: ColumnElement[bool]) -> int:
    blanked = await work.db.execute(
        update(SisChange)
        .where(SisChange.district_id == work.district_id, SisChange.before.is_not(None), which)
        .values(before=None, expired_at=now())
        .returning(SisChange.id)
        .execution_options(synchronize_session=False)
    )
    return len(blanked.all())


def _first_id(at: datetime) -> UUID:
    """Returns the smallest possible UUIDv7 of an instant."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
