"""Undoes an applied run. The undo is itself a run, with a report. Reads no source."""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core import ids
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.errors import Conflict
from app.core.ids import new_id
from app.roster.lookup import zone_of
from app.sis.engine import report as reporting
from app.sis.engine.apply import apply_all
from app.sis.engine.lease import district_sync_lease
from app.sis.engine.plan import full_column_delivery, plan_columns
from app.sis.engine.report import WENT, Counts, Report
from app.sis.engine.run import (
    RunRequest,
    begin,
    conclude,
    end,
    update_watermarks,
)
from app.sis.engine.scores import delivery as scores
from app.sis.engine.stage import Stage
from app.sis.kinds import BY_NAME, KINDS, SCORE, Kind
from app.sis.models import SisChange, SisRun
from app.sis.port import Progress
from app.sis.rules import RunState
from app.sis.runs import rekey
from app.sis.runs.queries import run as find_run
from app.sis.service import KEPT_SIZE, follow_results_and_signals, open_stage


async def undo(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    run_id: UUID,
    progress: Progress,
    request: RunRequest = RunRequest(),
) -> Report:
    """Reverts an applied run in one transaction, as a new run with its own change log.

    Created rows are removed. Updated, removed and restored rows get their former values, except for fields that people
    have pinned, that is, protected from syncs. Raises:

    * `NotFound`;
    * `Conflict` if the run was not applied, is already undone, has expired, or if a later run changed the same rows;
    * `AlreadyRunning` while the district syncs.
    """
    principal = system_principal(district_id, "sync")
    report = Report(request.run_id or new_id(), began_at=now())
    async with district_sync_lease(engine, keyring, district_id), unit(engine, principal, keyring, "sync undo") as work:
        await _run_undo(work, run_id, report, progress, request)
    return report


@needs(Can.SYNC_ROSTER)
async def _run_undo(work: Work, run_id: UUID, report: Report, progress: Progress, request: RunRequest) -> None:
    undone = (await find_run(work, run_id)).run
    await require_undoable(work, undone)
    await begin(work, report, undone.source_id, dry=False, undoes=run_id, request=request)
    stage = await open_stage(work, report.run_id, undone.source_id, KEPT_SIZE)
    if undone.mode == rekey.MODE:
        report.mode = rekey.MODE
        await rekey.undo_rekey(stage, undone, report)
        await _undo_people(stage, undone, report, progress)
    elif undone.mode == scores.MODE:
        file = undone.counts.get(SCORE.name, {}).get("file", "")
        await scores.undo_scores(work, stage, report, run_id, file, progress)
    else:
        await _undo_rows(work, stage, undone, report, progress)
    await require_before_images(work, undone)  # they may have expired since the check at the beginning
    await stage.clear()
    conclude(report, dry=False)
    report.sentence = f"{ids.format_id('run', run_id)} is undone. {report.sentence}"
    await end(work, report)
    await update_watermarks(work, undone.source_id, False, None, None, undone=True)


async def _undo_people(stage: Stage, undone: SisRun, report: Report, progress: Progress) -> None:
    """Undoes what a run that assigned new sourcedIds did to people who had two rows in the roster.

    That run had restored the older row of such a person and removed the newer row. The older row is removed again, and
    the newer row is restored.
    """
    kind = BY_NAME["person"]
    await write_undo_plan(stage, kind, undone.id)
    if await reporting.count_planned(stage, kind):
        report.repaired = await apply_all(stage, {kind.name: full_column_delivery(kind)}, progress)
        await put_back_removed(stage, kind, undone.id)


