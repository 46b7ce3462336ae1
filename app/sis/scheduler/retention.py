"""Deletes old values of synced rows, and staged rows that are no longer needed. Also erases a person's old values.

A run logs an entry for each row that it changes, with the values from before the change (the before-image). The entries
are permanent; only the before-images in them are deleted. After that, the run cannot be undone. Lists of planned
changes are deleted when they are old, or when enough newer runs have lists.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, any_, cast, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import NotFound
from app.roster.lookup import NamedKind, ids_of_names
from app.sis.engine.stage import STAGING_TABLES
from app.sis.kinds import KINDS
from app.sis.models import SisChange, SisPlannedChange, SisPlannedValue, SisRun
from app.sis.rules import WAITING, WITH_PLAN, RunState

KEPT: Final = timedelta(days=365)
BATCH: Final = 2000  # The maximum number of rows in one batch.
LISTS_KEPT: Final = timedelta(days=30)
LISTS_OF_SOURCE: Final = 10
ABOUT: Final = tuple(sorted({ref.column for kind in KINDS for ref in kind.refs if ref.kind == "person"}))
"""The columns, in the tables of all kinds, that refer to the person whom the row is about."""
_PROBE: Final = " UNION ALL ".join(
    f"SELECT '{name}' WHERE EXISTS (SELECT FROM staging.{name} AS w WHERE w.district_id = :district)"
    for name in STAGING_TABLES
)
_DROP_KEPT: Final = """DELETE FROM staging.{table} AS k WHERE k.district_id = :district AND NOT EXISTS (
    SELECT FROM sis_run AS r WHERE r.district_id = :district AND r.id = k.run_id AND r.state = ANY (:with_plan)
     AND (r.state <> :discarded OR r.plan IS NOT NULL)) RETURNING k.run_id"""


@needs(Can.SYNC_ROSTER)
async def expire_changes(work: Work, kept: timedelta = KEPT, most: int = BATCH) -> int:
    """Deletes up to `most` before-images of old runs, and returns their number.

    A before-image has the values that a row had before a run changed it. A run is old if it ended longer than `kept`
    ago. The ids of runs ascend with time, so an index finds the oldest runs first, and newer runs are not read.
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
async def find_person_id(work: Work, name: str) -> UUID:
    """Returns the row id of the student or member of staff with this public id or external id.

    A public id is accepted even if its row was removed. Raises `NotFound` for an unknown external id, and for the id of
    anything but a person.
    """
    kinds: tuple[NamedKind, ...] = ("student", "person")
    for kind in kinds:
        if (row_id := (await ids_of_names(work, [name], kind)).get(name)) is not None:
            return row_id
    raise NotFound("person")


@needs(Can.SYNC_ROSTER)
async def erase_person(work: Work, person_id: UUID) -> int:
    """Deletes all old values and all planned changes of rows about a person, and returns their number.

    The runs that changed these rows can no longer be undone, because an undo would restore the person's data.
    """
    planned = await work.db.scalars(
        select(SisPlannedChange.id).where(
            SisPlannedChange.district_id == work.district_id,
            or_(
                SisPlannedChange.student_id == person_id,
                SisPlannedChange.kind.in_(("person", "demographics")) & (SisPlannedChange.row_id == person_id),
            ),
        )
    )
    row_ids = list(planned)
    await _delete_planned(work, row_ids)
    names = (SisChange.before[column].astext == str(person_id) for column in ABOUT)
    return len(row_ids) + await _blank(
        work, or_((SisChange.kind == "person") & (SisChange.row_id == person_id), *names)
    )


@needs(Can.SYNC_ROSTER)
async def expire_lists(work: Work, kept: timedelta = LISTS_KEPT, most: int = BATCH) -> int:
    """Deletes at most `most` rows of the oldest expired list of planned changes. Each run has its own list.

    Returns 0 only if no list has expired, so that a caller can repeat the call until then. Otherwise returns the number
    of deleted rows, but at least 1.

    A list expires when its run is older than `kept`, or when `LISTS_OF_SOURCE` newer runs of the same source have
    lists. The list of a run does not expire while the run waits for approval or waits to be applied.
    """
    rank = func.row_number().over(partition_by=SisRun.source_id, order_by=SisRun.id.desc()).label("rank")
    listed = (
        select(SisRun.id, SisRun.state, rank)
        .where(SisRun.district_id == work.district_id, SisRun.listed > 0)
        .subquery()
    )
    is_old = or_(listed.c.rank > LISTS_OF_SOURCE, listed.c.id < _first_id(now() - kept))
    expired = select(listed.c.id).where(is_old, listed.c.state.not_in(WAITING)).order_by(listed.c.id).limit(1)
    run_id = await work.db.scalar(expired)
    if run_id is None:
        return 0
    of_run = (SisPlannedChange.district_id == work.district_id, SisPlannedChange.run_id == run_id)
    rows = list(await work.db.scalars(select(SisPlannedChange.id).where(*of_run).limit(most)))
    await _delete_planned(work, rows)
    if len(rows) < most:
        is_run = (SisRun.district_id == work.district_id, SisRun.id == run_id)
        await work.db.execute(update(SisRun).where(*is_run).values(listed=0))
    return max(len(rows), 1)


async def _delete_planned(work: Work, row_ids: list[UUID]) -> None:
    for model in (SisPlannedValue, SisPlannedChange):
        of_rows = (model.district_id == work.district_id, model.id == any_(cast(row_ids, ARRAY(PgUUID))))
        await work.db.execute(delete(model).where(*of_rows).execution_options(synchronize_session=False))


@needs(Can.SYNC_ROSTER)
async def delete_left_rows(work: Work) -> int:
    """Deletes the rows in the staging tables of this district that no run needs any more. Returns their number.

    * A stored plan is needed while its run waits for approval or waits to be applied. After a person has discarded the
      run, the plan is needed until the discard is carried out, which sets `sis_run.plan` to null.
    * Every other staged row that this transaction sees is a leftover and not needed, because a run deletes its own rows
      before it commits.
    """
    district, deleted = {"district": work.district_id}, 0
    states = {"with_plan": [state.value for state in WITH_PLAN], "discarded": RunState.DISCARDED.value}
    for table in ("kept_plan", "kept_rekey"):
        gone = await work.db.execute(text(_DROP_KEPT.format(table=table)), district | states)
        deleted += len(gone.all())
    for name in (await work.db.scalars(text(_PROBE), district)).all():
        delete = f"DELETE FROM staging.{name} AS w WHERE w.district_id = :district RETURNING w.run_id"
        deleted += len((await work.db.execute(text(delete), district)).all())
    return deleted


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
    """Returns the lowest UUIDv7 that can be created at this instant. All ids of earlier rows are lower."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
