"""Owns how a source's scores are taken in at once, set-based: recorded, amended and removed as the source has them.

A score is upserted by the source's own name for it, else by student, measure, date and attempt where nobody has named
it, sent it or given it; where that place is another's, it takes the next free attempt. What a person or a client has
amended or removed is theirs, and stays as they left it. Never judges: whoever calls judges what comes back.
"""

# ruff: noqa: S608  # the table's name is one of ours; values are bound

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now

COLUMNS: Final = """student_id uuid, school_ids uuid[], measure_id uuid, secured_area text, purpose text, taken_on date,
    attempt integer, value double precision, form text, external_id text, score_id uuid"""
"""The columns, after `district_id`, of the table that holds a source's scores; `score_id` is the id of a new one.

`attempt` is which attempt is wished for, 1 where it is null; `external_id` is unique in the table.
"""

_KEY = "s.student_id = w.student_id AND s.measure_id = w.measure_id AND s.taken_on = w.taken_on"
_NAMED = "s.district_id = :district AND s.sender = :sender AND s.external_id = w.external_id"
SAID: Final = "The source says so."
"""Why a score was changed here. Another reason is another's change."""
_OURS = """NOT EXISTS (SELECT FROM score_change AS h WHERE h.district_id = :district AND h.score_id = s.id
    AND (h.because IS DISTINCT FROM :said OR h.changed_by IS NOT NULL OR h.changed_by_client IS NOT NULL))"""
_DIFFERS = f"""({_OURS} AND (s.removed_at IS NOT NULL OR (s.student_id, s.measure_id, s.taken_on, s.value, s.purpose)
    IS DISTINCT FROM (w.student_id, w.measure_id, w.taken_on, w.value, w.purpose) OR s.form IS DISTINCT FROM w.form))"""
_GONE = f"""s.removed_at IS NULL AND {_OURS}
    AND NOT EXISTS (SELECT FROM {{wanted}} AS w WHERE w.district_id = :district AND w.external_id = s.external_id)"""


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """How many scores were recorded, amended and removed; and what to judge anew: by student and measure, the days."""

    recorded: int
    amended: int
    removed: int
    days: Mapping[tuple[UUID, UUID], Collection[date]]


@needs(Can.RECORD_SCORES)
async def students_of_intake(work: Work, sender: UUID, table: str) -> set[UUID]:
    """Returns the students whose scores `take_in` would write: they are locked before it is called."""
    return {row.student_id for row in await _Said(work, sender, table).rows(_TOUCHED)}


@needs(Can.RECORD_SCORES)
async def record_batch(work: Work, sender: UUID, table: str) -> RecordedBatch:
    """Makes this sender's scores those of the table: what it holds no more is removed, and comes back with it."""
    said = _Said(work, sender, table)
    await said.run(_ADOPT)
    days = {(row.student_id, row.measure_id): row.days for row in await said.rows(_TOUCHED)}
    await said.run(_NOTE.format(action="removed", which=_GONE))
    named = f"EXISTS (SELECT FROM {{wanted}} AS w WHERE w.district_id = :district AND {_NAMED} AND {_DIFFERS})"
    await said.run(_NOTE.format(action="amended", which=named))
    removed = await said.run(_REMOVE)
    amended = await said.run(_AMEND.format(slots=_slots("JOIN", "AND " + _DIFFERS)))
    recorded = await said.run(_RECORD.format(slots=_slots("LEFT JOIN", "")))
    return RecordedBatch(recorded, amended, removed, days)


class _Said:
    """The statements of one intake, with what each of them names."""

    def __init__(self, work: Work, sender: UUID, table: str) -> None:
        self._db, self._table, at = work.db, table, now()
        self._values = {"district": work.district_id, "sender": sender, "now": at, "said": SAID}
        self._values["stamp"] = f"{int(at.timestamp() * 1000):012x}7"

    async def rows(self, sql: str) -> list[Any]:
        """The rows of a statement."""
        named = {name: value for name, value in self._values.items() if f":{name}" in sql}
        return list((await self._db.execute(text(sql.replace("{wanted}", self._table)), named)).all())

    async def run(self, sql: str) -> int:
        """How many rows a statement returned."""
        return len(await self.rows(sql)) if "RETURNING" in sql else 0


_ADOPT = f"""UPDATE score AS s SET sender = :sender, external_id = w.external_id
    FROM (SELECT DISTINCT ON (w.student_id, w.measure_id, w.taken_on, coalesce(w.attempt, 1)) w.*
          FROM {{wanted}} AS w WHERE w.district_id = :district
          ORDER BY w.student_id, w.measure_id, w.taken_on, coalesce(w.attempt, 1), w.external_id) AS w
    WHERE s.district_id = :district AND {_KEY} AND s.attempt = coalesce(w.attempt, 1)
      AND s.external_id IS NULL AND s.removed_at IS NULL AND s.sender IS NULL AND s.given_by IS NULL
      AND NOT EXISTS (SELECT FROM score AS o WHERE o.district_id = :district AND o.sender = :sender
                      AND o.external_id = w.external_id) RETURNING 1"""

