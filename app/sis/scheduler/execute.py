"""Owns the worker's part of syncs: it creates the scheduled runs, claims pending runs and executes them.

Each district has one run at a time. A run is claimed with a lease that is renewed while it goes on; if its worker dies,
it starts again, with three attempts at most. Never decides what is applied.
Over 250 lines, so that the creation, the claim and the end of a run are in one place.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

import structlog
from sqlalchemy import Table, and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import Due, districts_due
from app.access.permission import Can
from app.access.principal import Principal, system_principal
from app.access.work import Work, needs, unit
from app.core.address import Allowed
from app.core.clock import now, today_in
from app.core.crypto import KeyFault, Keyring
from app.core.errors import AimlineError
from app.core.fault_report import describe_fault
from app.core.ids import new_id
from app.core.lease import Claimed, Lease, claim
from app.core.log import job_context
from app.events.catalogue import SYNC_OVERDUE, NewEvent
from app.events.outbox import record
from app.roster.lookup import zone_of
from app.roster.models import Source
from app.sis.engine.district_lock import describe_holder
from app.sis.engine.report import Report
from app.sis.engine.run import BROKE_OFF, LENGTH, RunRequest, end, is_syncing
from app.sis.models import SisRun, SisSource
from app.sis.port import AlreadyRunning, Superseded
from app.sis.runs import rekey
from app.sis.runs.approval import undo
from app.sis.runs.pull import OPEN_STATES, inspect_source, run_source, save_findings
from app.sis.sources.schedule import is_frozen
from app.sis.sources.service import write_schedule
from app.sis.sources.settings import freeze_of

DISTRICTS = 16  # districts of one polling pass
AT_ONCE = 2  # districts that this process syncs at the same time, not counting those that wait for their source
MOST = 8  # districts in total; each uses a database connection
WAITING = ("", "fetching", "downloading", "starting")
"""First words of the stages in which a run waits for its source; a slow source must not delay other districts."""
BUSY = timedelta(seconds=30)  # the delay of a run whose district is syncing already
ATTEMPTS = 3
RUNS = Lease(cast(Table, SisRun.__table__), "source_id", cast(Table, Source.__table__), 1, LENGTH)

log = structlog.get_logger()


@dataclass
class SyncScheduler:
    """Starts the due syncs of some districts in this process, and keeps track of those that are running."""

    engine: AsyncEngine
    keyring: Keyring
    allowed: Allowed
    length: timedelta = LENGTH
    running: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    stages: dict[UUID, "_StageLog"] = field(default_factory=dict)

    async def start_due(self) -> int:
        """Starts the syncs that are due, as far as there is capacity, and returns the number of their districts."""
        waiting = sum(key not in self.stages or self.stages[key].is_waiting for key in self.running)
        room = min(AT_ONCE - (len(self.running) - waiting), MOST - len(self.running))
        if room <= 0:
            return 0
        due = await districts_due(self.engine, Due.SYNCS, DISTRICTS)
        due = [district_id for district_id in due if district_id not in self.running][:room]
        for district_id in due:
            task = asyncio.create_task(self._district(district_id))
            self.running[district_id] = task
            task.add_done_callback(partial(self._forget, district_id))
        return len(due)

    async def drain(self, patience: float | None = None) -> None:
        """Waits for the running syncs. Cancels those that still run after `patience` seconds."""
        if not self.running:
            return
        _, slow = await asyncio.wait(list(self.running.values()), timeout=patience)
        for task in slow:
            task.cancel()
        if slow:
            await asyncio.wait(slow)

    def _forget(self, district_id: UUID, _: asyncio.Task[None]) -> None:
        self.running.pop(district_id, None)
        self.stages.pop(district_id, None)

    async def _district(self, district_id: UUID) -> None:
        with job_context("sync", district_id):
            await self._sync_district(district_id)

    async def _sync_district(self, district_id: UUID) -> None:
        try:
            async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
                inspected = await schedule_due_runs(work)
            for source_id in inspected:
                await self._inspect(district_id, source_id)
            async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
                claimed = await claim_run(work, self.length)
            for run in claimed:
                with job_context("sync", district_id, run.id):
                    await self._execute(district_id, run)
        except Exception as error:  # a fault in one district must not stop the others; its runs remain due
            log.error("night.trouble", **describe_fault(error))

    async def _inspect(self, district_id: UUID, source_id: UUID) -> None:
        """Inspects a source and saves the findings. Until they are saved, the request for them remains."""
        try:
            findings = await inspect_source(self.engine, self.keyring, district_id, source_id, self.allowed)
        except Exception as error:  # saved, so that an inspection that always fails is not repeated for ever
            log.error("looks.trouble", source=str(source_id), **describe_fault(error))
            sentence = "The inspection failed. Request another one."
            findings = {"ready": False, "sentences": [sentence], "facts": {}}
        async with unit(self.engine, _principal(district_id), self.keyring, "sync look") as work:
            await save_findings(work, source_id, findings)

    async def _execute(self, district_id: UUID, claimed: Claimed) -> None:
        """Executes a claimed run, and renews its lease meanwhile."""
        heartbeat = asyncio.create_task(self._renew_lease(district_id, claimed))
        context = {"attempt": claimed.number}
        log.info("syncs.begun", **context)
        try:
            report = await self._run(district_id, claimed)
            log.info("syncs.ended", **context, state=report.state, changes=report.total("changes"))
        except AlreadyRunning:
            await self._release(district_id, claimed, BUSY, held=True)
        except asyncio.CancelledError:  # this worker ends, and another worker may claim the run at once
            heartbeat.cancel()
            await self._release(district_id, claimed, timedelta(0))
            log.warning("syncs.left", **context)
            raise
        except Superseded:
            log.warning("syncs.superseded", **context)
        except AimlineError as error:
            log.error("syncs.refused", **context, code=error.code)
            await self._give_up(district_id, claimed, error.detail)
        except KeyFault as error:  # a retry would need another key file
            log.error("syncs.refused", **context, code="key.fault")
            await self._give_up(district_id, claimed, str(error))
        finally:
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat

    async def _give_up(self, district_id: UUID, claimed: Claimed, why: str) -> None:
        async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
            await fail_run(work, claimed.id, claimed.number, f"{why} The roster is as it was.")

    async def _release(self, district_id: UUID, claimed: Claimed, wait: timedelta, *, held: bool = False) -> None:
        async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
            because = await describe_holder(work) if held else "Its worker has ended."
            await release(work, claimed, wait, because)

    async def _run(self, district_id: UUID, claimed: Claimed) -> Report:
        row, request = claimed.row, RunRequest(claimed.id, claimed.number, claimed.row["mode"])
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

    async def _renew_lease(self, district_id: UUID, claimed: Claimed) -> None:
        while True:
            await asyncio.sleep(self.length.total_seconds() / 3)
            with suppress(Exception):  # the next renewal still comes before the lease ends
                async with unit(self.engine, _principal(district_id), self.keyring, "sync lease") as work:
                    await keep_lease(work, claimed, self.length)


@needs(Can.SYNC_ROSTER)
async def schedule_due_runs(work: Work) -> list[UUID]:
    """Creates the runs that are due, requeues the lost ones, and emits an event for each overdue source.

    Returns the ids of the sources for which an inspection was requested.
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
            row.overdue_at = None
        if row.due is not None and row.due <= now():
            await _create_due_run(work, row)
    await work.db.flush()
    return inspected


