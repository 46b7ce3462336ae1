"""Carries out planned changes of one sender's scores: creates, amends, restores and removes them with set-based SQL.

A plan is a query; each of its rows is one score and the action to take on it. Each change of an existing score is
recorded with the score's earlier values. A score that has changed since the plan was made is neither written nor
counted.

No series is judged here: `write_plan` returns the days of the written scores, and the caller judges the series.
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

_PLANNED_SCORE: Final = "s.district_id = :district AND s.id = p.id AND s.version = p.version"

_DAYS: Final = f"""SELECT t.student_id, t.measure_id, array_agg(DISTINCT t.taken_on) AS days FROM (
    SELECT p.student_id, p.measure_id, p.taken_on FROM {{plan}} AS p
    UNION ALL SELECT s.student_id, s.measure_id, s.taken_on FROM {{plan}} AS p JOIN score AS s ON {_PLANNED_SCORE}
    WHERE p.action <> 'create') AS t
    WHERE t.student_id IS NOT NULL AND t.measure_id IS NOT NULL AND t.taken_on IS NOT NULL GROUP BY 1, 2"""

_KEEP_CHANGES: Final = f"""INSERT INTO score_change (district_id, id, student_id, school_ids, secured_area, score_id,
        version, action, because, before, changed_at)
    SELECT :district, overlay(overlay(md5(s.id::text || s.version) placing :stamp from 1 for 13)
               placing '8' from 17 for 1)::uuid, s.student_id, s.school_ids, s.secured_area, s.id, s.version,
           CASE p.action WHEN 'remove' THEN 'removed' WHEN 'restore' THEN 'restored' ELSE 'amended' END, :because,
           jsonb_build_object('taken_on', s.taken_on, 'attempt', s.attempt, 'purpose', s.purpose, 'value', s.value,
                              'form', s.form, 'removed_at', s.removed_at), :now
    FROM {{plan}} AS p JOIN score AS s ON {_PLANNED_SCORE} WHERE p.action <> 'create'
    ON CONFLICT DO NOTHING RETURNING 1"""

_REMOVE: Final = f"""UPDATE score AS s SET removed_at = :now, updated_at = now(), version = s.version + 1
    FROM {{plan}} AS p WHERE {_PLANNED_SCORE} AND p.action = 'remove' AND s.removed_at IS NULL RETURNING 1"""

_AMEND: Final = f"""UPDATE score AS s SET taken_on = p.taken_on, attempt = p.attempt, value = p.value, form = p.form,
        purpose = p.purpose, external_id = coalesce(s.external_id, p.external_id), removed_at = NULL,
        updated_at = now(), version = s.version + 1
    FROM {{plan}} AS p WHERE {_PLANNED_SCORE} AND p.action IN ('update', 'restore') RETURNING 1"""

_CREATE: Final = """INSERT INTO score (district_id, id, student_id, school_ids, secured_area, measure_id, purpose,
        taken_on, attempt, value, form, sender, external_id, recorded_at, version)
    SELECT :district, p.id, p.student_id, o.school_ids, p.secured_area, p.measure_id, p.purpose, p.taken_on, p.attempt,
        p.value, p.form, :sender, p.external_id, :now, 1
    FROM {plan} AS p JOIN person AS o ON o.district_id = :district AND o.id = p.student_id
    WHERE p.action = 'create' ORDER BY p.row_number ON CONFLICT DO NOTHING RETURNING 1"""


@dataclass(frozen=True, slots=True)
class WrittenScores:
    """The numbers of scores created, changed and removed, and the days of these scores.

    `days` has the days for each pair of student and measure; the series must be judged again from these days.
    """

    created: int
    changed: int
    removed: int
    days: Mapping[tuple[UUID, UUID], Collection[date]]


@needs(Can.RECORD_SCORES)
async def students_of_plan(work: Work, plan_sql: str) -> set[UUID]:
    """Returns the students whose scores `write_plan` would change. The caller locks these students before it writes."""
    rows = await _run(work, f"SELECT DISTINCT p.student_id FROM {plan_sql} AS p WHERE p.student_id IS NOT NULL", {})
    return {row.student_id for row in rows}


@needs(Can.RECORD_SCORES)
async def write_plan(work: Work, sender: UUID, plan_sql: str, because: str) -> WrittenScores:
    """Carries out the planned changes of one sender's scores. `because` is the reason that is stored with them.

    `plan_sql` is a query whose rows are the changes; it may use the parameter `:district`.
    """
    at = now()
    values = {"sender": sender, "now": at, "because": because, "stamp": f"{int(at.timestamp() * 1000):012x}7"}

    async def run(sql: str) -> list[Any]:
        return await _run(work, sql.replace("{plan}", plan_sql), values)

    days = {(row.student_id, row.measure_id): row.days for row in await run(_DAYS)}
    await run(_KEEP_CHANGES)
    removed, changed = len(await run(_REMOVE)), len(await run(_AMEND))
    created = len(await run(_CREATE))
    await find_last_scores(work, {student_id for student_id, _ in days})
    return WrittenScores(created, changed, removed, days)


async def _run(work: Work, sql: str, values: Mapping[str, Any]) -> list[Any]:
    named = {name: value for name, value in {"district": work.district_id, **values}.items() if f":{name}" in sql}
    return list((await work.db.execute(text(sql), named)).all())
