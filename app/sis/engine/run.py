"""Creates the row of a run, saves its outcome, and updates its source at the end.

Also takes the lock that a transaction needs before it writes the changes of a sync. Does not stage, plan or apply.

This file exceeds 250 lines so that everything that decides which process owns a run is in one place.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, bindparam, delete, func, select, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.district_lock import FIRST_LOCK, TRY_LOCK, WAIT_FOR_LOCK, DistrictLock
from app.core.errors import Conflict
from app.core.fault_report import NO_FAULT, FaultSummary
from app.core.plural import pluralize
from app.events.catalogue import SYNC_APPLIED, SYNC_FAILED, SYNC_HELD, EventType, NewEvent
from app.events.outbox import record
from app.roster.lookup import today_of
from app.sis.engine.report import Report
from app.sis.engine.state import change_states
from app.sis.engine.student_events import count_events
from app.sis.guard import GuardLimits
from app.sis.kinds import BY_NAME, MAY_BE_LEFT_OUT
from app.sis.models import SisRun, SisSource, SisUpload
from app.sis.port import AlreadyRunning, Superseded
from app.sis.rules import OPEN, WAITING, RunState
from app.sis.sources.service import write_schedule
from app.sis.sources.settings import limits_of

BROKE_OFF = "The sync broke off. Nothing was changed."
EVENTS: dict[str, EventType] = {
    RunState.APPLIED: SYNC_APPLIED,
    RunState.HELD: SYNC_HELD,
    RunState.FAILED: SYNC_FAILED,
}
LENGTH = timedelta(minutes=2)
"""The duration of a run's lease. The worker renews the lease while it executes the run.

A run from the command line has no such lease; the district's lease protects it.
"""
EXITS = {"refused": 5, "inconsistent": 6, "held": 4, "quarantined": 3, "done": 0}
DROP_KEPT_PLAN = tuple(
    text(f"DELETE FROM staging.{table} AS k WHERE k.district_id = :district AND k.run_id = :run").bindparams(  # noqa: S608 - our own names
        bindparam("district", type_=Uuid), bindparam("run", type_=Uuid)
    )
    for table in ("kept_plan", "kept_rekey")
)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A request to execute a run: the existing run `run_id`, or a new run if `run_id` is None.

    Each time a worker takes a run, the run gets a new claim number. Only the worker with this `claim_number` may
    execute it. `mode` is full or delta, or None if the delivery decides.
    """

    run_id: UUID | None = None
    claim_number: int = 0
    mode: str | None = None


@needs(Can.SYNC_ROSTER)
async def lock_district_writes(work: Work) -> None:
    """Makes other transactions that apply a sync of the district wait until this transaction ends.

    The lease does not ensure this: a process that could not renew its lease may still be running. This lock belongs to
    the writing transaction, so it cannot be lost before the writing ends.
    """
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.WRITE_SYNC})


@needs(Can.SYNC_ROSTER)
async def try_lock_district_writes(work: Work) -> bool:
    """Takes the lock of `lock_district_writes`; returns False if another transaction has it."""
    names = {"district": work.district_id, "name": DistrictLock.WRITE_SYNC}
    return await work.db.scalar(TRY_LOCK, names) is not None or await work.db.scalar(FIRST_LOCK, names) is not None


@needs(Can.SYNC_ROSTER)
async def require_current_claim(work: Work, run_id: UUID, claim_number: int) -> None:
    """Raises `Superseded` if another worker has taken the run meanwhile. `end` checks this again.

    This function takes no lock on the row, so that the lease can still be renewed.
    """
    mine = (SisRun.id == run_id, SisRun.state == RunState.RUNNING, SisRun.claim_number == claim_number)
    if await work.db.scalar(select(SisRun.id).where(SisRun.district_id == work.district_id, *mine)) is None:
        raise _superseded()


def _superseded() -> Superseded:
    return Superseded("The run was ended, or claimed by another worker: nothing of it is applied. Run it again.")


@needs(Can.SYNC_ROSTER)
async def limits_in_force(work: Work, source_id: UUID) -> GuardLimits:
    """Returns the limits on what a run of this source may change today without approval.

    A source without settings has the default limits.
    """
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    row = await work.db.scalar(select(SisSource).where(is_source))
    return limits_of(row.limits, row.rollover, await today_of(work)) if row else GuardLimits()


@needs(Can.SYNC_ROSTER)
async def kinds_left_out(work: Work, source_id: UUID, also: Collection[str] = ()) -> frozenset[str]:
    """Returns the kinds of record that a run leaves out: those of the source's settings, and those in `also`.

    Rows of these kinds are neither imported nor counted as missing.
    """
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    names = [*(await work.db.scalar(select(SisSource.left_out).where(is_source)) or ()), *also]
    return frozenset(MAY_BE_LEFT_OUT[name] for name in names if name in MAY_BE_LEFT_OUT)


