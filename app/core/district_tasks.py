"""Runs one kind of job for several districts at once, so that no district delays another.

At most one task runs per district. A district without any job that could be done, or whose task failed before a job
could record the failure, is skipped for a while, and longer after each failure. Does not know what the work is.
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
        """Starts the work of due districts, as far as there is capacity, and returns the number of districts."""
        return start_districts(due, self.at_once - len(self.running), self.running, self.rests, self._work)

    async def drain(self, patience: float | None = None) -> None:
        """Waits for all tasks; those that have not ended after `patience` seconds are cancelled."""
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
    rests: Rests,
    work: Callable[[UUID], Coroutine[Any, Any, None]],
) -> int:
    """Starts a task for each of at most `room` due districts that neither run nor rest, and returns their number.

    A task is in `running` until it has ended.
    """
    districts = [key for key in due if key not in running and not rests.is_resting(key)][: max(room, 0)]
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
