"""Owns the night as a worker works it: runs that a schedule or somebody asks for are laid, claimed and carried out.

One run a district at a time. A run is claimed with a lease that is renewed while it goes on; one whose worker is lost
begins anew, three times at most. Never decides what is applied.
Over 250 lines: what lays a run, claims it and gives it up is read together.
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
from app.access.principal import Principal, house_principal
from app.access.work import Work, needs, unit
from app.core.address import Allowed
from app.core.clock import now, today_in
from app.core.crypto import KeyFault, Keyring
from app.core.errors import AimlineError
from app.core.fault_report import describe_fault
from app.core.ids import new_id
from app.core.lease import Claimed, Lease, claim
from app.core.log import job_context
from app.events.catalogue import SYNC_OVERDUE, Happened
from app.events.outbox import record
from app.roster.lookup import zone_of
from app.roster.models import Source
from app.sis import rekey
from app.sis.approval import undo
from app.sis.engine.district_lock import describe_holder
from app.sis.engine.report import Report
from app.sis.engine.run import BROKE_OFF, LENGTH, RunRequest, end, is_syncing
from app.sis.models import SisRun, SisSource
from app.sis.port import AlreadyRunning, Superseded
from app.sis.pull import OPEN_STATES, inspect_source, run_source, save_findings
from app.sis.scheduler.schedule import is_frozen
from app.sis.settings import freeze_of
from app.sis.sources import write_schedule

DISTRICTS = 16  # in one look
AT_ONCE = 2  # districts that this process syncs at the same time, beside those whose source it only waits for
MOST = 8  # districts in all, each of which holds a connection
WAITING = ("", "fetching", "downloading", "starting")
"""First words of the stages in which a run waits for its source: a slow one must not keep other districts waiting."""
BUSY = timedelta(seconds=30)  # until the next look at a district that syncs already
ATTEMPTS = 3
RUNS = Lease(cast(Table, SisRun.__table__), "source_id", cast(Table, Source.__table__), 1, LENGTH)

log = structlog.get_logger()


@dataclass
class SyncScheduler:
    """The syncs of this process: what is under way, and how more is taken."""

    engine: AsyncEngine
    keyring: Keyring
    allowed: Allowed
    length: timedelta = LENGTH
    flying: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    stages: dict[UUID, "_StageLog"] = field(default_factory=dict)

    async def turn(self) -> int:
        """One look: begins what is due in some districts; how many of them that were."""
        waiting = sum(one not in self.stages or self.stages[one].is_waiting for one in self.flying)
        room = min(AT_ONCE - (len(self.flying) - waiting), MOST - len(self.flying))
        if room <= 0:
            return 0
        due = [one for one in await districts_due(self.engine, Due.SYNCS, DISTRICTS) if one not in self.flying][:room]
        for district_id in due:
            task = asyncio.create_task(self._district(district_id))
            self.flying[district_id] = task
            task.add_done_callback(partial(self._landed, district_id))
        return len(due)

    async def land(self, patience: float | None = None) -> None:
        """Waits for all that is under way; what still goes on after `patience` seconds is left to another worker."""
        if not self.flying:
            return
        _, slow = await asyncio.wait(list(self.flying.values()), timeout=patience)
        for task in slow:
            task.cancel()
        if slow:
            await asyncio.wait(slow)

    def _landed(self, district_id: UUID, _: asyncio.Task[None]) -> None:
        self.flying.pop(district_id, None)
        self.stages.pop(district_id, None)

    async def _district(self, district_id: UUID) -> None:
        with job_context("sync", district_id):
            await self._sync_district(district_id)

    async def _sync_district(self, district_id: UUID) -> None:
        try:
            async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
                looks = await schedule_due_runs(work)
            for source_id in looks:
                await self._inspect(district_id, source_id)
            async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
                claimed = await claim_run(work, self.length)
            for one in claimed:
                with job_context("sync", district_id, one.id):
                    await self._execute(district_id, one)
        except Exception as error:  # one district's fault must not stop the others; what is due stays due
            log.error("night.trouble", **describe_fault(error))

    async def _inspect(self, district_id: UUID, source_id: UUID) -> None:
        """Looks, and notes what was found: until then the look stays asked for, whatever becomes of this process."""
        try:
            found = await inspect_source(self.engine, self.keyring, district_id, source_id, self.allowed)
        except Exception as error:  # noted, so that what fails every time is not begun again for ever
            log.error("looks.trouble", source=str(source_id), **describe_fault(error))
            found = {"ready": False, "sentences": ["The look broke off. Ask for another."], "facts": {}}
        async with unit(self.engine, _principal(district_id), self.keyring, "sync look") as work:
            await save_findings(work, source_id, found)

    async def _execute(self, district_id: UUID, claimed: Claimed) -> None:
        """Carries out a run, and keeps its lease meanwhile."""
        beat = asyncio.create_task(self._renew_lease(district_id, claimed))
        where = {"attempt": claimed.number}
        log.info("syncs.begun", **where)
        try:
            report = await self._run(district_id, claimed)
            log.info("syncs.ended", **where, state=report.state, changes=report.total("changes"))
        except AlreadyRunning:
            await self._release(district_id, claimed, BUSY, held=True)
        except asyncio.CancelledError:  # this worker ends, and another one takes the run up at once
            beat.cancel()
            await self._release(district_id, claimed, timedelta(0))
            log.warning("syncs.left", **where)
            raise
        except Superseded:
            log.warning("syncs.superseded", **where)
        except AimlineError as error:
            log.error("syncs.refused", **where, code=error.code)
            await self._give_up(district_id, claimed, error.detail)
        except KeyFault as error:  # another try needs another key file
            log.error("syncs.refused", **where, code="key.fault")
            await self._give_up(district_id, claimed, str(error))
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat

    async def _give_up(self, district_id: UUID, claimed: Claimed, why: str) -> None:
        async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
            await fail_run(work, claimed.id, claimed.number, f"{why} The roster is as it was.")

    async def _release(self, district_id: UUID, claimed: Claimed, wait: timedelta, *, held: bool = False) -> None:
        async with unit(self.engine, _principal(district_id), self.keyring, "sync night") as work:
            because = await describe_holder(work) if held else "Its worker has ended."
            await release(work, claimed, wait, because)

    async def _run(self, district_id: UUID, claimed: Claimed) -> Report:
        row, asked = claimed.row, RunRequest(claimed.id, claimed.number, claimed.row["mode"])
        stages = self.stages[district_id] = _StageLog(asked)
        if row["undoes"] is not None:
            return await undo(self.engine, self.keyring, district_id, row["undoes"], stages, asked)
        if row["mode"] == rekey.MODE:
            return await rekey.plan_requested_rekey(self.engine, self.keyring, district_id, asked)
        return await run_source(
            *(self.engine, self.keyring, district_id, row["source_id"], stages, self.allowed),
            mode=row["mode"],
            dry=row["dry"],
            asked=asked,
        )

    async def _renew_lease(self, district_id: UUID, claimed: Claimed) -> None:
        while True:
            await asyncio.sleep(self.length.total_seconds() / 3)
            with suppress(Exception):  # the next beat is in time
                async with unit(self.engine, _principal(district_id), self.keyring, "sync lease") as work:
                    await keep_lease(work, claimed, self.length)


@needs(Can.SYNC_ROSTER)
async def schedule_due_runs(work: Work) -> list[UUID]:
    """Lays the runs whose time has come, takes up those that were lost, says which sources are silent.

    Gives the sources that somebody wants looked at.
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
    looks = []
    for row in rows:
        if row.look_asked_at is not None:
            looks.append(row.id)
        if row.overdue_at is not None and row.overdue_at <= now():
            record(work, Happened(SYNC_OVERDUE, row.id, row.version, {}))
            row.overdue_at = None
        if row.due is not None and row.due <= now():
            await _create_due_run(work, row)
    await work.db.flush()
    return looks