@needs(Can.SYNC_ROSTER)
async def begin(
    work: Work,
    report: Report,
    source_id: UUID,
    dry: bool,
    undoes: UUID | None = None,
    request: RunRequest = RunRequest(),
) -> None:
    """Creates the row of a run, or starts the run that `request` names.

    First marks as failed each other run that is still in the state `running`, because its process has crashed. `undoes`
    is the id of the run that this run reverts. Raises `Conflict` if another worker has claimed the requested run, and
    `AlreadyRunning` while another run is being applied.
    """
    if not await try_lock_district_writes(work):
        raise AlreadyRunning("Another sync of this district is being applied. Try again when it has ended.")
    ended = {"ended_at": now(), "leased_until": None, "sentence": BROKE_OFF}
    is_other = SisRun.id != report.run_id
    for row in await change_states(work, RunState.FAILED, [is_other], ended):
        if not row.dry:
            record(work, NewEvent(SYNC_FAILED, row.id, 1, {}, counts={}))
    if request.run_id is not None:
        mine = (SisRun.id == request.run_id, SisRun.claim_number == request.claim_number)
        begun = {"began_at": report.began_at, "sentence": "The sync is running.", "mode": request.mode}
        if not await change_states(work, RunState.RUNNING, mine, begun, of=(RunState.PENDING,)):
            raise Conflict("The run was claimed by another worker.", code="run.taken_up")
        return
    work.db.add(
        SisRun(
            district_id=work.district_id,
            id=report.run_id,
            source_id=source_id,
            state=RunState.RUNNING,
            dry=dry,
            began_at=report.began_at,
            counts={},
            warnings=[],
            sentence="The sync is running.",
            undoes=undoes,
            mode=report.mode,
            leased_until=func.now() + LENGTH,
        )
    )
    await work.db.flush()


def note_left_out(report: Report, notes: Sequence[str]) -> None:
    """Adds `notes` to the report. They say which planned changes were left out because they were not approved.

    If there are notes, the next run reads the whole source again.
    """
    report.warnings += notes
    if notes:
        report.taken = None
        report.warnings.append("What was left out comes again with the next run, which reads the whole source.")


def state_left_out(report: Report) -> None:
    """Appends to the summary sentence of the report how many planned changes were left out, if any were."""
    if left_out := report.total("left_out"):
        rows = pluralize(left_out, "planned change is", "planned changes are")
        report.sentence += f" {rows} left out: see the notes."


def conclude(report: Report, dry: bool) -> None:
    """Completes the report of a finished run: sets its state, its exit code and its summary sentence."""
    changes, refused = report.total("changes"), report.total("quarantined") - report.total("acknowledged")
    rows = pluralize(refused, "row could not be taken and is", "rows could not be taken and are")
    left = f" {rows} in quarantine." if refused else ""
    if repaired := sum(report.repaired.values()):
        moved = pluralize(repaired, "record was", "records were")
        left += f" {moved} in another school than their student, and {'is' if repaired == 1 else 'are'} put right."
    report.ended_at = now()
    if unread := [BY_NAME[name].plural for name in report.failed] + report.partial:
        left += f" Not everything could be read ({', '.join(unread)}): see the notes."
    report.exit_code = EXITS["quarantined" if refused or unread else "done"]
    if report.held_because:
        report.state = RunState.DRY if dry else RunState.HELD
        report.exit_code = EXITS["held"]
        unchanged = "no score has changed" if report.mode == "scores" else "the roster is as it was"
        verb = "would be held" if dry else f"is held, and {unchanged}"
        report.sentence = f"The sync {verb}: {' '.join(report.held_because)}"
    elif dry:
        report.state = RunState.DRY
        report.sentence = f"Nothing was written. The sync would make {pluralize(changes, 'change', 'changes')}.{left}"
    else:
        report.state = RunState.APPLIED
        done = f"{pluralize(changes, 'change was', 'changes were')} made." if changes else "Nothing has changed."
        report.sentence = f"{done}{left}"


