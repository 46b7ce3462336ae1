"""Carries out what a person decided about a held run: applies its plan, whole or in part, or discards the plan.

The decision (`answer`) is recorded first. This is all that an API can do, because it has no access to the staging
tables. The worker or the command line then carries the decision out, without reading the source again.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.clock import now, show_instant
from app.core.crypto import Keyring
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.sis.engine.apply import apply_all
from app.sis.engine.lease import district_sync_lease
from app.sis.engine.plan import digest, drop_removals, kept_deliveries, load_plan
from app.sis.engine.report import Report
from app.sis.engine.review.partial import ApprovedPart, leave_out
from app.sis.engine.run import (
    EXITS,
    conclude,
    drop_kept_plan,
    end,
    lock_district_writes,
    note_left_out,
    state_left_out,
)
from app.sis.engine.scores import delivery as scores
from app.sis.engine.stage import Stage
from app.sis.engine.state import change_states
from app.sis.models import SisRun
from app.sis.port import Delivery, Progress, RosterBusy, SourceInconsistent
from app.sis.rules import ANSWERABLE, ANSWERED, OPEN, WITH_PLAN, RunState
from app.sis.runs import rekey
from app.sis.runs.plans.changes import locate_schools
from app.sis.runs.queries import read_report
from app.sis.runs.queries import run as find_run
from app.sis.service import KEPT_SIZE, follow_results_and_signals, open_stage, refresh_statistics

RESTORED = "The database was restored from a backup, which has no plans: it is discarded. Run the sync again."


class RosterChanged(SourceInconsistent):
    """Raised if the roster has changed since the approved plan was made."""

    code = "run.roster_changed"


@needs(Can.APPROVE_SYNC)
async def approve(
    work: Work,
    run_id: UUID,
    plan: str,
    without_removals: bool = False,
    schools: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
) -> None:
    """Marks a run as approved, so that its plan is applied.

    The run must be held, or an earlier attempt to apply its plan must have failed.

    * `plan` is the digest that the report shows.
    * With `without_removals`, the planned removals are dropped.
    * `schools` and `kinds` restrict the approval to a part of the plan. The rest of the plan is not applied; the next
      run plans it again.

    Raises `NotFound`, `Conflict` if the run has another state or its plan has another digest, and `Invalid` for an
    unknown school or kind.
    """
    run = await _load_held(work, run_id)
    if run.plan is None or run.plan["digest"] != plan:
        raise Conflict(
            "The plan is not the one that was read. Read the report again and name its plan.", code="run.plan_changed"
        )
    _validate_part(run, schools, kinds)
    school_ids = None if schools is None else await locate_schools(work, schools, "/schools")
    answer: dict[str, Any] = {
        "without_removals": without_removals,
        "schools": school_ids and [str(school_id) for school_id in school_ids],
        "kinds": kinds and sorted(set(kinds)),
    }
    await _record_answer(work, run_id, RunState.APPROVED, "Approved; it will be applied shortly.", answer)


def _validate_part(run: SisRun, schools: Sequence[str] | None, kinds: Sequence[str] | None) -> None:
    """Raises `Invalid` unless the plan of the run can be approved for these schools and kinds of record only."""
    given = {"/schools": schools, "/kinds": kinds}
    if run.mode == rekey.MODE and (schools is not None or kinds is not None):
        detail = "A map of new sourcedIds is approved as a whole."
        raise Invalid([Violation(where, "approval.part", detail) for where, each in given.items() if each is not None])
    if empty := [where for where, each in given.items() if each is not None and not each]:
        raise Invalid([Violation(where, "approval.empty", "Name at least one, or leave this out.") for where in empty])
    files = (run.plan or {})["files"]
    unknown = [place for place, kind in enumerate(kinds or ()) if kind not in files]
    if unknown:
        detail = f"The plan has these kinds: {', '.join(files)}."
        raise Invalid([Violation(f"/kinds/{place}", "approval.kind", detail) for place in unknown])


@needs(Can.APPROVE_SYNC)
async def discard(work: Work, run_id: UUID) -> None:
    """Marks a run as discarded, so that its plan is deleted.

    The run must be held, or an earlier attempt to apply its plan must have failed. Raises `NotFound`, or `Conflict` if
    the run is in another state.
    """
    await _load_held(work, run_id)
    await _record_answer(work, run_id, RunState.DISCARDED, "Discarded. Nothing was changed.", {})


@needs(Can.APPROVE_SYNC)
async def discard_unkept_plans(work: Work) -> int:
    """Discards every plan that is not applied yet, after a backup was restored. Returns the number of discarded runs.

    Backups do not contain the rows of plans, so these plans can no longer be applied.
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
async def _record_answer(work: Work, run_id: UUID, state: RunState, sentence: str, more: dict[str, Any]) -> None:
    answer = {
        "verb": state.value,
        "by": work.principal.name,
        "at": show_instant(now()),
        **more,
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
    """Applies the plan of an approved run, or deletes the plan of a discarded run. Returns the report.

    A plan that no longer matches the roster is discarded. Raises `AlreadyRunning` while the district syncs, and
    `Superseded` if another worker has taken the run. After any other error, the roster is unchanged and the run is
    still approved or discarded, so that the caller can try again.
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
        await _restrict_plan(stage, deliveries, run.answer or {}, report)
        report.repaired = await apply_all(stage, deliveries, progress)
        report.warnings += await follow_results_and_signals(work, stage)
        await stage.clear()
        because, report.held_because = report.held_because, []
        conclude(report, dry=False)
        report.held_because = because
        state_left_out(report)
    await drop_kept_plan(work, run_id)
    report.plan = None
    await end(work, report, of=(RunState(run.state),), claim_number=claim_number)
    return report


async def _restrict_plan(
    stage: Stage, deliveries: Mapping[str, Delivery], answer: Mapping[str, Any], report: Report
) -> None:
    """Deletes from the plan what was not approved, and corrects the counts and the notes of the report."""
    if answer.get("without_removals"):
        await drop_removals(stage, deliveries)
        for counts in report.kinds.values():
            counts.unchanged += counts.removed
            counts.removed = counts.absent = 0
    schools, kinds = answer.get("schools"), answer.get("kinds")
    if schools is None and kinds is None:
        return
    part = ApprovedPart(None if schools is None else [UUID(school_id) for school_id in schools], kinds)
    note_left_out(report, await leave_out(stage, deliveries, part, report.kinds))


@needs(Can.SYNC_ROSTER)
async def _discard_outdated(work: Work, run_id: UUID, claim_number: int | None) -> Report:
    report = await read_report(work, run_id)
    report.state, report.exit_code = RunState.DISCARDED, EXITS["inconsistent"]
    changed = "The scores have" if report.mode == scores.MODE else "The roster has"
    report.sentence = f"{changed} changed since the plan was made: it is discarded. Run the sync again."
    await drop_kept_plan(work, run_id)
    report.plan = None
    await end(work, report, of=ANSWERED, claim_number=claim_number)
    return report