@needs(Can.SYNC_ROSTER)
async def _create_due_run(work: Work, row: SisSource) -> None:
    """The run that the schedule asks for, unless one of this source waits or goes on; and when the next is.

    What was due before a freeze and found no worker waits until the freeze is over.
    """
    of = SisRun.district_id == work.district_id
    frozen = is_frozen(today_in(await zone_of(work)), freeze_of(row.frozen))
    waiting = await work.db.scalar(
        select(SisRun.id).where(of, SisRun.source_id == row.id, SisRun.state.in_(OPEN_STATES))
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
    """Runs whose lease has ended wait again; one that has lost three workers has failed.

    Nobody waits for one that was begun by hand: it goes on while its lock is held, and has failed when it is not.
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
    """Claims the district's next run, if there is one. Commit before the work begins."""
    lease = Lease(RUNS.table, RUNS.key, RUNS.keys, RUNS.at_once, length)
    return await claim(work.db, lease, work.district_id, 1)


@needs(Can.SYNC_ROSTER)
async def keep_lease(work: Work, claimed: Claimed, length: timedelta = LENGTH) -> None:
    """Renews the lease of a run that goes on; of one that another worker has taken up, nothing."""
    mine = and_(SisRun.district_id == work.district_id, SisRun.id == claimed.id, SisRun.attempts == claimed.number)
    await work.db.execute(
        update(SisRun).where(mine, SisRun.state.in_(OPEN_STATES)).values(leased_until=func.now() + length)
    )


@needs(Can.SYNC_ROSTER)
async def fail_run(work: Work, run_id: UUID, attempt: int, sentence: str) -> None:
    """Ends a run as failed, if it is still this attempt's."""
    mine = and_(SisRun.district_id == work.district_id, SisRun.id == run_id, SisRun.attempts == attempt)
    run = await work.db.scalar(select(SisRun).where(mine, SisRun.state.in_(OPEN_STATES)))
    if run is not None:
        ended: dict[str, Any] = {"state": "failed", "sentence": sentence, "began_at": run.began_at, "ended_at": now()}
        await end(work, Report(run_id, mode=run.mode, **ended), of=OPEN_STATES)


@needs(Can.SYNC_ROSTER)
async def release(work: Work, claimed: Claimed, wait: timedelta, because: str = "") -> None:
    """Lets a run wait that could not begin or is left in order: no worker was lost, and so no attempt is counted."""
    mine = and_(SisRun.district_id == work.district_id, SisRun.id == claimed.id, SisRun.attempts == claimed.number)
    waits = {
        "state": "pending",
        "sentence": f"The sync waits for a worker. {because}".strip(),
        "leased_until": None,
        "due": func.now() + wait,
        "attempts": SisRun.attempts - 1,
    }
    await work.db.execute(update(SisRun).where(mine, SisRun.state.in_(OPEN_STATES)).values(waits))


def _principal(district_id: UUID) -> Principal:
    return house_principal(district_id, "sync")


@dataclass
class _StageLog:
    """Nobody watches a night: the log says when a run comes to its next stage."""

    asked: RunRequest
    stage: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for its source."""
        return self.stage.partition(" ")[0] in WAITING

    def __call__(self, doing: str, _done: int, _of: int) -> None:
        if doing != self.stage:
            self.stage = doing
            log.info("syncs.stage", attempt=self.asked.attempt, stage=doing)
