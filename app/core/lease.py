"""Owns how rows that need work are claimed: a lease, a fencing number, at most so many at once for a key.

A leased table has `district_id`, `id`, `state`, `due`, `attempts`, `leased_until`, `ended_at` and its key.
Every instant is the database's own, so that two workers whose clocks differ agree on when a lease ends.
Never knows what the work is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import RowMapping, Table, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

# Locking the key rows first makes "at most so many at once" exact: whoever comes meanwhile passes them by.
# The first row in the order of turns, not EXISTS: that would be joined, by whatever index then looks small.
KEYS = """
SELECT k.id, ({ailing}) AS ails FROM {keys} k
WHERE k.district_id = :district AND ({ready}) AND (
    SELECT t.due FROM {table} t
    WHERE t.district_id = :district AND t.{key} = k.id AND t.state = 'pending' AND t.due <= now()
      AND (t.leased_until IS NULL OR t.leased_until <= now())
    ORDER BY t.due, t.id LIMIT 1) IS NOT NULL
ORDER BY random() LIMIT :most FOR NO KEY UPDATE OF k SKIP LOCKED
"""
# MATERIALIZED, so that the planner cannot run the limited part more than once and claim more than it says. What is
# written is found by a list of ids, here and in SETTLE: no statistics of a queue are true for long, and a join is
# planned by them.
ROWS = """
WITH candidate AS MATERIALIZED (
    SELECT taken.id
    FROM unnest(CAST(:keys AS uuid[]), CAST(:rooms AS integer[])) AS k (id, room)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM {table} b
        WHERE b.district_id = :district AND b.{key} = k.id AND b.leased_until > now()) AS out
    CROSS JOIN LATERAL (
        SELECT t.id FROM {table} t
        WHERE t.district_id = :district AND t.{key} = k.id AND t.state = 'pending' AND t.due <= now()
          AND (t.leased_until IS NULL OR t.leased_until <= now())
        ORDER BY t.due, t.id LIMIT greatest(k.room - out.n, 0) FOR UPDATE SKIP LOCKED) AS taken
    LIMIT :most)
UPDATE {table} t SET leased_until = now() + CAST(:length AS interval), attempts = t.attempts + 1
WHERE t.district_id = :district AND t.id = ANY (ARRAY (SELECT c.id FROM candidate c))
RETURNING t.*, now() AS claimed_at
"""
SAVE_OUTCOMES = """
UPDATE {table} t
SET leased_until = NULL,
    state = (CAST(:states AS text[]))[array_position(CAST(:ids AS uuid[]), t.id)],
    due = coalesce(now() + (CAST(:waits AS interval[]))[array_position(CAST(:ids AS uuid[]), t.id)], t.due),
    ended_at = CASE WHEN (CAST(:states AS text[]))[array_position(CAST(:ids AS uuid[]), t.id)] <> 'pending'
                    THEN now() END
WHERE t.district_id = :district AND t.id = ANY (CAST(:ids AS uuid[])) AND t.state = 'pending'
  AND t.attempts = (CAST(:numbers AS integer[]))[array_position(CAST(:ids AS uuid[]), t.id)]
RETURNING t.id
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Which rows are claimed, under which key (a column that names a row of `keys`), how many, for how long.

    `ready` and `ailing` are conditions in SQL on the key's row `k`, never anybody's input: its rows are claimed at all
    only where it is ready, and where it ails at most `at_once_ailing`.
    """

    table: Table
    key: str
    keys: Table
    at_once: int
    length: timedelta
    ready: str = "true"
    ailing: str = "false"
    at_once_ailing: int = 1


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that is ours until its lease ends; `number` fences off whoever held it before.

    `row` has its columns, and `claimed_at`: the instant of the claim by the database's clock.
    """

    id: UUID
    number: int
    row: RowMapping = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What came of a claimed row: `pending` and how long it waits for the next time, or the state it ends in."""

    claimed: Claimed
    state: str
    wait: timedelta | None = None


async def claim(db: AsyncSession, lease: Lease, district_id: UUID, most: int) -> list[Claimed]:
    """Claims up to `most` rows of the district that are due. Commit before the work begins."""
    keys = (await db.execute(_statement(KEYS, lease), {"district": district_id, "most": most})).all()
    if not keys:
        return []
    asked = {
        "district": district_id,
        "most": most,
        "keys": [key.id for key in keys],
        "rooms": [lease.at_once_ailing if key.ails else lease.at_once for key in keys],
        "length": lease.length,
    }
    rows = await db.execute(_statement(ROWS, lease), asked)
    return [Claimed(row["id"], row["attempts"], row) for row in rows.mappings()]


async def save_outcomes(db: AsyncSession, lease: Lease, district_id: UUID, settled: Sequence[JobOutcome]) -> set[UUID]:
    """Ends leases and writes what came of the work; the ids for which it was written.

    Where a later claim has taken a row up nothing is written: whoever comes late is fenced off.
    """
    # Of a row that was claimed twice only the later claim may still count.
    latest = {one.claimed.id: one for one in sorted(settled, key=lambda one: one.claimed.number)}
    asked = {
        "district": district_id,
        "ids": list(latest),
        "numbers": [one.claimed.number for one in latest.values()],
        "states": [one.state for one in latest.values()],
        "waits": [one.wait for one in latest.values()],
    }
    return set((await db.scalars(_statement(SAVE_OUTCOMES, lease), asked)).all())


@cache
def _statement(template: str, lease: Lease) -> TextClause:
    names = {"table": lease.table.name, "keys": lease.keys.name, "key": lease.key}
    return text(template.format(**names, ready=lease.ready, ailing=lease.ailing))
