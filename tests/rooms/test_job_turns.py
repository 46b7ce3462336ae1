"""Tests that failures in one district do not delay the jobs of another, and that a failing task stops no other task."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.access.directory import JobKind, districts_due
from app.core.district_tasks import DistrictTasks
from app.core.jobs import RetryPolicy
from app.maintenance import service as maintenance
from app.maintenance.models import TaskKind
from app.response.judging import finalize
from app.response.service import record_scores
from app.sis.scheduler.retention import KEPT
from tests.rooms.verdict_town import scores, supported
from tests.sis.roster_zip import ask
from tests.town import Town

FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)


class Deadlock(asyncpg.DeadlockDetectedError):
    """A deadlock as PostgreSQL raises it."""


def test_waits_grow_and_end() -> None:
    """Each wait is four times as long as the wait before it, up to the longest wait, plus a small jitter.

    When all attempts are used, there is no further wait.
    """
    retries = RetryPolicy(4, *(timedelta(seconds=n) for n in (10, 100)))
    waits = [retries.wait_after(number, jitter=0) for number in range(1, 5)]
    assert [wait and wait.total_seconds() for wait in waits] == [10, 40, 100, None]
    assert 10 <= retries.wait_after(1).total_seconds() < 12  # type: ignore[union-attr]  # there is a next attempt


async def test_a_district_that_fails_rests_and_delays_no_other() -> None:
    """If the task of one district fails and that of another hangs, the task of a third district is still started.

    The district with the failed task is skipped for a while.
    """
    looked: list[UUID] = []
    hangs = asyncio.Event()

    async def run(district_id: UUID) -> int:
        looked.append(district_id)
        if district_id == FIRST:
            raise RuntimeError
        await hangs.wait()
        return 1

    tasks = DistrictTasks("planted", run, at_once=3)
    with capture_logs() as logged:
        assert tasks.start_due([FIRST, SECOND]) == 2
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        third = uuid.UUID(int=3)
        assert tasks.start_due([FIRST, SECOND, third]) == 1, "the first rests, the second is under way"
        await asyncio.sleep(0)
        hangs.set()
        await tasks.drain()
    assert looked == [FIRST, SECOND, third]
    (fault,) = [one for one in logged if one["event"] == "jobs.look_failed"]
    assert (fault["kind"], fault["wait"]) == ("RuntimeError", 1.0)


async def test_a_failing_reminder_keeps_no_expiry_from_running(north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reminder that fails is attempted again later. Meanwhile the other recurring tasks are executed."""

    async def broken(_: Any) -> int:
        raise Deadlock

    monkeypatch.setattr(maintenance, "send_overdue_reminders", broken)
    worker = (north.worker_engine, north.settings.keyring)
    await maintenance.create_tasks(*worker, north.district_id)
    await maintenance.create_tasks(*worker, north.district_id)
    assert north.district_id in (await districts_due(north.worker_engine, 1000))[JobKind.TASKS]
    with capture_logs() as logged:
        assert await maintenance.run_due_tasks(*worker, KEPT, north.district_id) == len(TaskKind) - 1
    assert [(one["event"], one["attempt"]) for one in logged if one["log_level"] == "error"] == [("tasks.retried", 1)]
    rows = await ask(
        north,
        "SELECT kind, attempts, fault, due > now() + interval '50 min' AS rests FROM task "
        "WHERE district_id = :district ORDER BY kind",
    )
    assert [tuple(row) for row in rows] == [
        (TaskKind.ANSWERS, 0, None, True),
        (TaskKind.EXPIRY, 0, None, True),
        (TaskKind.REMINDERS, 1, "Deadlock 40P01", False),
        (TaskKind.SCREENING, 0, None, True),
        (TaskKind.SIGNALS, 0, None, False),
        (TaskKind.STARTS, 0, None, True),
        (TaskKind.SYNC_HISTORY, 0, None, True),
    ]
    assert north.district_id not in (await districts_due(north.worker_engine, 1000))[JobKind.TASKS]


async def test_a_settlement_that_meets_a_deadlock_waits_for_seconds(
    north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the last judging of a completed week fails with a deadlock, it is repeated within seconds.

    The job stores the error.
    """
    await supported(north, "amy")
    async with north.unit() as work:
        await record_scores(work, scores(north, "amy", [40.0]))
    await ask(north, "UPDATE settlement SET due = now() WHERE district_id = :district")

    async def deadlocked(*_: Any) -> None:
        raise Deadlock

    monkeypatch.setattr(finalize, "judge_selected", deadlocked)
    worker = (north.worker_engine, north.settings.keyring, north.district_id)
    assert await finalize.finalize_district(*worker) == 0
    row = (
        await ask(
            north,
            "SELECT state, attempts, fault, fault_place, leased_until, due < now() + interval '4 s' AS soon "
            "FROM settlement WHERE district_id = :district",
        )
    )[0]
    assert (row.state, row.attempts, row.fault, row.leased_until, row.soon) == (
        *("pending", 1, "Deadlock 40P01", None, True),
    )
    assert "test_job_turns.py" in row.fault_place
    monkeypatch.undo()
    await ask(north, "UPDATE settlement SET due = now() WHERE district_id = :district")
    assert await finalize.finalize_district(*worker) == 1
    states = await ask(north, "SELECT state, attempts, fault FROM settlement WHERE district_id = :district")
    assert [tuple(one) for one in states] == [("settled", 2, None)]
