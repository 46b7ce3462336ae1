"""Runs each district's recurring tasks: most of them every hour, and the computation of signals every five minutes.

Each task is a separate job, so a failed task is attempted again after a wait and delays no other task. A task works in
batches, each in a separate transaction. No transaction covers several districts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final, cast
from uuid import UUID

import structlog
from sqlalchemy import Table, func
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import districts_after
from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.agenda.departures import follow_students
from app.calendar.service import revoke_links_of_departed
from app.core.crypto import Keyring
from app.core.fault_report import FaultSummary, describe_fault, summarize_fault
from app.core.ids import new_id
from app.core.jobs import ClaimedJob, JobOutcome, JobTable, RetryPolicy, claim, save_outcomes
from app.core.log import job_context
from app.decision.overdue import send_overdue_reminders
from app.hypothesis.due import ask_about_hypotheses
from app.insight.snapshot import update_windows
from app.maintenance.history import expire_earlier_values
from app.maintenance.models import Task, TaskKind
from app.meeting.series import extend_series
from app.requests.retention import expire_answers
from app.response.upkeep.starts import start_due_supports
from app.signal.compute import compute_signals
from app.sis.scheduler.retention import KEPT, delete_left_rows, expire_changes, expire_lists
from app.webhooks.deliveries.retention import expire

INTERVAL: Final = timedelta(hours=1)
"""The time between two runs of a task that is not in `INTERVAL_OF`.

