"""Executes people's answers to a run: approves or discards a held plan, or undoes an applied run. Never reads a source.

An API only records an answer, because it cannot access staging; the worker or the command line executes it. Over 250
lines, because all answers share their beginning and their end.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from datetime import date
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core import ids
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.roster.lookup import zone_of
from app.sis.engine import report as reporting
from app.sis.engine.apply import apply_all
from app.sis.engine.lease import district_sync_lease
from app.sis.engine.plan import digest, drop_removals, full_column_delivery, kept_deliveries, load_plan, plan_columns
from app.sis.engine.report import WENT, Counts, Report
from app.sis.engine.run import (
    EXITS,
    RunRequest,
    begin,
    conclude,
    drop_kept_plan,
    end,
    lock_district_writes,
    update_watermarks,
)
from app.sis.engine.scores import delivery as scores
from app.sis.engine.scores.mapping import follow_results
from app.sis.engine.stage import Stage
from app.sis.engine.state import change_states
from app.sis.kinds import BY_NAME, KINDS, SCORE, Kind
from app.sis.models import SisChange, SisRun
from app.sis.port import Progress, RosterBusy, SourceInconsistent
from app.sis.rules import ANSWERABLE, ANSWERED, OPEN, WITH_PLAN, RunState
from app.sis.runs import rekey
from app.sis.runs.queries import read_report
from app.sis.runs.queries import run as find_run
from app.sis.service import open_stage, refresh_statistics

KEPT_SIZE = 64 << 20  # The assumed size of a kept plan in bytes; its files no longer exist.
RESTORED = "The database was restored from a backup, which has no plans: it is discarded. Run the sync again."


class RosterChanged(SourceInconsistent):
    """Raised if the roster has changed since the approved plan was made."""

    code = "run.roster_changed"


@needs(Can.APPROVE_SYNC)
async def approve(work: Work, run_id: UUID, plan: str, without_removals: bool) -> None:
    """Marks a held run, or one that failed to apply, as approved.

    `plan` is the digest that the report shows; `without_removals` drops the removals from the plan. Raises `NotFound`,
    or `Conflict` if the run has another state or its plan has another digest.
    """
    run = await _load_held(work, run_id)
    if run.plan is None or run.plan["digest"] != plan:
        raise Conflict(
            "The plan is not the one that was read. Read the report again and name its plan.", code="run.plan_changed"
        )
    await _record_answer(work, run_id, RunState.APPROVED, "Approved; it will be applied shortly.", without_removals)


@needs(Can.APPROVE_SYNC)
async def discard(work: Work, run_id: UUID) -> None:
    """Marks a held run, or one that failed to apply, as discarded.

    Raises `NotFound`, or `Conflict` if the run is in another state.
    """
    await _load_held(work, run_id)
    await _record_answer(work, run_id, RunState.DISCARDED, "Discarded. The roster is as it was.", False)


@needs(Can.APPROVE_SYNC)
async def discard_unkept_plans(work: Work) -> int:
    """Discards every plan that waits for approval. Returns the number of discarded runs.

    This is needed after a restore, because backups do not contain staged rows.
    """
    lost = {"sentence": RESTORED, "plan": None, "answer": None}
    has_plan = SisRun.plan.is_not(None)
    return len(await change_states(work, RunState.DISCARDED, [has_plan], lost, of=(*OPEN, *WITH_PLAN)))


@needs(Can.APPROVE_SYNC)
async def _load_held(work: Work, run_id: UUID) -> SisRun:
    run = await work.db.scalar(select(SisRun).where(SisRun.district_id == work.district_id, SisRun.id == run_id))
    if run is None:
        raise NotFound("run")
    if run.state not in ANSWERABLE:
        state = run.state.replace("_", " ")
        raise Conflict(
            f"The run is {state}: only one that is held, or failed to apply, can be answered.", code="run.not_held"
        )
    return run


@needs(Can.APPROVE_SYNC)
async def _record_answer(work: Work, run_id: UUID, state: RunState, sentence: str, without_removals: bool) -> None:
    answer = {
        "verb": state.value,
        "by": work.principal.name,
        "at": now().isoformat(),
        "without_removals": without_removals,
    }
    answered = {"sentence": sentence, "answer": answer, "due": func.now(), "attempts": 0}
    if not await change_states(work, state, [SisRun.id == run_id], answered, of=ANSWERABLE):
        raise Conflict("The run was answered meanwhile.", code="run.not_held")


async def execute_answer(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    run_id: UUID,
    progress: Progress,
    claim_number: int | None = None,
) -> Report:
    """Applies the plan of an approved run, or drops the plan of a discarded run, and returns the report.

    A plan that no longer matches the roster is discarded. Raises `AlreadyRunning` while the district syncs, and
    `Superseded` if another claim owns the run. After any other error the roster is unchanged and the answer remains
    recorded.
    """
    principal = system_principal(district_id, "sync")
    async with district_sync_lease(engine, keyring, district_id):
        try:
            async with unit(engine, principal, keyring, "sync answer") as work:
                report = await _execute_answer(work, run_id, progress, claim_number)
        except SourceInconsistent as error:
            if isinstance(error, RosterBusy):
                raise  # the plan still fits: it is attempted again
            async with unit(engine, principal, keyring, "sync answer") as work:
                report = await _discard_outdated(work, run_id, claim_number)
        if report.state == RunState.APPLIED and report.overturned:
            async with unit(engine, principal, keyring, "sync statistics") as work:
                await refresh_statistics(work, report.overturned)
    return report


@needs(Can.SYNC_ROSTER)
async def _execute_answer(work: Work, run_id: UUID, progress: Progress, claim_number: int | None) -> Report:
    await lock_district_writes(work)
    run = (await find_run(work, run_id)).run
    report = await read_report(work, run_id)
    if run.plan is None or run.state not in ANSWERED:
        return report
    if run.state == RunState.APPROVED and run.mode == rekey.MODE:
        await rekey.apply_rekey(work, run, report)
    elif run.state == RunState.APPROVED and run.mode == scores.MODE:
        stage = await open_stage(work, run_id, run.source_id, KEPT_SIZE)
        await scores.apply_kept(work, stage, run, report, progress)
    elif run.state == RunState.APPROVED:
        deliveries = kept_deliveries(run.plan)
        stage = await open_stage(work, run_id, run.source_id, KEPT_SIZE)
        await load_plan(stage, run_id, deliveries)
        if await digest(stage, deliveries) != run.plan["digest"]:
            raise RosterChanged("The roster has changed since the plan was made.")
        if run.answer and run.answer["without_removals"]:
            await drop_removals(stage, deliveries)
            for counts in report.kinds.values():
                counts.unchanged += counts.removed
                counts.removed = counts.absent = 0
        report.repaired = await apply_all(stage, deliveries, progress)
        report.warnings += await follow_results(work, stage)
        await stage.clear()
        because, report.held_because = report.held_because, []
        conclude(report, dry=False)
        report.held_because = because
    await drop_kept_plan(work, run_id)
    report.plan = None
    await end(work, report, of=(RunState(run.state),), claim_number=claim_number)
    return report


@needs(Can.SYNC_ROSTER)
async def _discard_outdated(work: Work, run_id: UUID, claim_number: int | None) -> Report:
    report = await read_report(work, run_id)
    report.state, report.exit_code = RunState.DISCARDED, EXITS["inconsistent"]
    report.sentence = "The roster has changed since the plan was made: it is discarded. Run the sync again."
    await drop_kept_plan(work, run_id)
    report.plan = None
    await end(work, report, of=ANSWERED, claim_number=claim_number)
    return report


async def undo(
    engine: AsyncEngine,
    keyring: Keyring,
    district_id: UUID,
    run_id: UUID,
    progress: Progress,
    request: RunRequest = RunRequest(),
) -> Report:
    """Reverts an applied run in one transaction, as a run of its own with its own change log.

    Created rows are removed; updated, removed and restored rows get their former values, except for pinned fields.
    Raises `NotFound`; `Conflict` if the run was not applied, is undone already, has expired, or a later run changed the
    same rows; `AlreadyRunning` while the district syncs.
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
    report.warnings += await follow_results(work, stage)


