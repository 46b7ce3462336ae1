"""Owns how jobs are claimed and ended: rows with a lease, a claim number, attempts, and a back-off between attempts.

A job table has `district_id`, `id`, `state`, `due`, `claim_number`, `attempts`, `leased_until`, `ended_at`, `worker`,
`fault`, `fault_place` and the column of its key. Every instant is the database's own, so that two workers whose clocks
differ agree on when a lease ends. Never knows what the work is.
"""

import os
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import RowMapping, Table, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.core.fault_report import NO_FAULT, FaultSummary

# Locking the key rows first makes "at most so many at once" exact: a second worker passes a locked key by.
# The first row in the order of turns, not EXISTS: EXISTS would be joined, by whatever index then looks small.
KEYS = """
SELECT k.id, ({ailing}) AS ails FROM {keys} k
WHERE k.district_id = :district AND ({ready}) AND (
    SELECT t.due FROM {table} t
    WHERE t.district_id = :district AND t.{key} = k.id AND ({waiting}) AND t.due <= now()
      AND (t.leased_until IS NULL OR t.leased_until <= now())
    ORDER BY t.due, t.id LIMIT 1) IS NOT NULL
ORDER BY random() LIMIT :most FOR NO KEY UPDATE OF k SKIP LOCKED
"""
# MATERIALIZED, so that the planner cannot run the limited part more than once and claim more than it says. What is
# written is found by a list of ids, here and in SAVE_OUTCOMES: no statistics of a queue are true for long, and a join
# is planned by them. The clock is a relation of its own without tables: a database of several nodes accepts no
# changing function in what a write computes from a column or returns.
ROWS = """
WITH clock AS MATERIALIZED (SELECT now() + CAST(:length AS interval) AS lease_end),
candidate AS MATERIALIZED ({candidates})
UPDATE {table} t
SET leased_until = clock.lease_end, claim_number = t.claim_number + 1, attempts = t.attempts + 1, worker = :worker,
    fault = CASE WHEN t.leased_until IS NULL THEN t.fault ELSE '{lost}' END,
    fault_place = CASE WHEN t.leased_until IS NULL THEN t.fault_place ELSE t.worker END
FROM clock
WHERE t.district_id = :district AND t.id = ANY (ARRAY (SELECT c.id FROM candidate c))
RETURNING t.*
"""
CANDIDATES_OF_KEYS = """
    SELECT taken.id
    FROM unnest(CAST(:keys AS uuid[]), CAST(:rooms AS integer[])) AS k (id, room)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM {table} b
        WHERE b.district_id = :district AND b.{key} = k.id AND b.leased_until > now()) AS out
    CROSS JOIN LATERAL (
        SELECT t.id FROM {table} t
        WHERE t.district_id = :district AND t.{key} = k.id AND ({waiting}) AND t.due <= now()
          AND (t.leased_until IS NULL OR t.leased_until <= now())
        ORDER BY t.due, t.id LIMIT greatest(k.room - out.n, 0) FOR UPDATE SKIP LOCKED) AS taken
    LIMIT :most
"""
CANDIDATES = """
    SELECT t.id FROM {table} t
    WHERE t.district_id = :district AND ({waiting}) AND t.due <= now()
      AND (t.leased_until IS NULL OR t.leased_until <= now())
    ORDER BY t.due, t.id LIMIT :most FOR UPDATE SKIP LOCKED
"""
SAVE_OUTCOMES = """
WITH clock AS MATERIALIZED (
    SELECT now() AS at, ARRAY (
        SELECT now() + w.wait FROM unnest(CAST(:waits AS interval[])) WITH ORDINALITY AS w (wait, place)
        ORDER BY w.place) AS due)
UPDATE {table} t
SET leased_until = NULL,
    state = (CAST(:states AS text[]))[array_position(CAST(:ids AS uuid[]), t.id)],
    due = coalesce(clock.due[array_position(CAST(:ids AS uuid[]), t.id)], t.due),
    attempts = t.attempts * (CAST(:keeps AS integer[]))[array_position(CAST(:ids AS uuid[]), t.id)],
    fault = (CAST(:faults AS text[]))[array_position(CAST(:ids AS uuid[]), t.id)],
    fault_place = (CAST(:places AS text[]))[array_position(CAST(:ids AS uuid[]), t.id)],
    ended_at = CASE WHEN (CAST(:states AS text[]))[array_position(CAST(:ids AS uuid[]), t.id)] <> 'pending'
                    THEN clock.at END
FROM clock
WHERE t.district_id = :district AND t.id = ANY (CAST(:ids AS uuid[])) AND ({waiting})
  AND t.claim_number = (CAST(:numbers AS integer[]))[array_position(CAST(:ids AS uuid[]), t.id)]
RETURNING t.id
"""
WORKER_LOST = "WorkerLost"
"""The fault of a job whose lease ended before its worker said what came of it; its place is that worker's name."""
JITTER = 0.2
"""The share by which a wait is lengthened at most, so that jobs that failed together do not come back together."""