It is an hour because reminders depend on the date, and the days of districts begin at different hours.
"""
INTERVAL_OF: Final = {TaskKind.SIGNALS: timedelta(minutes=5)}
"""The intervals of tasks that do not run hourly. Signals follow new data soon; a run that finds no change costs little.
"""
RETRIES: Final = RetryPolicy(attempts=5, first=timedelta(minutes=1), longest=timedelta(minutes=15))
"""How often a failed task is attempted, and the waits between attempts. After the last attempt, the task waits for its
next hourly run, which begins with a new count of attempts.
"""
BUDGET: Final = 300.0  # seconds that the batches of one run may take; what remains is due again at once
# seconds after the start until new districts get their tasks, so that a new process begins with deliveries
START_DELAY: Final = 60.0
PENDING: Final = "pending"
TASKS: Final = JobTable(cast(Table, Task.__table__), None, None, len(TaskKind), timedelta(minutes=15))

log = structlog.get_logger()


async def create_tasks_until_stopped(engine: AsyncEngine, keyring: Keyring, stopping: asyncio.Event) -> None:
    """Creates the missing tasks of every district: once soon after the start, and then every hour.

    Returns when `stopping` is set.
    """
    wait = START_DELAY
    while not await _stops_within(wait, stopping):
        try:
            last = UUID(int=0)
            while districts := await districts_after(engine, last):
                for district_id in districts:
                    await create_tasks(engine, keyring, district_id)
                last = districts[-1]
        except Exception as error:  # districts that still lack tasks get them an hour later
            log.error("tasks.trouble", **describe_fault(error))
        wait = INTERVAL.total_seconds()


async def create_tasks(engine: AsyncEngine, keyring: Keyring, district_id: UUID) -> None:
    """Creates the tasks that a district lacks; they are due at once."""
    async with unit(engine, system_principal(district_id, "worker"), keyring, "tasks") as work:
        await _insert_tasks(work)


@needs(Can.MAINTAIN)
async def _insert_tasks(work: Work) -> None:
    columns = {"district_id": work.district_id, "state": PENDING, "due": func.now()}
    rows = [{**columns, "id": new_id(), "kind": kind.value} for kind in TaskKind]
    await work.db.execute(upsert(Task).values(rows).on_conflict_do_nothing())


async def run_due_tasks(engine: AsyncEngine, keyring: Keyring, history: timedelta, district_id: UUID) -> int:
    """Runs the due tasks of a district, and returns the number of tasks that succeeded.

    `history` is how long the earlier values of changed rows are kept.
    """
    succeeded, principal = 0, system_principal(district_id, "worker")
    async with unit(engine, principal, keyring, "tasks") as work:
        claimed = await _claim(work)
    for job in claimed:
        kind = TaskKind(job.row["kind"])
        with job_context(kind.value, district_id):
            outcome = await _attempt(engine, keyring, district_id, job, kind, history)
            async with unit(engine, principal, keyring, "tasks") as work:
                await _save(work, outcome)
        succeeded += outcome.fault.error is None
    return succeeded


@needs(Can.MAINTAIN)
async def _claim(work: Work) -> list[ClaimedJob]:
    return await claim(work.db, TASKS, work.district_id, len(TaskKind))


@needs(Can.MAINTAIN)
async def _save(work: Work, outcome: JobOutcome) -> None:
    await save_outcomes(work.db, TASKS, work.district_id, [outcome])


async def _attempt(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, job: ClaimedJob, kind: TaskKind, history: timedelta
) -> JobOutcome:
    """Runs one task and returns its outcome with the time of its next run.

    If the worker crashed during every allowed attempt, the task is not attempted again now. Its next run is an hour
    later.
    """
    where = {"attempt": job.attempts, "worker": job.row["worker"]}
    if job.attempts > RETRIES.attempts:
        fault = FaultSummary(job.row["fault"], job.row["fault_place"])
        log.error("tasks.failed", **where, wait=INTERVAL.total_seconds(), kind=fault.error, place=fault.place)
        return JobOutcome(job, PENDING, INTERVAL, fault, starts_over=True)
    try:
        rows, is_finished = await run_task(engine, keyring, district_id, kind, history)
    except Exception as error:
        wait = RETRIES.wait_after(job.attempts)
        seconds = round((wait or INTERVAL).total_seconds(), 1)
        log.error("tasks.failed" if wait is None else "tasks.retried", **where, wait=seconds, **describe_fault(error))
        return JobOutcome(job, PENDING, wait or INTERVAL, summarize_fault(error), starts_over=wait is None)
    if rows:
        log.info("tasks.ended", **where, rows=rows)
    interval = INTERVAL_OF.get(kind, INTERVAL)
    return JobOutcome(job, PENDING, interval if is_finished else timedelta(0), starts_over=True)


async def run_task(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, kind: TaskKind, history: timedelta = KEPT
) -> tuple[int, bool]:
    """Runs a task of a district in batches. Returns how many rows it wrote, and whether the task is finished.

    `history` is how long the earlier values of changed rows are kept.
    """

    async def expire_history(work: Work) -> int:
        expired = await expire_changes(work, history) + await expire_earlier_values(work, history)
        expired = expired or await expire_lists(work)
        if not expired:
            await delete_left_rows(work)
        return expired

    async def remind(work: Work) -> int:
        sent = await send_overdue_reminders(work) + await ask_about_hypotheses(work)
        sent += await revoke_links_of_departed(work)
        return sent + await follow_students(work) + await extend_series(work)

    batches: dict[TaskKind, tuple[str, Callable[[Work], Awaitable[int]]]] = {
        TaskKind.REMINDERS: ("worker", remind),
        TaskKind.STARTS: ("worker", start_due_supports),
        TaskKind.SCREENING: ("screening", update_windows),
        TaskKind.SIGNALS: ("signals", compute_signals),
        TaskKind.EXPIRY: ("worker", expire),
        TaskKind.SYNC_HISTORY: ("sync", expire_history),
        TaskKind.ANSWERS: ("worker", expire_answers),
    }
    name, batch = batches[kind]
    principal, rows, until = system_principal(district_id, name), 0, time.monotonic() + BUDGET
    while time.monotonic() < until:
        async with unit(engine, principal, keyring, kind.value) as work:
            batch_rows = await batch(work)
        rows += batch_rows
        if not batch_rows:
            return rows, True
    return rows, False


async def _stops_within(seconds: float, stopping: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    return stopping.is_set()