@needs(Can.APPROVE_SYNC)
async def require_undoable(work: Work, run: SisRun) -> None:
    """Raises `Conflict` if a run was not applied, is undone already, or a later run changed the same rows."""
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
    """Raises `Conflict` if the before-image of any row that the run changed has expired or was erased."""
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
    """Returns how many rows of a kind this run changed and one of the runs `later` changed again.

    Also counts rows that a later run created under an id that this run had created.
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
    """Writes the plan of one kind that reverts the run `run_id`.

    The plan comes from the change log of that run and from the rows that the run created.
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
            WHERE c.district_id = :district AND c.run_id = '{run_id}' AND c.kind = '{kind.name}'""",
    )
    await stage.insert(
        "plan",
        kind.name,
        ("id", "action"),
        f"""SELECT :district, :run, t.{kind.key}, 'remove' FROM {kind.table} AS t
            WHERE t.district_id = :district AND t.arrived_in = '{run_id}' AND t.removed_at IS NULL""",
    )


async def reopen_memberships(stage: Stage, ran_on: date) -> None:
    """Reopens the school memberships that a run on the date `ran_on` had ended.

    Without this, an undo would leave a gap in them.
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
    """Removes again the rows that the run `run_id` had restored, with their former values and time of removal.

    The schools of records are not changed, because the records of a student who left stay in their current schools.
    """
    columns = [column for column, _ in plan_columns(kind, full_column_delivery(kind)) if column != "school_ids"]
    await stage.run(
        f"""UPDATE {kind.table} AS t
            SET removed_at = b.removed_at{kind.note_change}{"".join(f", {column} = b.{column}" for column in columns)}
            FROM sis_change AS c, LATERAL jsonb_populate_record(NULL::{kind.table}, c.before) AS b
            WHERE t.district_id = :district AND c.district_id = :district AND c.run_id = '{run_id}'
              AND c.kind = '{kind.name}' AND c.action = 'restore' AND t.{kind.key} = c.row_id"""
    )
