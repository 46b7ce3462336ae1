"""Applies a plan of scores: locks the students, logs the old values, writes the scores and judges them.

It also plans the undo of an applied file. It does not decide which files are applied.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from typing import Final
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence.score_plan import WrittenScores, students_of_plan, write_plan
from app.roster.student_lock import lock_students
from app.sis.engine.moves import lock_with_retries
from app.sis.engine.scores.mapping import judge_days
from app.sis.engine.stage import Stage, fresh_id
from app.sis.kinds import SCORE
from app.sis.port import Progress, SourceInconsistent
from app.sis.rules import RunState

CHANGED: Final = "('update', 'restore')"
BECAUSE_OF_FILE: Final = "The source says so."
BECAUSE_UNDONE: Final = "The import was undone."
"""The reason that is stored with each change by an undo."""


def planned_sql(stage: Stage) -> str:
    """Returns SQL that selects the rows of this run's plan that are to be written.

    Its only parameter is `:district`.
    """
    return f"""(SELECT * FROM staging.plan_score AS w WHERE w.district_id = :district
        AND w.run_id = '{stage.run_id}' AND w.action <> 'refuse')"""


@needs(Can.SYNC_ROSTER)
async def apply_plan(work: Work, stage: Stage, planned: dict[str, int], progress: Progress, because: str) -> None:
    """Applies the plan in the staging table. Then judges each series of scores that changed.

    `planned` is the number of rows by action such as `create`, and `because` the reason that is stored with each
    change. Raises `SourceInconsistent` if a score was changed since the plan was made.
    """
    expected = (
        planned.get("create", 0),
        planned.get("update", 0) + planned.get("restore", 0),
        planned.get("remove", 0),
    )
    if not any(expected):
        return
    plan = planned_sql(stage)
    students = await students_of_plan(work, plan)
    await lock_with_retries(stage, lambda: lock_students(work, students))
    progress("writing scores", 0, 0)
    await _save_before_images(stage)
    written: WrittenScores = await write_plan(work, stage.source_id, plan, because)
    if (written.created, written.changed, written.removed) != expected:
        raise SourceInconsistent("Scores changed while they were synced. Run the sync again.")
    await judge_days(work, written.days)


async def _save_before_images(stage: Stage) -> None:
    """Saves in the change log the values that each changed score has before the change.

    For a new score, only its id is saved.
    """
    await stage.run(
        f"""INSERT INTO sis_change (district_id, id, run_id, kind, row_id, action, before)
            SELECT :district, {fresh_id("change " + SCORE.name, "p.id::text")}, :run, '{SCORE.name}', p.id, p.action,
                   CASE WHEN p.action <> 'create' THEN to_jsonb(s) END
            FROM {stage.of_run("plan", SCORE.name)} AS p
            LEFT JOIN score AS s ON s.district_id = :district AND s.id = p.id
            WHERE p.action <> 'refuse' ON CONFLICT DO NOTHING"""
    )


async def plan_undo(stage: Stage, undone: UUID) -> int:
    """Plans the undo of the run `undone`. Returns the number of its changes that cannot be undone.

    A change cannot be undone if somebody has changed the score after the run, or if another score now has the date and
    the attempt that the score had before the run.
    """
    # A score that nobody has changed since has version 1 if the run created it, and otherwise the version that follows
    # its before-image. Later runs and their undos count two more versions each time.
    later = f"""(SELECT g.row_id, count(*) AS versions, sum(CASE WHEN r.undoes IS NULL THEN 1 ELSE -1 END) AS not_undone
        FROM sis_change AS g JOIN sis_run AS r ON r.district_id = :district AND r.id = g.run_id
         AND r.state = '{RunState.APPLIED}'
        JOIN sis_run AS u ON u.district_id = :district AND u.id = '{undone}' AND r.ended_at > u.ended_at
        WHERE g.district_id = :district AND g.kind = '{SCORE.name}' AND g.action <> 'create'
        GROUP BY g.row_id)"""
    since = "coalesce((c.before ->> 'version')::integer, 0) + 1 + coalesce(l.versions, 0)"
    columns = ("taken_on", "attempt", "value", "form", "purpose")
    is_taken = """EXISTS (SELECT FROM score AS k WHERE k.district_id = :district AND k.student_id = s.student_id
        AND k.measure_id = s.measure_id AND k.taken_on = b.taken_on AND k.attempt = b.attempt AND k.id <> s.id)"""
    planned = await stage.insert(
        "plan",
        SCORE.name,
        ("id", "external_id", "action", "version", "student_id", "measure_id", "secured_area", *columns),
        f"""SELECT :district, :run, s.id, s.external_id,
                   CASE WHEN c.action = 'create' OR b.removed_at IS NOT NULL THEN 'remove'
                        WHEN s.removed_at IS NOT NULL THEN 'restore' ELSE 'update' END,
                   s.version, s.student_id, s.measure_id, s.secured_area,
                   {", ".join(f"CASE WHEN c.action = 'create' THEN s.{name} ELSE b.{name} END" for name in columns)}
            FROM sis_change AS c LEFT JOIN {later} AS l ON l.row_id = c.row_id
            JOIN score AS s ON s.district_id = :district AND s.id = c.row_id AND s.version = {since}
             AND coalesce(l.not_undone, 0) = 0,
                 LATERAL jsonb_populate_record(NULL::score, c.before) AS b
            WHERE c.district_id = :district AND c.run_id = '{undone}' AND c.kind = '{SCORE.name}'
              AND (c.action = 'create' OR NOT {is_taken})""",
    )
    return (
        await stage.count(
            f"""SELECT count(*) FROM sis_change AS c
            WHERE c.district_id = :district AND c.run_id = '{undone}' AND c.kind = '{SCORE.name}'"""
        )
        - planned
    )