@needs(Can.SYNC_ROSTER)
async def _create_due_run(work: Work, row: SisSource) -> None:
    """Creates the scheduled run of a source, unless another is unfinished, and schedules the next one.

    A run that was due before a freeze and found no worker waits until the freeze ends.
    """
    in_district = SisRun.district_id == work.district_id
    frozen = is_frozen(today_in(await zone_of(work)), freeze_of(row.frozen))
    waiting = await work.db.scalar(
        select(SisRun.id).where(in_district, SisRun.source_id == row.id, SisRun.state.in_(OPEN_STATES))
    )
    if waiting is None and not frozen:
        work.db.add(
            SisRun(
                district_id=work.district_id,
                id=new_id(),
                source_id=row.id,
                state="pending",
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
    """Returns runs with an expired lease to the queue; a run that has lost three workers fails.

    A run from the command line is not repeated: it goes on while its process has the district's lock, and fails if not.
    """
    lost = await work.db.scalars(
        select(SisRun)
        .where(
            SisRun.district_id == work.district_id,
            SisRun.state == "running",
            (SisRun.leased_until <= func.now()) | SisRun.leased_until.is_(None),
        )
        .with_for_update(skip_locked=True)
    )
    for run in lost.all():
        if run.due is None and await is_syncing(work):
            run.leased_until = now() + LENGTH
        elif run.due is None:
            await fail_run(work, run.id, run.attempts, BROKE_OFF)
        elif run.attempts >= ATTEMPTS:
            await fail_run(work, run.id, run.attempts, f"The sync broke off {ATTEMPTS} times. The roster is as it was.")
        else:
            run.state, run.leased_until = "pending", None
            run.sentence = "The sync broke off and waits for another worker. The roster is as it was."
    await work.db.flush()


@needs(Can.SYNC_ROSTER)
async def claim_run(work: Work, length: timedelta = LENGTH) -> list[Claimed]:
    """Claims the district's next run, if there is one. The caller commits before it executes the run."""
    lease = Lease(RUNS.table, RUNS.key, RUNS.keys, RUNS.at_once, length)
    return await claim(work.db, lease, work.district_id, 1)


@needs(Can.SYNC_ROSTER)
async def keep_lease(work: Work, claimed: Claimed, length: timedelta = LENGTH) -> None:
    """Renews the lease of a running run. Does nothing if another worker has claimed it."""
    mine = and_(SisRun.district_id == work.district_id, SisRun.id == claimed.id, SisRun.attempts == claimed.number)
    await work.db.execute(
        update(SisRun).where(mine, SisRun.state.in_(OPEN_STATES)).values(leased_until=func.now() + length)
    )


@needs(Can.SYNC_ROSTER)
async def fail_run(work: Work, run_id: UUID, attempt: int, sentence: str) -> None:
    """Ends a run as failed, if this attempt still owns it."""
    mine = and_(SisRun.district_id == work.district_id, SisRun.id == run_id, SisRun.attempts == attempt)
    run = await work.db.scalar(select(SisRun).where(mine, SisRun.state.in_(OPEN_STATES)))
    if run is not None:
        ended: dict[str, Any] = {"state": "failed", "sentence": sentence, "began_at": run.began_at, "ended_at": now()}
        await end(work, Report(run_id, mode=run.mode, **ended), of=OPEN_STATES)


@needs(Can.SYNC_ROSTER)
async def release(work: Work, claimed: Claimed, wait: timedelta, because: str = "") -> None:
    """Returns a claimed run to the queue. The attempt is not counted, because no worker was lost."""
    mine = and_(SisRun.district_id == work.district_id, SisRun.id == claimed.id, SisRun.attempts == claimed.number)
    values = {
        "state": "pending",
        "sentence": f"The sync waits for a worker. {because}".strip(),
        "leased_until": None,
        "due": func.now() + wait,
        "attempts": SisRun.attempts - 1,
    }
    await work.db.execute(update(SisRun).where(mine, SisRun.state.in_(OPEN_STATES)).values(values))


def _principal(district_id: UUID) -> Principal:
    return system_principal(district_id, "sync")


@dataclass
class _StageLog:
    """Logs when a run reaches its next stage, because nobody watches a scheduled run."""

    request: RunRequest
    stage: str = ""

    @property
    def is_waiting(self) -> bool:
        """Returns whether the run is waiting for its source."""
        return self.stage.partition(" ")[0] in WAITING

    def __call__(self, stage: str, _done: int, _of: int) -> None:
        if stage != self.stage:
            self.stage = stage
            log.info("syncs.stage", attempt=self.request.attempt, stage=stage)
