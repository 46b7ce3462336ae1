"""Owns how rows that need work are claimed: a lease, a fencing number, at most so many at once for a key.

A leased table has `district_id`, `id`, `state`, `due`, `attempts`, `leased_until`, `ended_at` and its key.
Every instant is the database's own, so that two workers whose clocks differ agree on when a lease ends.
Never knows what the work is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncSession

# Locking the key rows first makes "at most so many at once" exact: whoever comes meanwhile passes them by.
KEYS = """
SELECT k.id FROM {keys} k
WHERE k.district_id = :district AND ({ready}) AND EXISTS (
    SELECT FROM {table} t
    WHERE t.district_id = :district AND t.{key} = k.id AND t.state = 'pending' AND t.due <= now()
      AND (t.leased_until IS NULL OR t.leased_until <= now()))
ORDER BY random() LIMIT :most FOR NO KEY UPDATE OF k SKIP LOCKED
"""
# MATERIALIZED, so that the planner cannot run the limited part more than once and claim more than it says.
ROWS = """
WITH candidate AS MATERIALIZED (
    SELECT taken.id
    FROM unnest(CAST(:keys AS uuid[])) AS k (id)
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM {table} b
        WHERE b.district_id = :district AND b.{key} = k.id AND b.leased_until > now()) AS out
    CROSS JOIN LATERAL (
        SELECT t.id FROM {table} t
        WHERE t.district_id = :district AND t.{key} = k.id AND t.state = 'pending' AND t.due <= now()
          AND (t.leased_until IS NULL OR t.leased_until <= now())
        ORDER BY t.due, t.id LIMIT greatest(:at_once - out.n, 0) FOR UPDATE SKIP LOCKED) AS taken
    LIMIT :most)
UPDATE {table} t SET leased_until = now() + CAST(:length AS interval), attempts = t.attempts + 1
FROM candidate c WHERE t.district_id = :district AND t.id = c.id
RETURNING t.*, now() AS claimed_at
"""
SETTLE = """
UPDATE {table} t
SET leased_until = NULL, state = v.state, due = coalesce(now() + v.wait, t.due),
    ended_at = CASE WHEN v.state <> 'pending' THEN now() END
FROM unnest(CAST(:ids AS uuid[]), CAST(:numbers AS integer[]), CAST(:states AS text[]), CAST(:waits AS interval[]))
    AS v (id, number, state, wait)
WHERE t.district_id = :district AND t.id = v.id AND t.attempts = v.number AND t.state = 'pending'
RETURNING t.id
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Which rows are claimed, under which key (a column that names a row of `keys`), how many, for how long.

    `ready` is a condition in SQL on the key's row `k`, under which its rows are claimed at all; never anybody's input.
    """

    table: Table
    key: str
    keys: Table
    at_once: int
    length: timedelta
    ready: str = "true"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row that is ours until its lease ends; `number` fences off whoever held it before.

    `row` has its columns, and `claimed_at`: the instant of the claim by the database's clock.
    """

    id: UUID
    number: int
    row: Mapping[str, Any] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of a claimed row: `pending` and how long it waits for the next time, or the state it ends in."""

    claimed: Claimed
    state: str
    wait: timedelta | None = None


async def claim(db: AsyncSession, lease: Lease, district_id: UUID, most: int) -> list[Claimed]:
    """Claims up to `most` rows of the district that are due. Commit before the work begins."""
    names = {"table": lease.table.name, "keys": lease.keys.name, "key": lease.key, "ready": lease.ready}
    asked: dict[str, Any] = {"district": district_id, "most": most}
    keys = (await db.scalars(text(KEYS.format(**names)), asked)).all()
    if not keys:
        return []
    asked |= {"keys": list(keys), "at_once": lease.at_once, "length": lease.length}
    rows = await db.execute(text(ROWS.format(**names)), asked)
    return [Claimed(row["id"], row["attempts"], dict(row)) for row in rows.mappings()]


async def settle(db: AsyncSession, lease: Lease, district_id: UUID, settled: Sequence[Settled]) -> set[UUID]:
    """Ends leases and writes what came of the work; the ids for which it was written.

    Where a later claim has taken a row up nothing is written: whoever comes late is fenced off.
    """
    asked = {
        "district": district_id,
        "ids": [one.claimed.id for one in settled],
        "numbers": [one.claimed.number for one in settled],
        "states": [one.state for one in settled],
        "waits": [one.wait for one in settled],
    }
    return set((await db.scalars(text(SETTLE.format(table=lease.table.name)), asked)).all())
