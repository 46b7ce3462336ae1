"""Runs one kind of job for several districts at once, so that no district delays another.

At most one task runs per district. A district without any job that could be done, or whose task failed before a job
could record the failure, is skipped for a while, and longer after each failure. Does not know what the work is.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import structlog

from app.core.fault_report import describe_fault
from app.core.log import job_context

NOTHING_DONE = 1.0  # seconds to skip a district after a task that could do nothing
AFTER_FAULT = 1.0  # seconds to skip a district after its first failure in a row, doubled after each further one
MAX_REST = 60.0

log = structlog.get_logger()


@dataclass
class Rests:
    """The districts that this process skips, each until an instant of the monotonic clock. Every process has its
    own.
    """

    until: dict[UUID, float] = field(default_factory=dict)
    faults: dict[UUID, int] = field(default_factory=dict)

    def is_resting(self, district_id: UUID) -> bool:
        """Returns whether a district is skipped now."""
        if self.until.get(district_id, 0.0) > time.monotonic():
            return True
        self.until.pop(district_id, None)
        return False

    def note(self, district_id: UUID, done: int) -> None:
        """Notes that a district's task succeeded; if it could do nothing (`done` is 0), the district is skipped for a
        moment.
        """
        self.faults.pop(district_id, None)
        if not done:
            self.until[district_id] = time.monotonic() + NOTHING_DONE

    def note_fault(self, district_id: UUID) -> float:
        """Notes that a district's task failed; returns the seconds for which the district is skipped."""
        faults = self.faults[district_id] = self.faults.get(district_id, 0) + 1
        wait: float = min(AFTER_FAULT * 2 ** (faults - 1), MAX_REST)
        self.until[district_id] = time.monotonic() + wait
        return wait


@dataclass
class DistrictTasks:
    """The running tasks of one kind of job, by district; `run` does a district's due work and returns the number of
    jobs.
    """

    job: str
    run: Callable[[UUID], Awaitable[int]]
    at_once: int
    running: dict[UUID, asyncio.Task[None]] = field(default_factory=dict)
    rests: Rests = field(default_factory=Rests)

    def start_due(self, due: Sequence[UUID]) -> int:
        """Starts tasks for due districts, as far as there is capacity; returns the number of districts that were
        started.
        """
        room = max(self.at_once - len(self.running), 0)
        districts = [key for key in due if key not in self.running and not self.rests.is_resting(key)][:room]
        for district_id in districts:
            task = asyncio.create_task(self._work(district_id))
            self.running[district_id] = task
            task.add_done_callback(partial(self._forget, district_id))
        return len(districts)

    async def drain(self, patience: float | None = None) -> None:
        """Waits for all tasks; those that have not ended after `patience` seconds are cancelled."""
        await end_tasks(list(self.running.values()), patience)

    def _forget(self, district_id: UUID, _: asyncio.Task[None]) -> None:
        self.running.pop(district_id, None)

    async def _work(self, district_id: UUID) -> None:
        with job_context(self.job, district_id):
            try:
                self.rests.note(district_id, await self.run(district_id))
            except Exception as error:  # The due jobs stay due, and other districts continue.
                rest = self.rests.note_fault(district_id)
                log.error("jobs.look_failed", wait=rest, **describe_fault(error))


async def end_tasks(tasks: Collection[asyncio.Task[None]], patience: float | None) -> None:
    """Waits for tasks to end, and cancels those that have not ended after `patience` seconds."""
    if not tasks:
        return
    _, slow = await asyncio.wait(tasks, timeout=patience)
    for task in slow:
        task.cancel()
    if slow:
        await asyncio.wait(slow)