@needs(Can.SYNC_ROSTER)
async def _undo_rows(work: Work, stage: Stage, undone: SisRun, report: Report, progress: Progress) -> None:
    run_id, deliveries = undone.id, {kind.name: full_column_delivery(kind) for kind in KINDS}
    for kind in KINDS:
        await write_undo_plan(stage, kind, run_id)
        actions = await reporting.count_planned(stage, kind)
        restored, removed = actions.get("restore", 0), actions.get("remove", 0)
        updated = actions.get("update", 0) + restored
        known_rows = await reporting.count_known(stage, kind)
        file = rekey.file_of(undone, kind)
        report.kinds[kind.name] = Counts(
            file, known_rows, updated + removed, updated=updated, restored=restored, removed=removed
        )
    if undone.ended_at is not None:
        await reopen_memberships(stage, undone.ended_at.astimezone(ZoneInfo(await zone_of(work))).date())
    report.repaired = await apply_all(stage, deliveries, progress)
    for kind in KINDS:
        await put_back_removed(stage, kind, run_id)
    report.warnings += await follow_results_and_signals(work, stage)


@needs(Can.APPROVE_SYNC)
async def require_undoable(work: Work, run: SisRun) -> None:
    """Raises `Conflict` if a run cannot be undone.

    A run cannot be undone if it was not applied, is itself an undo, is undone already, or has expired. It also cannot
    be undone if later runs depend on it.
    """
    if run.state != RunState.APPLIED or run.undoes is not None:
        reason = "undid another" if run.undoes else f"is {run.state}"
        raise Conflict(f"The run {reason}: only a sync that was applied can be undone.", code="run.not_applied")
    in_district = SisRun.district_id == work.district_id
    undoes = select(SisRun.undoes).where(in_district, SisRun.undoes.is_not(None), SisRun.state == RunState.APPLIED)
    undone = set(await work.db.scalars(undoes))
    if run.id in undone:
        raise Conflict("The run is undone already.", code="run.undone")
    await require_before_images(work, run)
    rows = await work.db.scalars(
        select(SisRun.id).where(
            in_district, SisRun.state == RunState.APPLIED, SisRun.undoes.is_(None), SisRun.ended_at > run.ended_at
        )
    )
    later = [run_id for run_id in rows if run_id not in undone]
    changed = [
        f"{kind.plural}: {count:,}"
        for kind in (*KINDS, SCORE)
        if later and (count := await _count_later_changes(work, kind, run, later))
    ]
    if changed:
        raise Conflict(
            f"Later syncs changed, or refer to, rows of this run: {', '.join(changed)}. Undo the later syncs first, "
            "or have the source send the right data and sync again.",
            code="run.changed_since",
        )


@needs(Can.APPROVE_SYNC)
async def require_before_images(work: Work, run: SisRun) -> None:
    """Raises `Conflict` if the values from before the run are no longer stored for every row that it changed.

    The values are deleted after a time, and also if the data of a person is erased.
    """
    expired = select(SisChange.id).where(
        SisChange.district_id == work.district_id, SisChange.run_id == run.id, SisChange.expired_at.is_not(None)
    )
    if await work.db.scalar(expired.limit(1)) is not None:
        raise Conflict(
            "The former values of the rows that this run changed have expired or were erased: it cannot be undone. "
            "Have the source send the right data and sync again.",
            code="run.expired",
        )


@needs(Can.APPROVE_SYNC)
async def _count_later_changes(work: Work, kind: Kind, run: SisRun, later: list[UUID]) -> int:
    """Counts the rows of a kind of record that prevent an undo of this run. `later` has the ids of later runs.

    Rows that this run created or changed prevent an undo if a later run changed them again. Rows that a later run
    created prevent an undo if they refer to a row that this run created.
    """
    is_created = f""" OR EXISTS (SELECT FROM {kind.table} AS t WHERE t.district_id = :district
        AND t.{kind.key} = c.row_id AND t.arrived_in = :run)"""
    dependent = "".join(
        f""" UNION SELECT t.{kind.key} FROM {kind.table} AS t
             JOIN {BY_NAME[ref.kind].table} AS c ON c.district_id = :district AND c.id = t.{ref.column}
             WHERE t.district_id = :district AND t.removed_at IS NULL AND t.arrived_in = ANY (:later)
               AND c.arrived_in = :run"""
        for ref in kind.refs
        if not ref.many
    )
    statement = f"""SELECT count(*) FROM (
        SELECT c.row_id FROM sis_change AS c
        WHERE c.district_id = :district AND c.kind = :kind AND c.run_id = ANY (:later)
          AND (EXISTS (SELECT FROM sis_change AS m WHERE m.district_id = :district AND m.run_id = :run
                       AND m.kind = c.kind AND m.row_id = c.row_id)
               {is_created if kind is not SCORE else ""}){dependent}) AS changed"""
    values: dict[str, Any] = {"district": work.district_id, "kind": kind.name, "run": run.id, "later": later}
    return int(await work.db.scalar(text(statement), values) or 0)


