"""Deletes the values from before changes of scores, sessions and notes: once they are old, or if a person is erased.

Who changed a record, when, why and which fields is kept. `sis/scheduler/retention.py` does the same for the values from
before a sync.
"""

# only our own names are formatted into statements; values are bound

from collections.abc import Collection
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import TextClause, any_, cast, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.evidence.models import ScoreChange
from app.note.models import NoteChange
from app.roster.student_lock import lock_students
from app.support.models import SessionChange

ChangeTable = type[ScoreChange] | type[SessionChange] | type[NoteChange]
BATCH: Final = 2000  # The maximum number of rows of each table in one batch.
_CHANGED_FIELDS: Final = """coalesce((
    SELECT jsonb_object_agg(b.key, NULL::text) FROM jsonb_each(c.before) AS b
    WHERE b.value IS DISTINCT FROM coalesce(
        (SELECT n.before FROM {record}_change AS n WHERE n.district_id = :district AND n.{record}_id = c.{record}_id
          AND n.version > c.version ORDER BY n.version LIMIT 1),
        (SELECT to_jsonb(r) FROM {record} AS r WHERE r.district_id = :district AND r.id = c.{record}_id)
    ) -> b.key), '{{}}')"""
"""The fields that a change altered, each with null instead of its value.

A field was altered if the next change, or else the record itself, has another value.
"""
_DELETE: Final = """UPDATE {table} AS c SET expired_at = :now, {values}
    WHERE c.district_id = :district AND c.expired_at IS NULL AND c.id = ANY (CAST(:ids AS uuid[])) RETURNING 1"""


def _deletion(table: str, values: str) -> TextClause:
    return text(_DELETE.format(table=table, values=values))


EARLIER_VALUES: Final[dict[ChangeTable, TextClause]] = {
    ScoreChange: _deletion("score_change", f"before = {_CHANGED_FIELDS.format(record='score')}"),
    SessionChange: _deletion("session_change", f"before = {_CHANGED_FIELDS.format(record='session')}"),
    NoteChange: _deletion("note_change", "text = ''"),
}
"""The tables of values from before changes, each with the statement that deletes these values and keeps the rows."""


@needs(Can.MAINTAIN)
async def expire_earlier_values(work: Work, kept: timedelta, most: int = BATCH) -> int:
    """Deletes the earlier values that are older than `kept`: of each table at most `most`, the oldest first.

    Returns the number of rows. Rows about a student whom another transaction has locked are left for the next call.
    """
    deleted = 0
    for table in EARLIER_VALUES:
        expired = (
            select(table.id, table.student_id)
            .where(
                table.district_id == work.district_id,
                table.expired_at.is_(None),
                table.changed_at < now() - kept,
            )
            .order_by(table.changed_at, table.id)
            .limit(most)
        )
        rows = (await work.db.execute(expired)).all()
        locked = await lock_students(work, {student for _, student in rows if student is not None}, wait=False)
        ids = [row_id for row_id, student in rows if student is None or student in locked]
        deleted += await _delete(work, table, ids)
    return deleted


@needs(Can.MAINTAIN)
async def erase_earlier_values(work: Work, student_id: UUID) -> int:
    """Deletes the earlier values of all records about a student, and returns the number of rows."""
    await lock_students(work, [student_id])
    deleted = 0
    for table in EARLIER_VALUES:
        kept = select(table.id).where(
            table.district_id == work.district_id,
            table.student_id == any_(cast([student_id], ARRAY(PgUUID))),
            table.expired_at.is_(None),
        )
        deleted += await _delete(work, table, list(await work.db.scalars(kept)))
    return deleted


async def _delete(work: Work, table: ChangeTable, ids: Collection[UUID]) -> int:
    if not ids:
        return 0
    values = {"district": work.district_id, "now": now(), "ids": list(ids)}
    return len((await work.db.execute(EARLIER_VALUES[table], values)).all())
