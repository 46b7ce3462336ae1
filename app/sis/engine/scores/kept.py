"""Stores the plan of a score file that is held, until a person approves or discards it. Computes the digest of a plan.

The digest covers the planned values and the state of the scores that they would change. If the same file is planned
again and these scores have not changed, the digest is the same.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from typing import Any
from uuid import UUID

from app.sis.engine.stage import Stage
from app.sis.kinds import SCORE

COLUMNS = (
    *("id", "external_id", "row_number", "action", "field", "code", "version", "student_id", "measure_id"),
    *("secured_area", "taken_on", "attempt", "value", "form", "purpose"),
)
"""The columns of a plan after district and run."""


async def keep_plan(stage: Stage, file: str) -> dict[str, Any]:
    """Stores the plan of a score file until it is approved or discarded. Refused rows are not stored.

    Returns what is stored with the run about the plan: its digest, and the name of the file.
    """
    await stage.run(
        f"""DELETE FROM {stage.table("plan", SCORE.name)} AS p
            WHERE p.district_id = :district AND p.run_id = :run AND p.action = 'refuse'"""
    )
    await stage.run(
        f"""INSERT INTO staging.kept_plan (district_id, run_id, kind, id, planned)
            SELECT :district, :run, '{SCORE.name}', p.id, to_jsonb(p) FROM {stage.of_run("plan", SCORE.name)} AS p
            ON CONFLICT DO NOTHING"""
    )
    return {"digest": await digest(stage), "files": {SCORE.name: {"file": file, "header": []}}}


async def load_plan(stage: Stage, run_id: UUID) -> None:
    """Copies a stored plan into the plan of the present run. `keep_plan` stored it for the earlier run `run_id`."""
    await stage.insert(
        "plan",
        SCORE.name,
        COLUMNS,
        f"""SELECT :district, :run, {", ".join(f"p.{name}" for name in COLUMNS)}
            FROM staging.kept_plan AS k, LATERAL jsonb_populate_record(NULL::staging.plan_score, k.planned) AS p
            WHERE k.district_id = :district AND k.run_id = '{run_id}' AND k.kind = '{SCORE.name}'""",
    )


async def digest(stage: Stage) -> str:
    """Returns a digest of the planned values and of the scores that they would change, as 16 hexadecimal digits."""
    state_of = "jsonb_build_array({0}.id, {0}.version, {0}.removed_at)::text"
    (row,) = await stage.rows(
        f"""SELECT md5(coalesce(string_agg(t.row, '' ORDER BY t.row), '')) AS rows FROM (
                SELECT md5((to_jsonb(p) - ARRAY['id', 'run_id', 'row_number'])::text
                           || {state_of.format("s")} || {state_of.format("k")} || {state_of.format("x")}) AS row
                FROM {stage.of_run("plan", SCORE.name)} AS p
                LEFT JOIN score AS s ON s.district_id = :district AND s.id = p.id
                LEFT JOIN score AS k ON k.district_id = :district AND k.student_id = p.student_id
                 AND k.measure_id = p.measure_id AND k.taken_on = p.taken_on AND k.attempt = p.attempt
                LEFT JOIN score AS x ON x.district_id = :district AND x.sender = :source
                 AND x.external_id = p.external_id) AS t"""
    )
    return str(row["rows"])[:16]


async def drop_removals(stage: Stage) -> None:
    """Deletes all removals of scores from the plan."""
    await stage.run(
        f"""DELETE FROM {stage.table("plan", SCORE.name)} AS p
            WHERE p.district_id = :district AND p.run_id = :run AND p.action = 'remove'"""
    )