async def write_undo_plan(stage: Stage, kind: Kind, run_id: UUID) -> None:
    """Writes the plan that reverts, for one kind of record, the changes of the run `run_id`.

    The plan is made from the change log of that run and from the rows that it created.
    """
    columns = plan_columns(kind, full_column_delivery(kind))
    names = [column for column, _ in columns]
    await stage.insert(
        "plan",
        kind.name,
        ("id", "action", *names),
        f"""SELECT :district, :run, c.row_id,
                   CASE WHEN c.action IN {WENT} THEN 'restore' WHEN c.action = 'restore' THEN 'remove' ELSE 'update' END
                   {"".join(f", b.{name}" for name in names)}
            FROM sis_change AS c, LATERAL jsonb_populate_record(NULL::{kind.table}, c.before) AS b
            WHERE c.district_id = :district AND c.run_id = '{run_id}' AND c.kind = '{kind.name}'
              AND c.action <> 'rekey'""",
    )
    await stage.insert(
        "plan",
        kind.name,
        ("id", "action"),
        f"""SELECT :district, :run, t.{kind.key}, 'remove' FROM {kind.table} AS t
            WHERE t.district_id = :district AND t.arrived_in = '{run_id}' AND t.removed_at IS NULL""",
    )


async def reopen_memberships(stage: Stage, ran_on: date) -> None:
    """Reopens school memberships that a run ended on the date `ran_on`, if its undo returns the person to the school.

    Without this, the memberships of these people would have a gap.
    """
    await stage.run(
        f"""UPDATE school_membership AS m SET ends_on = NULL FROM {stage.of_run("plan", "person")} AS p
            WHERE m.district_id = :district AND m.person_id = p.id
              AND p.action IN ('update', 'restore') AND m.school_id = ANY (p.school_ids) AND m.ends_on = '{ran_on}'
              AND NOT EXISTS (SELECT FROM school_membership AS o WHERE o.district_id = :district
                              AND o.person_id = m.person_id AND o.school_id = m.school_id
                              AND (o.ends_on IS NULL OR (o.ends_on = m.ends_on AND o.id > m.id)))"""
    )


async def put_back_removed(stage: Stage, kind: Kind, run_id: UUID) -> None:
    """Completes the undo of the run `run_id` for rows that were removed before the run and that the run had restored.

    The undo has already removed these rows again. This function gives them the values and the time of removal from
    before the run. The column `school_ids` is not changed, because the records about a student who has left stay in the
    student's schools.
    """
    columns = [column for column, _ in plan_columns(kind, full_column_delivery(kind)) if column != "school_ids"]
    await stage.run(
        f"""UPDATE {kind.table} AS t
            SET removed_at = b.removed_at{kind.note_change}{"".join(f", {column} = b.{column}" for column in columns)}
            FROM sis_change AS c, LATERAL jsonb_populate_record(NULL::{kind.table}, c.before) AS b
            WHERE t.district_id = :district AND c.district_id = :district AND c.run_id = '{run_id}'
              AND c.kind = '{kind.name}' AND c.action = 'restore' AND t.{kind.key} = c.row_id"""
    )
