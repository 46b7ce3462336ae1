"""Creates scheduled runs, claims pending runs, and executes them in a worker.

* Each district has one run at a time.
* A run is claimed with a lease, which is renewed while the run is executed.
* If the worker dies or a temporary fault occurs, the run is attempted again, up to three attempts in total.

This module does not decide what is applied. This file exceeds 250 lines so that the creation, the execution and the end
of a run are in one place.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import Principal, system_principal
from app.access.work import Work, needs, unit
from app.core import ids
from app.core.address import Allowed
from app.core.clock import now
from app.core.crypto import KeyFault, Keyring
from app.core.district_tasks import SkippedDistricts, end_tasks, start_districts
from app.core.errors import AimlineError, StorageFull
from app.core.fault_report import FaultSummary, describe_fault, summarize_fault
from app.core.faults import fault_of
from app.core.ids import new_id
from app.core.jobs import WORKER_LOST, ClaimedJob
from app.core.log import job_context
from app.events.catalogue import SYNC_OVERDUE, NewEvent
from app.events.outbox import record
from app.roster.lookup import today_of
from app.sis.engine.lease import describe_holder, is_syncing
from app.sis.engine.report import Report
from app.sis.engine.run import BROKE_OFF, LENGTH, RunRequest
from app.sis.engine.state import add_notices, change_states
from app.sis.models import SisRun, SisSource
from app.sis.port import AlreadyRunning, RosterBusy, Superseded
from app.sis.rules import OPEN, RunState
from app.sis.runs import rekey
from app.sis.runs.pull import inspect_source, run_source, save_findings
from app.sis.runs.undo import undo
from app.sis.scheduler.alerts import OVERDUE
from app.sis.scheduler.leases import BUSY, RETRIES, claim_run, give_up_run, postpone_run, renewed_lease
from app.sis.sources.schedule import is_frozen
from app.sis.sources.service import write_schedule
from app.sis.sources.settings import freeze_of

# The maximum number of districts that this process syncs at the same time, not counting those that wait for their
# source.
AT_ONCE = 2
MAX_RUNNING = 8  # The maximum number of districts in total; each uses a database connection.
WAITING = ("", "fetching", "downloading", "starting")
"""The first words of the stages in which a run waits for its source. Runs in these stages do not count towards
`AT_ONCE`, so that a slow source does not delay other districts.
"""

log = structlog.get_logger()


@dataclass
class SyncScheduler:
    """Starts the due syncs of districts in this process, and keeps track of those that are running."""

    engine: AsyncEngine
    keyring: Keyring
    allowed: Allowed
    length: timedelta = LENGTH
    running: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    stages: dict[UUID, "_StageLog"] = field(default_factory=dict)
    rests: SkippedDistricts = field(default_factory=SkippedDistricts)

    def start_due(self, due: Sequence[UUID]) -> int:
        """Starts the due syncs of these districts as far as there is capacity.

        Returns the number of districts whose sync was started.
        """
        waiting = sum(key not in self.stages or self.stages[key].is_waiting for key in self.running)
        room = min(AT_ONCE - (len(self.running) - waiting), MAX_RUNNING - len(self.running))
        return start_districts(due, room, self.running, self.rests, self._district)

    async def drain(self, patience: float | None = None) -> None:
        """Waits for the running syncs. Cancels those that are still running after `patience` seconds."""
        await end_tasks(list(self.running.values()), patience)

    async def _district(self, district_id: UUID) -> None:
        try:
            with job_context("sync", district_id):
                await self._sync_district(district_id)
        finally:
            self.stages.pop(district_id, None)

    async def _sync_district(self, district_id: UUID) -> None:
        try:
            async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
                inspected = await schedule_due_runs(work)
            for source_id in inspected:
                await self._inspect(district_id, source_id)
            async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
                claimed = await claim_run(work, self.length)
            for job in claimed:
                with job_context("sync", district_id, job.id):
                    await self._execute(district_id, job)
            self.rests.note(district_id, done=len(inspected) + len(claimed))
        except Exception as error:  # a fault in one district must not stop the others; its runs remain due
            rest = self.rests.note_fault(district_id)
            log.error("night.trouble", wait=rest, **describe_fault(error))

    async def _inspect(self, district_id: UUID, source_id: UUID) -> None:
        """Inspects a source and saves the findings.

        The request for the inspection is kept until the findings are saved.
        """
        try:
            findings = await inspect_source(self.engine, self.keyring, district_id, source_id, self.allowed)
        except Exception as error:  # saved, so that an inspection that always fails is not repeated endlessly
            log.error("looks.trouble", source=str(source_id), **describe_fault(error))
            sentence = "The inspection failed. Request another one."
            findings = {"ready": False, "sentences": [sentence], "facts": {}}
        async with unit(self.engine, _principal(district_id), self.keyring, "sync look") as work:
            await save_findings(work, source_id, findings)

    async def _execute(self, district_id: UUID, job: ClaimedJob) -> None:
        """Executes a run that this worker has claimed, and saves the outcome. Meanwhile, renews the job's lease."""
        context = {"attempt": job.attempts, "worker": job.row["worker"]}
        log.info("syncs.begun", **context)
        try:
            async with renewed_lease(self.engine, self.keyring, district_id, job, self.length):
                report = await self._run(district_id, job)
            log.info("syncs.ended", **context, state=report.state, changes=report.total("changes"))
        except AlreadyRunning:
            await self._postpone(district_id, job, BUSY, is_busy=True)
        except asyncio.CancelledError:  # this worker ends, and another worker may claim the run at once
            await self._postpone(district_id, job, timedelta(0))
            log.warning("syncs.left", **context)
            raise
        except Superseded:
            log.warning("syncs.superseded", **context)
        except (AimlineError, KeyFault) as error:  # another attempt after a key fault would need another key file
            if isinstance(error, StorageFull | RosterBusy):
                await self._retry(district_id, job, error)
                return
            log.error("syncs.refused", **context, code=getattr(error, "code", "key.fault"))
            await self._give_up(district_id, job, getattr(error, "detail", str(error)), summarize_fault(error))
        except Exception as error:
            await self._retry(district_id, job, error)

    async def _retry(self, district_id: UUID, job: ClaimedJob, error: Exception) -> None:
        """Postpones a run to its next attempt if the error is temporary and an attempt is left.

        Otherwise ends the run as failed.
        """
        passes = isinstance(error, StorageFull | RosterBusy) or fault_of(error) is not None
        wait, fault = RETRIES.wait_after(job.attempts) if passes else None, summarize_fault(error)
        sentence = error.detail if isinstance(error, AimlineError) else f"The sync broke off ({fault.error})."
        context = {"attempt": job.attempts, "worker": job.row["worker"]}
        if wait is None:
            log.error("syncs.failed", **context, **describe_fault(error))
            await self._give_up(district_id, job, sentence, fault)
            return
        log.error("syncs.retried", **context, wait=round(wait.total_seconds(), 1), **describe_fault(error))
        async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
            await postpone_run(work, job, wait, f"{sentence} Nothing was changed.", fault)

    async def _give_up(self, district_id: UUID, job: ClaimedJob, why: str, fault: FaultSummary) -> None:
        async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
            await give_up_run(work, job.id, job.claim_number, f"{why} Nothing was changed.", fault)

    async def _postpone(self, district_id: UUID, job: ClaimedJob, wait: timedelta, *, is_busy: bool = False) -> None:
        async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
            because = await describe_holder(work) if is_busy else "Its worker has ended."
            await postpone_run(work, job, wait, because)

    async def _run(self, district_id: UUID, job: ClaimedJob) -> Report:
        row, request = job.row, RunRequest(job.id, job.claim_number, job.row["mode"])
        stages = self.stages[district_id] = _StageLog(request)
        if row["undoes"] is not None:
            return await undo(self.engine, self.keyring, district_id, row["undoes"], stages, request)
        if row["mode"] == rekey.MODE:
            return await rekey.plan_requested_rekey(self.engine, self.keyring, district_id, request)
        return await run_source(
            *(self.engine, self.keyring, district_id, row["source_id"], stages, self.allowed),
            mode=row["mode"],
            dry=row["dry"],
            request=request,
        )


