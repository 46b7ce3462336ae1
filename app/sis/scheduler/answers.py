"""Carries out people's decisions about held runs in a worker: applies an approved plan, or deletes a discarded one.

A decision, called answer here, is a job. If the job fails, it is attempted again after a wait. If all attempts fail,
the run is marked as failed to apply, and waits until somebody approves or discards it again. This module does not
decide what is applied.
"""

import asyncio
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.crypto import Keyring
from app.core.fault_report import FaultSummary, describe_fault, summarize_fault
from app.core.jobs import ClaimedJob
from app.core.log import job_context
from app.events.catalogue import SYNC_FAILED_TO_APPLY, NewEvent
from app.events.outbox import record
from app.sis.engine.report import Report
from app.sis.engine.state import change_states
from app.sis.models import SisRun
from app.sis.port import AlreadyRunning, Superseded
from app.sis.rules import RunState
from app.sis.runs.approval import execute_answer
from app.sis.scheduler.leases import BUSY, RETRIES, claim_answers, postpone_answer, renewed_lease

AT_ONCE = 8  # The maximum number of answers of one district that are claimed together, one per source.

log = structlog.get_logger()


async def execute_answered_runs(engine: AsyncEngine, keyring: Keyring, district_id: UUID) -> int:
    """Carries out the decisions that are due: applies the plans of approved runs, and deletes those of discarded runs.

    Returns the number of runs for which this succeeded.
    """
    async with unit(engine, system_principal(district_id, "sync"), keyring, "sync answers") as work:
        claimed = await claim_answers(work, AT_ONCE)
    done = 0
    for job in claimed:
        with job_context("sync answer", district_id, job.id):
            done += await _attempt(engine, keyring, district_id, job)
    return done


async def _attempt(engine: AsyncEngine, keyring: Keyring, district_id: UUID, job: ClaimedJob) -> bool:
    """Applies the plan of one approved run, or deletes the plan of one discarded run. Returns whether this succeeded.

    An error is saved with the run and not raised.
    """
    try:
        await attempt_answer(engine, keyring, district_id, job)
    except Exception:  # the error is logged and recorded
        return False
    return job.attempts <= RETRIES.attempts


async def attempt_answer(engine: AsyncEngine, keyring: Keyring, district_id: UUID, job: ClaimedJob) -> Report | None:
    """Applies the plan of an approved run, or deletes the plan of a discarded run. Returns the report.

    `job` is the run, which this worker has claimed; its lease is renewed meanwhile. If an error occurs, it is saved
    with the run and raised. If workers have died in all the attempts that are allowed, the run is given up, and None is
    returned.
    """
    principal, where = system_principal(district_id, "sync"), {"attempt": job.attempts, "worker": job.row["worker"]}
    if job.attempts > RETRIES.attempts:
        lost = FaultSummary(job.row["fault"], job.row["fault_place"])
        log.error("answers.failed", **where, kind=lost.error, place=lost.place)
        async with unit(engine, principal, keyring, "sync answer") as work:
            await give_up_answer(work, job, lost)
        return None
    log.info("answers.begun", **where)
    try:
        async with renewed_lease(engine, keyring, district_id, job):
            report = await execute_answer(engine, keyring, district_id, job.id, _quiet, job.claim_number)
    except (AlreadyRunning, asyncio.CancelledError) as error:
        wait = BUSY if isinstance(error, AlreadyRunning) else timedelta(0)
        log.warning("answers.postponed", **where, wait=wait.total_seconds())
        async with unit(engine, principal, keyring, "sync answer") as work:
            await postpone_answer(work, job, wait)
        raise
    except Superseded:
        log.warning("answers.superseded", **where)
        raise
    except Exception as error:
        await _record_fault(engine, keyring, district_id, job, error)
        raise
    log.info("answers.ended", **where, state=report.state, changes=report.total("changes"))
    return report


async def _record_fault(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, job: ClaimedJob, error: Exception
) -> None:
    wait, fault = RETRIES.wait_after(job.attempts), summarize_fault(error)
    log.error(
        "answers.failed" if wait is None else "answers.retried",
        attempt=job.attempts,
        worker=job.row["worker"],
        wait=None if wait is None else round(wait.total_seconds(), 1),
        **describe_fault(error),
    )
    async with unit(engine, system_principal(district_id, "sync"), keyring, "sync answer") as work:
        if wait is None:
            await give_up_answer(work, job, fault)
        else:
            await postpone_answer(work, job, wait, fault)


@needs(Can.SYNC_ROSTER)
async def give_up_answer(work: Work, job: ClaimedJob, fault: FaultSummary) -> None:
    """Marks an approved run as failed to apply, and records the event of this failure.

    The run then waits until somebody approves or discards it again. If the run was discarded instead, and its plan
    could not be deleted, maintenance deletes the rows of the plan later.
    """
    mine = (SisRun.id == job.id, SisRun.claim_number == job.claim_number)
    ended = {"leased_until": None, "fault": fault.error, "fault_place": fault.place}
    sentence = (
        f"The plan could not be applied in {RETRIES.attempts} attempts ({fault.error or 'no worker finished one'}). "
        "Nothing was changed. Approve it again, or discard it."
    )
    approved = (RunState.APPROVED,)
    if await change_states(work, RunState.FAILED_TO_APPLY, mine, {"sentence": sentence, **ended}, of=approved):
        record(work, NewEvent(SYNC_FAILED_TO_APPLY, job.id, 1, {}))
        return
    await change_states(work, RunState.DISCARDED, mine, {"plan": None, **ended}, of=(RunState.DISCARDED,))


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Ignores the progress that is reported while a plan is applied."""
