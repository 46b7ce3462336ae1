"""Lists the planned changes of a file of scores, so that a person can read them. Changes no score.

If a person approves a run for some schools only, this module also deletes the scores of other schools from the plan.
"""

# ruff: noqa: S608  # only our own names and ids are formatted into statements; values are bound

from collections.abc import Collection
from typing import Final
from uuid import UUID

from app.sis.engine.report import Counts
from app.sis.engine.review.changes import Listing, list_rows
from app.sis.engine.review.partial import SENTENCES, Reason, is_approved_sql, pluralize_changes
from app.sis.engine.stage import Stage
from app.sis.kinds import SCORE

CONTEXT: Final = ("student_id", "measure", "taken_on")
"""The columns that are listed even if they do not change, because they identify the score."""
COLUMNS: Final = (*CONTEXT, "attempt", "value", "form", "purpose")


def planned_scores_sql(stage: Stage) -> str:
    """Returns SQL that selects the planned scores, for the list of planned changes.

    The columns are those of `planned_rows_sql`, with two differences: there is no `pinned`, and there is
    `secured_area`, the code of the secured area that the score belongs to.
    """
    values = {name: (f"s.{name}", f"p.{name}") for name in COLUMNS} | {"measure": ("m.code", "m.code")}
    sides = ", ".join(
        f"CASE WHEN p.action <> 'create' THEN {before} END AS before_{name}, "
        f"CASE WHEN p.action <> 'remove' THEN {after} END AS after_{name}"
        for name, (before, after) in values.items()
    )
    return f"""SELECT p.id, coalesce(p.external_id, s.external_id) AS sourced_id, p.action, p.student_id,
               p.secured_area, w.school_ids AS org_ids, {sides}
        FROM {stage.of_run("plan", SCORE.name)} AS p
        JOIN person AS w ON w.district_id = :district AND w.id = p.student_id
        JOIN measure AS m ON m.district_id = :district AND m.id = p.measure_id
        LEFT JOIN score AS s ON s.district_id = :district AND s.id = p.id
        WHERE p.action <> 'refuse'"""


async def list_scores(stage: Stage) -> tuple[int, list[str]]:
    """Adds the planned scores to the list of planned changes, and returns the number of added scores.

    Also returns the sentences for the report: one if the list does not have room for all planned scores, otherwise
    none.
    """
    listing = Listing(SCORE, COLUMNS, planned_scores_sql(stage), "p.secured_area", CONTEXT)
    return await list_rows(stage, [listing])


async def leave_out_schools(stage: Stage, schools: Collection[UUID], counts: Counts) -> list[str]:
    """Deletes from the plan the scores of each student who is in a school that was not approved.

    Subtracts these scores from the counts. If scores were deleted, returns a list with one sentence for the report,
    otherwise an empty list.
    """
    is_approved = await is_approved_sql(stage, "w.school_ids", schools)
    rows = await stage.rows(
        f"""WITH taken AS (
                DELETE FROM {stage.table("plan", SCORE.name)} AS p USING person AS w
                WHERE p.district_id = :district AND p.run_id = :run AND p.action <> 'refuse'
                  AND w.district_id = :district AND w.id = p.student_id AND NOT ({is_approved})
                RETURNING p.action)
            SELECT action, count(*) AS rows FROM taken GROUP BY action"""
    )
    for row in rows:
        counts.take(row["action"], row["rows"])
        counts.left_out += row["rows"]
    left_out = sum(row["rows"] for row in rows)
    sentence = SENTENCES[Reason.SCHOOL].format(count=pluralize_changes(left_out))
    return [f"{counts.file}: {sentence}"] if left_out else []