@needs(Can.SYNC_ROSTER)
async def schedule_due_runs(work: Work) -> list[UUID]:
    """Creates the runs that are due, and emits an event for each overdue source.

    Also puts runs whose worker was lost back into the queue. Returns the ids of the sources for which an inspection was
    requested.
    """
    await _requeue_lost_runs(work)
    rows = await work.db.scalars(
        select(SisSource)
        .where(
            SisSource.district_id == work.district_id,
            (SisSource.due <= func.now()) | (SisSource.overdue_at <= func.now()) | SisSource.look_asked_at.is_not(None),
        )
        .order_by(SisSource.id)
        .with_for_update(skip_locked=True)
    )
    inspected = []
    for row in rows:
        if row.look_asked_at is not None:
            inspected.append(row.id)
        if row.overdue_at is not None and row.overdue_at <= now():
            record(work, NewEvent(SYNC_OVERDUE, row.id, row.version, {}))
            await add_notices(work, OVERDUE, row.id, None)
            row.overdue_at = None
        if row.due is not None and row.due <= now():
            await _create_due_run(work, row)
    await work.db.flush()
    return inspected


@needs(Can.SYNC_ROSTER)
async def _create_due_run(work: Work, row: SisSource) -> None:
    """Creates the scheduled run of a source, and sets the time of the next scheduled run.

    Creates none if another run of the source has not ended, or on a day that the source's settings exclude (freeze).
    """
    in_district = SisRun.district_id == work.district_id
    frozen = is_frozen(await today_of(work), freeze_of(row.frozen))
    waiting = await work.db.scalar(
        select(SisRun.id).where(in_district, SisRun.source_id == row.id, SisRun.state.in_(OPEN))
    )
    if waiting is None and not frozen:
        work.db.add(
            SisRun(
                district_id=work.district_id,
                id=new_id(),
                source_id=row.id,
                state=RunState.PENDING,
                dry=False,
                began_at=now(),
                due=now(),
                counts={},
                warnings=[],
                sentence="The sync is due and waits for a worker.",
                asked_by="schedule",
            )
        )
    overdue = row.overdue_at
    await write_schedule(work, row)
    row.overdue_at = overdue


