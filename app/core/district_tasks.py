"""Owns how a process works on one kind of job in several districts at once, so that none of them delays another.

One task a district at a time. A district in which nothing could be done, or whose work failed before any job could
record it, rests for a while, longer after each fault. Never knows what the work is.
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

NOTHING_DONE = 1.0  # seconds until the next look at a district in which nothing could be done
AFTER_FAULT = 1.0  # seconds after the first fault in a row, doubled after each
LONGEST = 60.0

log = structlog.get_logger()


@dataclass
class Rests:
    """Which districts this process leaves alone, and until when. Every worker keeps its own."""

    until: dict[UUID, float] = field(default_factory=dict)
    faults: dict[UUID, int] = field(default_factory=dict)

    def is_resting(self, district_id: UUID) -> bool:
        """Whether a district is to be left alone now."""
        if self.until.get(district_id, 0.0) > time.monotonic():
            return True
        self.until.pop(district_id, None)
        return False

    def note(self, district_id: UUID, done: int) -> None:
        """Notes that a look at a district went well; where nothing could be done it rests for a moment."""
        self.faults.pop(district_id, None)
        if not done:
            self.until[district_id] = time.monotonic() + NOTHING_DONE

    def note_fault(self, district_id: UUID) -> float:
        """Notes that a look at a district failed, and returns for how many seconds it rests."""
        row = self.faults[district_id] = self.faults.get(district_id, 0) + 1
        wait: float = min(AFTER_FAULT * 2 ** (row - 1), LONGEST)
        self.until[district_id] = time.monotonic() + wait
        return wait


@dataclass
class DistrictTasks:
    """The tasks of one kind of job in this process: `run` does the due work of a district and returns how much."""

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
            except Exception as error:  # what is due stays due, and other districts go on
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
