"""Makes the stored scores of one sender, such as a SIS source, equal to the rows of a query.

Records, amends and removes scores with set-based SQL:
* A row belongs to the score with the same external id.
* If no score has this external id, the row takes over an existing score with the same student, measure, date and
  attempt. It does so only if that score has no external id and no sender, and does not say who gave the test.
* If another score has the requested attempt number, the row gets the next free one.
* A score that a person or a client amended or removed stays unchanged.

No series is judged here. `record_batch` returns the students, measures and days concerned; the caller judges their
series again.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.evidence.latest import find_last_scores

COLUMNS: Final = (
    *("student_id", "school_ids", "measure_id", "secured_area", "purpose", "taken_on"),
    *("attempt", "value", "form", "external_id", "score_id"),
)
"""The columns that the query of a source's scores must return after `district_id`.

* `score_id` is the id that a new score gets.
* `attempt` is the requested attempt; null means 1.
* `external_id` is unique among the rows.
"""

_SAME_KEY = "s.student_id = w.student_id AND s.measure_id = w.measure_id AND s.taken_on = w.taken_on"
_SAME_EXTERNAL_ID = "s.district_id = :district AND s.sender = :sender AND s.external_id = w.external_id"
BECAUSE_OF_SOURCE: Final = "The source says so."
"""The reason that is logged for every change by a source. Any other reason comes from a person or a client."""
_ONLY_BY_SOURCE = """NOT EXISTS (SELECT FROM score_change AS h WHERE h.district_id = :district AND h.score_id = s.id
    AND (h.because IS DISTINCT FROM :because OR h.changed_by IS NOT NULL OR h.changed_by_client IS NOT NULL))"""
_DIFFERS = f"""({_ONLY_BY_SOURCE}
    AND (s.removed_at IS NOT NULL OR (s.student_id, s.measure_id, s.taken_on, s.value, s.purpose)
    IS DISTINCT FROM (w.student_id, w.measure_id, w.taken_on, w.value, w.purpose) OR s.form IS DISTINCT FROM w.form))"""
_NO_LONGER_SENT = f"""s.removed_at IS NULL AND {_ONLY_BY_SOURCE}
    AND NOT EXISTS (SELECT FROM {{intake}} AS w WHERE w.district_id = :district AND w.external_id = s.external_id)"""


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """What `record_batch` has done: how many scores it recorded, amended and removed, and the days of these scores.

    `days` has the days for each pair of student and measure. The scores of these pairs must be judged again.
    """

    recorded: int
    amended: int
    removed: int
    days: Mapping[tuple[UUID, UUID], Collection[date]]


@needs(Can.RECORD_SCORES)
async def students_of_intake(work: Work, sender: UUID, rows_sql: str) -> set[UUID]:
    """Returns the students whose scores `record_batch` would write; the caller must lock them first."""
    return {row.student_id for row in await _IntakeStatements(work, sender, rows_sql).rows(_AFFECTED)}


@needs(Can.RECORD_SCORES)
async def record_batch(work: Work, sender: UUID, rows_sql: str) -> RecordedBatch:
    """Makes this sender's scores equal to the rows of a query; returns what was changed.

    `rows_sql` is the query; it may use the parameter `:district`. If no row has the external id of a score of this
    sender, the score is removed. If a row has the external id of a removed score, the score is restored.
    """
    statements = _IntakeStatements(work, sender, rows_sql)
    await statements.run(_ADOPT)
    days = {(row.student_id, row.measure_id): row.days for row in await statements.rows(_AFFECTED)}
    await statements.run(_KEEP_CHANGES.format(action="removed", which=_NO_LONGER_SENT))
    is_amended = f"""EXISTS (SELECT FROM {{intake}} AS w WHERE w.district_id = :district
        AND {_SAME_EXTERNAL_ID} AND {_DIFFERS})"""
    await statements.run(_KEEP_CHANGES.format(action="amended", which=is_amended))
    removed = await statements.run(_REMOVE)
    amended = await statements.run(_AMEND.format(slots=_slots("JOIN", "AND " + _DIFFERS)))
    recorded = await statements.run(_RECORD.format(slots=_slots("LEFT JOIN", "")))
    await find_last_scores(work, {student_id for student_id, _ in days})
    return RecordedBatch(recorded, amended, removed, days)


class _IntakeStatements:
    """Executes the SQL statements of one `record_batch`, which share their parameters."""

    def __init__(self, work: Work, sender: UUID, rows_sql: str) -> None:
        self._db, self._rows_sql, at = work.db, rows_sql, now()
        self._values = {"district": work.district_id, "sender": sender, "now": at, "because": BECAUSE_OF_SOURCE}
        self._values["stamp"] = f"{int(at.timestamp() * 1000):012x}7"

    async def rows(self, sql: str) -> list[Any]:
        """Executes a statement, binding only the parameters that it names, and returns its rows."""
        parameters = {name: value for name, value in self._values.items() if f":{name}" in sql}
        return list((await self._db.execute(text(sql.replace("{intake}", self._rows_sql)), parameters)).all())

    async def run(self, sql: str) -> int:
        """Executes a statement with RETURNING and returns the number of returned rows."""
        return len(await self.rows(sql)) if "RETURNING" in sql else 0


_ADOPT = f"""UPDATE score AS s SET sender = :sender, external_id = w.external_id, updated_at = now()
    FROM (SELECT DISTINCT ON (w.student_id, w.measure_id, w.taken_on, coalesce(w.attempt, 1)) w.*
          FROM {{intake}} AS w WHERE w.district_id = :district
          ORDER BY w.student_id, w.measure_id, w.taken_on, coalesce(w.attempt, 1), w.external_id) AS w
    WHERE s.district_id = :district AND {_SAME_KEY} AND s.attempt = coalesce(w.attempt, 1)
      AND s.external_id IS NULL AND s.removed_at IS NULL AND s.sender IS NULL AND s.given_by IS NULL
      AND NOT EXISTS (SELECT FROM score AS o WHERE o.district_id = :district AND o.sender = :sender
                      AND o.external_id = w.external_id) RETURNING 1"""

_AFFECTED = f"""SELECT t.student_id, t.measure_id, array_agg(t.taken_on) AS days FROM (
    SELECT w.student_id, w.measure_id, w.taken_on FROM {{intake}} AS w
    LEFT JOIN score AS s ON {_SAME_EXTERNAL_ID} WHERE w.district_id = :district AND (s.id IS NULL OR {_DIFFERS})
    UNION SELECT s.student_id, s.measure_id, s.taken_on FROM score AS s
    LEFT JOIN {{intake}} AS w ON w.district_id = :district AND w.external_id = s.external_id
    WHERE s.district_id = :district AND s.sender = :sender
      AND ((w.external_id IS NULL AND s.removed_at IS NULL AND {_ONLY_BY_SOURCE})
           OR (w.external_id IS NOT NULL AND {_DIFFERS}))) AS t GROUP BY 1, 2"""

_KEEP_CHANGES = """INSERT INTO score_change (district_id, id, student_id, school_ids, secured_area, score_id, version,
        action, because, before, changed_at)
    SELECT :district, overlay(overlay(md5(s.id::text || s.version) placing :stamp from 1 for 13)
               placing '8' from 17 for 1)::uuid, s.student_id, s.school_ids, s.secured_area, s.id, s.version,
           '{action}', :because,
           jsonb_build_object('taken_on', s.taken_on, 'attempt', s.attempt, 'purpose', s.purpose, 'value', s.value,
                              'form', s.form, 'removed_at', s.removed_at), :now
    FROM score AS s WHERE s.district_id = :district AND s.sender = :sender AND {which}
    ON CONFLICT DO NOTHING RETURNING 1"""

_REMOVE = f"""UPDATE score AS s SET removed_at = :now, updated_at = now(), version = s.version + 1
    WHERE s.district_id = :district AND s.sender = :sender AND {_NO_LONGER_SENT} RETURNING 1"""

_AMEND = """WITH slot AS ({slots})
    UPDATE score AS s SET student_id = w.student_id, school_ids = w.school_ids, measure_id = w.measure_id,
        secured_area = w.secured_area, purpose = w.purpose, taken_on = w.taken_on, attempt = w.slot, value = w.value,
        form = w.form, removed_at = NULL, updated_at = now(), version = s.version + 1
    FROM slot AS w WHERE s.district_id = :district AND s.id = w.existing_id RETURNING 1"""

_RECORD = """WITH slot AS ({slots})
    INSERT INTO score (district_id, id, student_id, school_ids, secured_area, measure_id, purpose, taken_on, attempt,
        value, form, sender, external_id, recorded_at, version)
    SELECT :district, w.score_id, w.student_id, w.school_ids, w.secured_area, w.measure_id, w.purpose, w.taken_on,
        w.slot, w.value, w.form, :sender, w.external_id, :now, 1
    FROM slot AS w WHERE w.existing_id IS NULL ON CONFLICT DO NOTHING RETURNING 1"""


def _slots(join: str, which: str) -> str:
    """Returns a query for the sender's rows, each with the attempt number (`slot`) under which its score is stored.

    `join` chooses the rows. "JOIN" chooses the rows whose external id belongs to a stored score, and "LEFT JOIN"
    chooses all other rows. `which` is SQL that is appended to the condition of this join.

    If the stored score has the row's student, measure and date, it keeps its attempt number. Otherwise the score gets
    the number that the row requests, if this number is free. If the number is taken, the score gets the next number
    after the highest number of the same student, measure and date.
    """
    only_new = "WHERE s.id IS NULL" if join == "LEFT JOIN" else ""
    key = "w.student_id, w.measure_id, w.taken_on"
    next_number = f"row_number() OVER (PARTITION BY {key}, w.unchanged_key, w.got_requested ORDER BY w.external_id)"
    return f"""SELECT w.*, CASE WHEN w.unchanged_key THEN w.current_attempt WHEN w.got_requested THEN w.requested
                   ELSE greatest(w.highest, w.highest_requested) + {next_number} END AS slot
        FROM (SELECT w.*, coalesce(m.highest, 0) AS highest,
                     max(w.requested) OVER (PARTITION BY {key}) AS highest_requested,
                     t.id IS NULL AND row_number() OVER (
                         PARTITION BY {key}, w.unchanged_key, w.requested ORDER BY w.external_id) = 1 AS got_requested
              FROM (SELECT w.*, s.id AS existing_id, s.attempt AS current_attempt, coalesce(w.attempt, 1) AS requested,
                           coalesce({_SAME_KEY}, false) AS unchanged_key
                    FROM {{intake}} AS w {join} score AS s ON {_SAME_EXTERNAL_ID} {which}
                    {only_new or "WHERE w.district_id = :district"}
                    {"AND w.district_id = :district" if only_new else ""}) AS w
              LEFT JOIN score AS t ON t.district_id = :district AND t.student_id = w.student_id
               AND t.measure_id = w.measure_id AND t.taken_on = w.taken_on AND t.attempt = w.requested
              LEFT JOIN (SELECT s.student_id, s.measure_id, s.taken_on, max(s.attempt) AS highest FROM score AS s
                         WHERE s.district_id = :district AND EXISTS (
                             SELECT FROM {{intake}} AS w WHERE w.district_id = :district AND {_SAME_KEY})
                         GROUP BY s.student_id, s.measure_id, s.taken_on) AS m
                ON m.student_id = w.student_id AND m.measure_id = w.measure_id AND m.taken_on = w.taken_on) AS w"""
