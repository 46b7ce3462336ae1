"""Claims jobs for this process, and saves their outcomes.

A claim has a number and a lease, which is the time for which it is valid. Attempts are counted, and a failed job waits
before its next attempt. Every instant comes from the database's clock, so that two workers whose clocks differ agree on
when a lease ends. A job table has the columns `district_id`, `id`, `state`, `due`, `claim_number`, `attempts`,
`leased_until`, `ended_at`, `worker`, `fault` and `fault_place`. It may also have a column that refers to another table,
such as a webhook's endpoint. The number of simultaneous jobs is then limited for each row of that table.
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

# Locking the key rows first makes the limit per key exact, because a second worker skips a locked key.
KEYS = """
SELECT k.id, ({ailing}) AS ails FROM {keys} k
WHERE k.district_id = :district AND ({ready}) AND (
    SELECT t.due FROM {table} t
    WHERE t.district_id = :district AND t.{key} = k.id AND ({waiting}) AND t.due <= now()
      AND (t.leased_until IS NULL OR t.leased_until <= now())
    ORDER BY t.due, t.id LIMIT 1) IS NOT NULL
ORDER BY random() LIMIT :most FOR NO KEY UPDATE OF k SKIP LOCKED
"""
# MATERIALIZED keeps the planner from running the limited part more than once, which would claim more rows than allowed.
# Here and in SAVE_OUTCOMES the rows to write are selected by a list of ids, because a join would be planned by the
# statistics of a queue, which soon become outdated. The clock is a separate relation without tables, because a database
# of several nodes accepts no volatile function in a value that a write computes from a column or returns.
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
"""The fault that is recorded for a job whose lease ended before its worker saved an outcome.

The fault's place is then the name of that worker.
"""
JITTER = 0.2
"""The largest share by which a wait is lengthened at random, so that jobs that failed together are not retried
together.
"""


class JobColumns:
    """The columns of a job table, in addition to its `state`, `due` and `ended_at`.

    * `claim_number` counts every claim and is never reset, so that the result of a worker whose lease has ended can be
      refused.
    * `attempts` counts the attempts since the job was last requested.
    * `worker` is the process that claimed the job last.
    * `fault` and `fault_place` are the error of the last failed attempt, and the place in the code where it was raised.
    """

    claim_number: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    leased_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    fault: Mapped[str | None]
    fault_place: Mapped[str | None]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a job is attempted, and how long it waits after each failed attempt.

    The first wait is `first`. Each further wait is four times as long as the previous wait, but at most `longest`.
    """

    attempts: int
    first: timedelta
    longest: timedelta

    def wait_after(self, attempts: int, jitter: float | None = None) -> timedelta | None:
        """Returns the wait before the next attempt, after this many attempts, or None if no attempt is left.

        The wait is multiplied by 1 + `JITTER` x `jitter`. `jitter` is between 0 and 1, and random by default.
        """
        if attempts >= self.attempts:
            return None
        wait: timedelta = min(self.first * 4 ** (max(attempts, 1) - 1), self.longest)
        return wait * (1 + JITTER * (random.random() if jitter is None else jitter))


@dataclass(frozen=True, slots=True)
class JobTable:
    """A job table with the rules for claiming its rows. None of its SQL conditions contains user input.

    * `key` is a column that refers to the table `keys`, such as `endpoint_id` for deliveries of webhooks. The number of
      simultaneous jobs is limited for each value of this column. `key` and `keys` are None if there is no such limit.
    * `at_once` is how many jobs with the same key may be claimed at the same time.
    * `length` is the duration of a lease.
    * `waiting` is an SQL condition on a job `t`. A job can be claimed only if the condition is true.
    * `ready` is an SQL condition on a row `k` of `keys`. The jobs of this row can be claimed only if the condition is
      true.
    * `ailing` is another SQL condition on the row `k`, for example that an endpoint has failed. If the condition is
      true, `at_once_ailing` replaces `at_once` for the jobs of this row.
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
    """A job that is reserved for this process until its lease ends.

    * `claim_number` distinguishes this claim from earlier and later claims.
    * `attempts` counts the attempts since the job was last requested, including this attempt and attempts that crashed.
    * `claimed_at` is the instant of the claim by the database's clock.
    * `row` contains the columns of the job's row.
    """

    id: UUID
    claim_number: int
    attempts: int = field(compare=False)
    claimed_at: datetime = field(compare=False, repr=False)
    row: RowMapping = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The outcome of a claimed job: its final state, or `pending` with the wait until the next attempt.

    `fault` describes the error if the attempt failed. If `starts_over` is true, the count of attempts is reset to zero.
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
    """Claims up to `most` due jobs of the district for this process, and returns them.

    The caller commits before it begins the work.
    """
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
    """Saves the outcomes of jobs and ends their leases. Returns the ids of the jobs whose outcome was saved.

    If a job was claimed again in the meantime, its outcome is not saved, because the later claim decides its outcome.
    """
    # If a job was claimed twice, only the outcome of the later claim may be saved.
    latest = {
        outcome.claimed.id: outcome for outcome in sorted(outcomes, key=lambda outcome: outcome.claimed.claim_number)
    }
    values = {
        "district": district_id,
        "ids": list(latest),
        "numbers": [outcome.claimed.claim_number for outcome in latest.values()],
        "states": [str(outcome.state) for outcome in latest.values()],
        "waits": [outcome.wait for outcome in latest.values()],
        "keeps": [0 if outcome.starts_over else 1 for outcome in latest.values()],
        "faults": [outcome.fault.error for outcome in latest.values()],
        "places": [outcome.fault.place for outcome in latest.values()],
    }
    return set((await db.scalars(_statement(SAVE_OUTCOMES, jobs), values)).all())


@cache
def _statement(template: str, jobs: JobTable) -> TextClause:
    names = {"table": jobs.table.name, "key": jobs.key, "waiting": jobs.waiting, "lost": WORKER_LOST}
    if jobs.keys is not None:
        names |= {"keys": jobs.keys.name, "ready": jobs.ready, "ailing": jobs.ailing}
    candidates = (CANDIDATES if jobs.keys is None else CANDIDATES_OF_KEYS).format(**names)
    return text(template.format(**names, candidates=candidates))
