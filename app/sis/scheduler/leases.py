"""Lets a worker claim runs that wait to be executed, and held runs that a person has approved or discarded.

The approval or discard of a run is called its answer. The module also renews the leases of claimed jobs, and postpones
jobs. It executes none of them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.fault_report import NO_FAULT, FaultSummary
from app.core.jobs import ClaimedJob, JobTable, RetryPolicy, claim, worker_name
from app.roster.models import Source
from app.sis.engine.lease import renewed
from app.sis.engine.report import Report
from app.sis.engine.run import LENGTH, end
from app.sis.engine.state import change_states
from app.sis.models import SisRun
from app.sis.rules import OPEN, RunState

BUSY = timedelta(seconds=30)
"""The wait before a run is attempted again if another sync of the district was running."""
RETRIES = RetryPolicy(attempts=3, first=timedelta(seconds=30), longest=timedelta(minutes=15))
"""The number of attempts and the waits between them.

A run is attempted again after a temporary fault, and an answer after any fault.
"""
RUNS = JobTable(cast(Table, SisRun.__table__), "source_id", cast(Table, Source.__table__), 1, LENGTH)
ANSWERS = JobTable(
    *(RUNS.table, RUNS.key, RUNS.keys, 1, LENGTH),
    waiting=f"t.state = '{RunState.APPROVED}' OR (t.state = '{RunState.DISCARDED}' AND t.plan IS NOT NULL)",
)


@needs(Can.SYNC_ROSTER)
async def claim_run(work: Work, length: timedelta = LENGTH) -> list[ClaimedJob]:
    """Claims the next run of the district. Returns it in a list, which is empty if no run is waiting.

    The caller must commit before executing the run.
    """
    runs = JobTable(RUNS.table, RUNS.key, RUNS.keys, RUNS.at_once, length)
    return await claim(work.db, runs, work.district_id, 1)


@needs(Can.SYNC_ROSTER)
async def claim_answers(work: Work, most: int) -> list[ClaimedJob]:
    """Claims runs that a person has approved or discarded, so that their plans can be applied or deleted.

    Claims at most `most` runs, and only one per source. The caller must commit before executing the claimed jobs.
    """
    return await claim(work.db, ANSWERS, work.district_id, most)


@needs(Can.APPROVE_SYNC)
async def claim_answer(work: Work, run_id: UUID) -> ClaimedJob:
    """Claims a run that this same transaction approves or discards, and returns the job.

    The process that records the approval or the discard then executes the job itself, without a worker.
    """
    claimed = await work.db.execute(
        update(SisRun)
        .where(SisRun.district_id == work.district_id, SisRun.id == run_id)
        .values(
            leased_until=func.now() + LENGTH,
            claim_number=SisRun.claim_number + 1,
            attempts=SisRun.attempts + 1,
            worker=worker_name(),
        )
        .returning(SisRun.claim_number, SisRun.attempts, SisRun.leased_until, SisRun.worker)
    )
    row = claimed.mappings().one()
    return ClaimedJob(run_id, row["claim_number"], row["attempts"], row["leased_until"] - LENGTH, row)


@asynccontextmanager
async def renewed_lease(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, job: ClaimedJob, length: timedelta = LENGTH
) -> AsyncIterator[None]:
    """Keeps the lease of a claimed run as long as the caller's `async with` block runs.

    The lease is renewed three times within `length`. Each renewal makes it last for `length` from the time of the
    renewal.
    """

    async def renew() -> None:
        async with unit(engine, system_principal(district_id, "sync"), keyring, "sync lease") as work:
            await keep_lease(work, job, length)

    async with renewed(renew, length.total_seconds() / 3):
        yield


@needs(Can.SYNC_ROSTER)
async def keep_lease(work: Work, job: ClaimedJob, length: timedelta = LENGTH) -> None:
    """Renews the lease of a running run. If another worker has claimed the run, nothing changes."""
    under_way = (SisRun.leased_until.is_not(None), *_of(work, job))
    await work.db.execute(update(SisRun).where(*under_way).values(leased_until=func.now() + length))


@needs(Can.SYNC_ROSTER)
async def postpone_run(
    work: Work, job: ClaimedJob, wait: timedelta, because: str = "", fault: FaultSummary | None = None
) -> None:
    """Postpones a run: it is attempted again after `wait`.

    `because` is a sentence with the reason. Without a `fault`, this attempt does not count, because the run could not
    begin, or its worker was shut down.
    """
    waits = {"sentence": f"The sync waits for a worker. {because}".strip(), **_waits(wait, fault)}
    await change_states(work, RunState.PENDING, _of(work, job), waits, of=OPEN)


@needs(Can.SYNC_ROSTER)
async def postpone_answer(work: Work, job: ClaimedJob, wait: timedelta, fault: FaultSummary | None = None) -> None:
    """Postpones the work on a run that was approved or discarded: it is attempted again after `wait`.

    The work is to apply the plan of the run, or to delete it. Without a `fault`, this attempt does not count.
    """
    await work.db.execute(update(SisRun).where(*_of(work, job), SisRun.plan.is_not(None)).values(_waits(wait, fault)))


def _waits(wait: timedelta, fault: FaultSummary | None) -> dict[str, Any]:
    waits: dict[str, Any] = {"leased_until": None, "due": func.now() + wait}
    if fault is None:
        return waits | {"attempts": SisRun.attempts - 1}
    return waits | {"fault": fault.error, "fault_place": fault.place}


@needs(Can.SYNC_ROSTER)
async def give_up_run(
    work: Work, run_id: UUID, claim_number: int, sentence: str, fault: FaultSummary = NO_FAULT
) -> None:
    """Ends a run as failed, unless another worker has taken it since.

    `claim_number` is the number of this worker's claim; a later claim has a higher number. `sentence` and `fault` say
    why the run failed.
    """
    mine = and_(SisRun.district_id == work.district_id, SisRun.id == run_id, SisRun.claim_number == claim_number)
    run = await work.db.scalar(select(SisRun).where(mine, SisRun.state.in_(OPEN)))
    if run is not None:
        ended: dict[str, Any] = {"state": RunState.FAILED, "began_at": run.began_at, "ended_at": now()}
        await end(work, Report(run_id, mode=run.mode, sentence=sentence, **ended), of=OPEN, fault=fault)


def _of(work: Work, job: ClaimedJob) -> tuple[Any, ...]:
    return (
        SisRun.district_id == work.district_id,
        SisRun.id == job.id,
        SisRun.claim_number == job.claim_number,
    )