class JobColumns:
    """The columns of a job table, beside its `state`, `due` and `ended_at`.

    `claim_number` counts every claim and is never set back: it fences off a worker whose lease has ended. `attempts`
    counts the attempts since the job was last asked for. `worker` names the process that claimed it last, `fault` and
    `fault_place` the error of the last attempt that failed and where in the code it was raised.
    """

    claim_number: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    leased_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    fault: Mapped[str | None]
    fault_place: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a job is attempted, and how long it waits after a fault: `first`, then four times as long each time."""

    attempts: int
    first: timedelta
    longest: timedelta

    def wait_after(self, attempts: int, jitter: float | None = None) -> timedelta | None:
        """Returns the wait after so many attempts, with a jitter in [0, 1); None where no attempt is left."""
        if attempts >= self.attempts:
            return None
        wait: timedelta = min(self.first * 4 ** (max(attempts, 1) - 1), self.longest)
        return wait * (1 + JITTER * (random.random() if jitter is None else jitter))


@dataclass(frozen=True, slots=True)
class JobTable:
    """Which rows are claimed, under which key (a column that names a row of `keys`), how many, for how long.

    Without a key every row of a district stands for itself. `waiting` is the condition in SQL on a row `t` that can be
    claimed. `ready` and `ailing` are conditions on the key's row `k`: its rows are claimed at all only where it is
    ready, and where it ails at most `at_once_ailing`. None of them holds anybody's input.
    """

    table: Table
    key: str | None
    keys: Table | None
    at_once: int
    length: timedelta
    waiting: str = "t.state = 'pending'"
    ready: str = "true"
    ailing: str = "false"
    at_once_ailing: int = 1


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A row that is ours until its lease ends; `claim_number` fences off whoever claimed it before.

    `attempts` counts this attempt and those before it since the job was last asked for, with those that ended in a
    crash. `claimed_at` is the instant of the claim by the database's clock, `row` has the row's columns.
    """

    id: UUID
    claim_number: int
    attempts: int = field(compare=False)
    claimed_at: datetime = field(compare=False, repr=False)
    row: RowMapping = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What came of a claimed row: `pending` and how long it waits for the next attempt, or the state it ends in.

    `fault` says by which error the attempt failed. `starts_over` begins the count of attempts anew.
    """

    claimed: ClaimedJob
    state: str
    wait: timedelta | None = None
    fault: FaultSummary = NO_FAULT
    starts_over: bool = False


def worker_name() -> str:
    """Returns the name under which this process claims jobs: its machine and its process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def claim(db: AsyncSession, jobs: JobTable, district_id: UUID, most: int) -> list[ClaimedJob]:
    """Claims up to `most` rows of the district that are due. Commit before the work begins."""
    values = {"district": district_id, "most": most, "length": jobs.length, "worker": worker_name()}
    if jobs.keys is not None:
        keys = (await db.execute(_statement(KEYS, jobs), {"district": district_id, "most": most})).all()
        if not keys:
            return []
        rooms = [jobs.at_once_ailing if key.ails else jobs.at_once for key in keys]
        values |= {"keys": [key.id for key in keys], "rooms": rooms}
    rows = await db.execute(_statement(ROWS, jobs), values)
    return [
        ClaimedJob(row["id"], row["claim_number"], row["attempts"], row["leased_until"] - jobs.length, row)
        for row in rows.mappings()
    ]


async def save_outcomes(
    db: AsyncSession, jobs: JobTable, district_id: UUID, outcomes: Sequence[JobOutcome]
) -> set[UUID]:
    """Ends leases and writes what came of the work; returns the ids for which it was written.

    Nothing is written where a later claim has taken the row up: the late worker is fenced off.
    """
    # Of a row that was claimed twice only the later claim may still count.
    latest = {one.claimed.id: one for one in sorted(outcomes, key=lambda one: one.claimed.claim_number)}
    values = {
        "district": district_id,
        "ids": list(latest),
        "numbers": [one.claimed.claim_number for one in latest.values()],
        "states": [str(one.state) for one in latest.values()],
        "waits": [one.wait for one in latest.values()],
        "keeps": [0 if one.starts_over else 1 for one in latest.values()],
        "faults": [one.fault.error for one in latest.values()],
        "places": [one.fault.place for one in latest.values()],
    }
    return set((await db.scalars(_statement(SAVE_OUTCOMES, jobs), values)).all())


@cache
def _statement(template: str, jobs: JobTable) -> TextClause:
    names = {"table": jobs.table.name, "key": jobs.key, "waiting": jobs.waiting, "lost": WORKER_LOST}
    if jobs.keys is not None:
        names |= {"keys": jobs.keys.name, "ready": jobs.ready, "ailing": jobs.ailing}
    candidates = (CANDIDATES if jobs.keys is None else CANDIDATES_OF_KEYS).format(**names)
    return text(template.format(**names, candidates=candidates))
