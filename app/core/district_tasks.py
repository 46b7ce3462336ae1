"""Runs one kind of job for several districts at once, so that no district delays another.

At most one task runs per district. A district is skipped for a while if its last task did no job or raised an error.
After each further error in a row, the district is skipped for longer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from app.core.fault_report import describe_fault
from app.core.log import job_context

IDLE_PAUSE = 1.0  # seconds to skip a district after a task that could do nothing
FAULT_PAUSE = 1.0  # seconds to skip a district after its first failure in a row, doubled after each further one
MAX_REST = 60.0

log = structlog.get_logger()


@dataclass
class SkippedDistricts:
    """The districts that this process skips for a while, each with the instant at which it is considered again.

    The instants are read from the process's own monotonic clock.
    """

    until: dict[UUID, float] = field(default_factory=dict)
    faults: dict[UUID, int] = field(default_factory=dict)

    def is_skipped(self, district_id: UUID) -> bool:
        """Returns whether a district is skipped now."""
        if self.until.get(district_id, 0.0) > time.monotonic():
            return True
        self.until.pop(district_id, None)
        return False

    def note(self, district_id: UUID, done: int) -> None:
        """Records that a district's task ended without an error, and that it has done `done` jobs.

        If it did none, the district is skipped for `IDLE_PAUSE` seconds.
        """
        self.faults.pop(district_id, None)
        if not done:
            self.until[district_id] = time.monotonic() + IDLE_PAUSE

    def note_fault(self, district_id: UUID) -> float:
        """Records that a district's task failed, and returns the seconds for which the district is now skipped."""
        faults = self.faults[district_id] = self.faults.get(district_id, 0) + 1
        wait: float = min(FAULT_PAUSE * 2 ** (faults - 1), MAX_REST)
        self.until[district_id] = time.monotonic() + wait
        return wait


@dataclass
class DistrictTasks:
    """The running tasks of one kind of job, at most one for each district.

    `run` is the function that does a district's due jobs and returns their number.
    """

    job: str
    run: Callable[[UUID], Awaitable[int]]
    at_once: int
    running: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    rests: SkippedDistricts = field(default_factory=SkippedDistricts)

    def start_due(self, due: Sequence[UUID]) -> int:
        """Starts tasks for due districts until `at_once` tasks are running. Returns the number of started tasks."""
        return start_districts(due, self.at_once - len(self.running), self.running, self.rests, self._work)

    async def drain(self, patience: float | None = None) -> None:
        """Waits for all tasks, and cancels those that have not ended after `patience` seconds."""
        await end_tasks(list(self.running.values()), patience)

    async def _work(self, district_id: UUID) -> None:
        with job_context(self.job, district_id):
            try:
                self.rests.note(district_id, await self.run(district_id))
            except Exception as error:  # The due jobs stay due, and other districts continue.
                rest = self.rests.note_fault(district_id)
                log.error("jobs.look_failed", wait=rest, **describe_fault(error))


def start_districts(
    due: Sequence[UUID],
    room: int,
    running: dict[UUID, asyncio.Task[None]],
    rests: SkippedDistricts,
    work: Callable[[UUID], Coroutine[Any, Any, None]],
) -> int:
    """Starts a task for each due district, but at most `room` tasks. Returns the number of tasks that it started.

    A district is left out if it has a task in `running`, or if `rests` says that it is skipped for a while. A started
    task is added to `running`, and removed when it ends.
    """
    districts = [key for key in due if key not in running and not rests.is_skipped(key)][: max(room, 0)]
    for district_id in districts:
        task = running[district_id] = asyncio.create_task(work(district_id))
        task.add_done_callback(partial(_forget, running, district_id))
    return len(districts)


def _forget(running: dict[UUID, asyncio.Task[None]], district_id: UUID, _: asyncio.Task[None]) -> None:
    running.pop(district_id, None)


async def end_tasks(tasks: Collection[asyncio.Task[None]], patience: float | None) -> None:
    """Waits for tasks to end, and cancels those that have not ended after `patience` seconds."""
    if not tasks:
        return
    _, slow = await asyncio.wait(tasks, timeout=patience)
    for task in slow:
        task.cancel()
    if slow:
        await asyncio.wait(slow)