@needs(Can.SYNC_ROSTER)
async def _requeue_lost_runs(work: Work) -> None:
    """Puts runs whose lease has ended back into the queue. A run that has lost its worker three times fails.

    A run from the command line has no lease and is not repeated. It continues as long as its process has the district's
    lease; otherwise it fails.
    """
    lost = await work.db.scalars(
        select(SisRun)
        .where(
            SisRun.district_id == work.district_id,
            SisRun.state == RunState.RUNNING,
            (SisRun.leased_until <= func.now()) | SisRun.leased_until.is_(None),
        )
        .with_for_update(skip_locked=True)
    )
    for run in lost.all():
        if run.due is None and await is_syncing(work):
            run.leased_until = func.now() + LENGTH
            continue
        lost_worker = FaultSummary(WORKER_LOST, run.worker)
        log.error("syncs.worker_lost", run=ids.format_id("run", run.id), attempt=run.attempts, worker=run.worker)
        if run.due is None:
            await give_up_run(work, run.id, run.claim_number, BROKE_OFF, lost_worker)
        elif run.attempts >= RETRIES.attempts:
            sentence = f"The sync broke off {run.attempts} times. Nothing was changed."
            await give_up_run(work, run.id, run.claim_number, sentence, lost_worker)
        else:
            waits = {
                "leased_until": None,
                "fault": lost_worker.error,
                "fault_place": lost_worker.place,
                "sentence": "The sync broke off and waits for another worker. Nothing was changed.",
            }
            await change_states(work, RunState.PENDING, [SisRun.id == run.id], waits)
    await work.db.flush()


def _principal(district_id: UUID) -> Principal:
    return system_principal(district_id, "sync")


@dataclass
class _StageLog:
    """Writes a log line whenever a run begins its next step, because nobody watches a scheduled run."""

    request: RunRequest
    stage: str = ""

    @property
    def is_waiting(self) -> bool:
        """Returns whether the run is waiting for its source."""
        return self.stage.partition(" ")[0] in WAITING

    def __call__(self, stage: str, _done: int, _of: int) -> None:
        if stage != self.stage:
            self.stage = stage
            log.info("syncs.stage", claim=self.request.claim_number, stage=stage)