_TOUCHED = f"""SELECT t.student_id, t.measure_id, array_agg(t.taken_on) AS days FROM (
    SELECT w.student_id, w.measure_id, w.taken_on FROM {{wanted}} AS w
    LEFT JOIN score AS s ON {_NAMED} WHERE w.district_id = :district AND (s.id IS NULL OR {_DIFFERS})
    UNION SELECT s.student_id, s.measure_id, s.taken_on FROM score AS s
    LEFT JOIN {{wanted}} AS w ON w.district_id = :district AND w.external_id = s.external_id
    WHERE s.district_id = :district AND s.sender = :sender
      AND ((w.external_id IS NULL AND s.removed_at IS NULL AND {_OURS})
           OR (w.external_id IS NOT NULL AND {_DIFFERS}))) AS t GROUP BY 1, 2"""

_NOTE = """INSERT INTO score_change (district_id, id, student_id, school_ids, secured_area, score_id, version, action,
        because, before, changed_at)
    SELECT :district, overlay(overlay(md5(s.id::text || s.version) placing :stamp from 1 for 13)
               placing '8' from 17 for 1)::uuid, s.student_id, s.school_ids, s.secured_area, s.id, s.version,
           '{action}', :said,
           jsonb_build_object('taken_on', s.taken_on, 'attempt', s.attempt, 'purpose', s.purpose, 'value', s.value,
                              'form', s.form, 'removed_at', s.removed_at), :now
    FROM score AS s WHERE s.district_id = :district AND s.sender = :sender AND {which}
    ON CONFLICT DO NOTHING RETURNING 1"""

_REMOVE = f"""UPDATE score AS s SET removed_at = :now, version = s.version + 1
    WHERE s.district_id = :district AND s.sender = :sender AND {_GONE} RETURNING 1"""

_AMEND = """WITH slot AS ({slots})
    UPDATE score AS s SET student_id = w.student_id, school_ids = w.school_ids, measure_id = w.measure_id,
        secured_area = w.secured_area, purpose = w.purpose, taken_on = w.taken_on, attempt = w.slot, value = w.value,
        form = w.form, removed_at = NULL, version = s.version + 1
    FROM slot AS w WHERE s.district_id = :district AND s.id = w.there RETURNING 1"""

_RECORD = """WITH slot AS ({slots})
    INSERT INTO score (district_id, id, student_id, school_ids, secured_area, measure_id, purpose, taken_on, attempt,
        value, form, sender, external_id, recorded_at, version)
    SELECT :district, w.score_id, w.student_id, w.school_ids, w.secured_area, w.measure_id, w.purpose, w.taken_on,
        w.slot, w.value, w.form, :sender, w.external_id, :now, 1
    FROM slot AS w WHERE w.there IS NULL ON CONFLICT DO NOTHING RETURNING 1"""


def _slots(join: str, which: str) -> str:
    """SQL for the wanted scores (those known by name, or those that are not), with the attempt that each takes.

    Who stays at student, measure and date keeps the attempt; who comes there gets the one wished for where it is
    free, else the next after all that are taken.
    """
    new = "WHERE s.id IS NULL" if join == "LEFT JOIN" else ""
    key = "w.student_id, w.measure_id, w.taken_on"
    later = f"row_number() OVER (PARTITION BY {key}, w.stays, w.lucky ORDER BY w.external_id)"
    return f"""SELECT w.*, CASE WHEN w.stays THEN w.held WHEN w.lucky THEN w.wish
                   ELSE greatest(w.most, w.widest) + {later} END AS slot
        FROM (SELECT w.*, coalesce(m.most, 0) AS most, max(w.wish) OVER (PARTITION BY {key}) AS widest,
                     t.id IS NULL AND row_number() OVER (
                         PARTITION BY {key}, w.stays, w.wish ORDER BY w.external_id) = 1 AS lucky
              FROM (SELECT w.*, s.id AS there, s.attempt AS held, coalesce(w.attempt, 1) AS wish,
                           coalesce({_KEY}, false) AS stays
                    FROM {{wanted}} AS w {join} score AS s ON {_NAMED} {which}
                    {new or "WHERE w.district_id = :district"} {"AND w.district_id = :district" if new else ""}) AS w
              LEFT JOIN score AS t ON t.district_id = :district AND t.student_id = w.student_id
               AND t.measure_id = w.measure_id AND t.taken_on = w.taken_on AND t.attempt = w.wish
              LEFT JOIN (SELECT s.student_id, s.measure_id, s.taken_on, max(s.attempt) AS most FROM score AS s
                         WHERE s.district_id = :district AND EXISTS (
                             SELECT FROM {{wanted}} AS w WHERE w.district_id = :district AND {_KEY})
                         GROUP BY s.student_id, s.measure_id, s.taken_on) AS m
                ON m.student_id = w.student_id AND m.measure_id = w.measure_id AND m.taken_on = w.taken_on) AS w"""