@needs(Can.SYNC_ROSTER)
async def end(
    work: Work,
    report: Report,
    *,
    of: Collection[RunState] = (RunState.RUNNING,),
    claim_number: int | None = None,
    fault: FaultSummary = NO_FAULT,
) -> None:
    """Saves the outcome of a run in its row, updates its source, and emits the run's event.

    * If this run was applied or held, the source's other runs are discarded if they wait for approval, or are approved
      and not applied yet. A run of score files discards only runs with the same plan. A held run that maps old to new
      sourcedIds discards none.
    * A dry run emits no event, even if it fails, because it changes nothing. An applied run without changes emits no
      event either.
    * After an applied run, the next delta asks the source for the changes since this run read it. If rows of this run
      were missing, quarantined or left out, the next run reads them again.

    `of` are the states that the run may be in now. Raises `Superseded` if the run is in another state, or if another
    worker has taken it. The caller must then roll back the transaction.
    """
    mine = (
        SisRun.id == report.run_id,
        *([SisRun.claim_number == claim_number] if claim_number is not None else []),
    )
    values = {
        "ended_at": report.ended_at,
        "counts": {name: asdict(counts) for name, counts in report.kinds.items()},
        "warnings": report.warnings,
        "sentence": report.sentence,
        "held_because": report.held_because,
        "not_taken": report.not_taken,
        "plan": report.plan,
        "mode": report.mode,
        "weighed": report.weighed,
        "taken": report.taken,
        "pulled_at": report.pulled_at,
        "repaired": report.repaired,
        "exit_code": report.exit_code,
        "rekeys": report.rekeys,
        "listed": report.listed,
        "leased_until": None,
        "fault": fault.error,
        "fault_place": fault.place,
    }
    ended = await change_states(work, report.state, mine, values, of=of)
    if not ended:
        raise _superseded()
    row = ended[0]
    await _drop_uploads(work)
    if row.dry:
        return
    source_id: UUID = row.source_id
    # A held map of sourcedIds does not replace the held plan that it was made from, so that a person can still choose
    # that plan.
    if report.mode == "scores":
        # Files of scores do not replace each other, so a newer run replaces only a run with the same plan.
        digest = report.plan and report.plan["digest"]
        await _discard_replaced_plans(work, report.run_id, source_id, [SisRun.plan["digest"].astext == digest])
    elif report.state == RunState.APPLIED or (report.state == RunState.HELD and report.mode != "rekey"):
        await _discard_replaced_plans(work, report.run_id, source_id)
    if report.state == RunState.APPLIED and report.total("left_out"):
        # The next run must plan the left-out changes again, and a delta would not contain them.
        await update_watermarks(work, source_id, False, report.mode, None, undone=True)
    elif report.state in EVENTS and report.mode != "rekey":
        # A delta with quarantined or missing rows does not move the watermark, so that the next delta requests those
        # rows again. Neither does a run that could not read an optional collection.
        is_incomplete = bool(report.failed) or (
            report.mode == "delta" and (report.total("quarantined") > 0 or bool(report.partial))
        )
        await update_watermarks(
            work, source_id, report.state == RunState.APPLIED and not is_incomplete, report.mode, report.pulled_at
        )
    is_unchanged = report.state == RunState.APPLIED and not report.total("changes")
    if report.state in EVENTS and not is_unchanged:
        record(work, NewEvent(EVENTS[report.state], report.run_id, 1, {}, counts=count_events(report)))


@needs(Can.SYNC_ROSTER)
async def update_watermarks(
    work: Work, source_id: UUID, applied: bool, mode: str | None, pulled_at: datetime | None, *, undone: bool = False
) -> None:
    """Updates a source after a run: the time from which the next run reads changes, and the time when it starts.

    `pulled_at` is the time at which the finished run read the source. With `undone`, the next run reads the whole
    source.
    """
    is_source = (SisSource.district_id == work.district_id) & (SisSource.id == source_id)
    row = await work.db.scalar(select(SisSource).where(is_source))
    if row is None:
        return
    if undone:
        row.pulled_until = row.full_at = None
    elif applied and pulled_at is not None:
        row.pulled_until = max(pulled_at, row.pulled_until or pulled_at)
        if mode == "full":
            row.full_at = max(pulled_at, row.full_at or pulled_at)
    await write_schedule(work, row, now(), keep_due=True)
    await work.db.flush()


async def _drop_uploads(work: Work) -> None:
    """Deletes the uploaded zips of all runs that have ended, whatever their outcome."""
    ended = select(SisRun.id).where(SisRun.district_id == work.district_id, SisRun.state.not_in(OPEN))
    uploads = (SisUpload.district_id == work.district_id, SisUpload.run_id.in_(ended))
    await work.db.execute(delete(SisUpload).where(*uploads).execution_options(synchronize_session=False))


async def _discard_replaced_plans(
    work: Work, run_id: UUID, source_id: UUID, which: Collection[ColumnElement[bool]] = ()
) -> None:
    """Discards the other runs of the source that were not applied yet: those that wait for approval or are approved.

    The current run, `run_id`, replaces them. With `which`, only runs that meet these conditions are discarded.
    """
    others = (SisRun.district_id == work.district_id, SisRun.source_id == source_id, SisRun.id != run_id, *which)
    waiting = await work.db.scalars(select(SisRun.id).where(*others, SisRun.state.in_(WAITING)))
    gone = {"sentence": "A later sync replaced it: nothing of it was applied.", "plan": None}
    for held_id in waiting.all():
        await change_states(work, RunState.DISCARDED, [SisRun.id == held_id], gone, of=WAITING)
        await drop_kept_plan(work, held_id)


@needs(Can.SYNC_ROSTER)
async def drop_kept_plan(work: Work, run_id: UUID) -> None:
    """Deletes the stored plan of a run. It was stored so that a person could review it."""
    for statement in DROP_KEPT_PLAN:
        await work.db.execute(statement, {"district": work.district_id, "run": run_id})
