"""Imports one CSV file of scores.

The steps are the same as for a roster: the module reads the file into a staging table, writes the plan, compares it
with the limits on changes, applies it and reports. A file of scores is never complete: a score is removed only if its
row is marked as deleted.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from dataclasses import asdict
from typing import Final
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.plural import pluralize
from app.sis.engine import report as reporting
from app.sis.engine.intake.load import copy_raw, drop_empty_rows
from app.sis.engine.report import Counts, Report
from app.sis.engine.review.quarantine import name_quarantined
from app.sis.engine.review.scope import SourceScope
from app.sis.engine.run import conclude, note_left_out, state_left_out
from app.sis.engine.scores import kept
from app.sis.engine.scores.apply import BECAUSE_OF_FILE, BECAUSE_UNDONE, apply_plan, plan_undo
from app.sis.engine.scores.intake import leave_out_scores, stage_measures, stage_rows, write_plan
from app.sis.engine.scores.planned import leave_out_schools, list_scores
from app.sis.engine.stage import Stage, fresh_id
from app.sis.guard import GuardLimits, PlannedKind
from app.sis.guard import weigh as weigh_plan
from app.sis.kinds import SCORE
from app.sis.models import SisRun
from app.sis.port import Delivery, Progress, SourceInconsistent
from app.sis.rules import RunState

MODE: Final = "scores"
"""The mode of a run that imports a file of scores."""


@needs(Can.SYNC_ROSTER)
async def import_scores(
    work: Work,
    stage: Stage,
    delivery: Delivery,
    report: Report,
    dry: bool,
    progress: Progress,
    limits: GuardLimits,
    scope: SourceScope,
) -> None:
    """Imports a CSV file of scores, and completes the report. `scope` restricts it to the students of some schools.

    With `dry`, no score is written. Without `dry`, a plan that exceeds a limit is not applied either: the run is held,
    and the plan is stored until a person reviews it.
    """
    report.mode = MODE
    counts = report.kinds.setdefault(SCORE.name, Counts(file=delivery.file))
    await copy_raw(stage, delivery, progress)
    await drop_empty_rows(stage, delivery)
    await stage_measures(work, stage)
    counts.fetched = await stage_rows(stage, delivery)
    left_out = await leave_out_scores(stage, scope)
    counts.fetched -= left_out
    if left_out:
        report.warnings.append(
            f"{delivery.file}: {pluralize(left_out, 'row is', 'rows are')} left out, because of other schools or of "
            "excluded users."
        )
    await write_plan(stage)
    await _quarantine(stage, delivery)
    report.warnings += stage.notes
    planned = await reporting.count_planned(stage, SCORE)
    counts.known = await stage.count(
        "SELECT count(*) FROM score AS s "
        "WHERE s.district_id = :district AND s.sender = :source AND s.removed_at IS NULL"
    )
    counts.created, counts.restored = planned.get("create", 0), planned.get("restore", 0)
    counts.updated = planned.get("update", 0) + counts.restored
    counts.removed = planned.get("remove", 0)
    counts.quarantined = await reporting.count_quarantined(stage, SCORE)
    counts.acknowledged = await name_quarantined(stage, SCORE, delivery) if counts.quarantined else 0
    counts.ignored = await _count_ignored(stage) - counts.removed
    counts.unchanged = counts.fetched - counts.ignored - counts.quarantined - counts.changes
    report.refusals += await reporting.first_refusals(stage)
    results = weigh_plan([await _planned_kind(stage, counts)], [], 0, 0, limits)
    report.weighed = [asdict(result) for result in results]
    report.held_because += [result.sentence for result in results if result.held]
    if not dry and not report.held_because:
        await apply_plan(work, stage, planned, progress, BECAUSE_OF_FILE)
    conclude(report, dry)
    if report.state in (RunState.HELD, RunState.DRY):
        report.listed, notes = await list_scores(stage)
        report.warnings += notes
    if report.state == RunState.HELD:
        report.plan = await kept.keep_plan(stage, delivery.file)


@needs(Can.SYNC_ROSTER)
async def apply_kept(work: Work, stage: Stage, run: SisRun, report: Report, progress: Progress) -> None:
    """Applies the plan of a run that was held for approval and has been approved. Completes the report.

    The plan was stored when the run was held. Raises `SourceInconsistent` if the scores have changed since the plan was
    made.
    """
    await kept.load_plan(stage, run.id)
    if run.plan is None or await kept.digest(stage) != run.plan["digest"]:
        raise SourceInconsistent("The scores have changed since the plan was made.")
    if run.answer and run.answer["without_removals"]:
        await kept.drop_removals(stage)
        for counts in report.kinds.values():
            counts.unchanged += counts.removed
            counts.removed = 0
    if run.answer and run.answer.get("schools") is not None:
        schools = [UUID(school_id) for school_id in run.answer["schools"]]
        note_left_out(report, await leave_out_schools(stage, schools, report.kinds[SCORE.name]))
    await apply_plan(work, stage, await reporting.count_planned(stage, SCORE), progress, BECAUSE_OF_FILE)
    await stage.clear()
    because, report.held_because = report.held_because, []
    conclude(report, dry=False)
    report.held_because = because
    state_left_out(report)


@needs(Can.SYNC_ROSTER)
async def undo_scores(work: Work, stage: Stage, report: Report, undone: UUID, file: str, progress: Progress) -> None:
    """Reverts the changes of the applied run `undone`, and completes the counts of the report.

    A score stays as it is if somebody has changed the score since, or if another score now has the date and attempt
    that the undo would restore.
    """
    report.mode = MODE
    left = await plan_undo(stage, undone)
    planned = await reporting.count_planned(stage, SCORE)
    restored, removed = planned.get("restore", 0), planned.get("remove", 0)
    updated = planned.get("update", 0) + restored
    report.kinds[SCORE.name] = Counts(file, 0, updated + removed, updated=updated, restored=restored, removed=removed)
    if left:
        scores = pluralize(left, "score stays as it is", "scores stay as they are")
        report.warnings.append(f"{scores}, because somebody changed the score, or took its date and attempt, since.")
    await apply_plan(work, stage, planned, progress, BECAUSE_UNDONE)


async def _quarantine(stage: Stage, delivery: Delivery) -> None:
    """Puts the rows that cannot be imported into quarantine, each with its file, row number, field and error code."""
    staged = ("split_part(r.fault, ' ', 1)", "split_part(r.fault, ' ', 2)", "r.fault IS NOT NULL")
    for table, (field, code, condition) in (("staged", staged), ("plan", ("r.field", "r.code", "r.action = 'refuse'"))):
        await stage.run(
            f"""INSERT INTO sis_quarantine (district_id, id, run_id, kind, file, row_number, field, code)
                SELECT :district, {fresh_id("quarantine " + SCORE.name, "r.row_number::text")}, :run, '{SCORE.name}',
                       '{delivery.file}', r.row_number + 1, {field}, {code}
                FROM {stage.of_run(table, SCORE.name)} AS r WHERE {condition} ON CONFLICT DO NOTHING"""
        )


async def _count_ignored(stage: Stage) -> int:
    """Counts the rows that the file marks as deleted, except those in quarantine."""
    return await stage.count(
        f"""SELECT count(*) FROM {stage.of_run("staged", SCORE.name)} AS s
            LEFT JOIN {stage.of_run("plan", SCORE.name)} AS p ON p.row_number = s.row_number AND p.action = 'refuse'
            WHERE s.gone AND s.fault IS NULL AND p.id IS NULL"""
    )


async def _planned_kind(stage: Stage, counts: Counts) -> PlannedKind:
    """Returns the counts of a file of scores that are compared with the limits on changes (`app.sis.guard`).

    `known` is the number of stored scores that the file could contain. A stored score is counted if the file has scores
    of the same measure, and if its date is between the first and the last date of these scores. A file usually has one
    screening period only, so scores of earlier periods are not counted.
    """
    staged, plan = stage.of_run("staged", SCORE.name), stage.of_run("plan", SCORE.name)
    number_of_scores = await stage.count(
        f"""SELECT count(*) FROM score AS s
            JOIN (SELECT d.measure_id, min(d.taken_on) AS first, max(d.taken_on) AS last
                  FROM (SELECT w.measure_id, w.taken_on FROM {staged} AS w WHERE w.fault IS NULL
                        UNION ALL SELECT p.measure_id, p.taken_on FROM {plan} AS p WHERE p.action = 'remove') AS d
                  WHERE d.taken_on IS NOT NULL GROUP BY d.measure_id) AS d
              ON d.measure_id = s.measure_id AND s.taken_on BETWEEN d.first AND d.last
            WHERE s.district_id = :district AND s.sender = :source AND s.removed_at IS NULL"""
    )
    return PlannedKind(
        plural=SCORE.plural,
        known=number_of_scores,
        came=True,
        fetched=counts.fetched,
        changed=counts.updated - counts.restored,
        removed=counts.removed,
        refused=counts.quarantined - counts.acknowledged,
        may_be_silent=True,
    )
