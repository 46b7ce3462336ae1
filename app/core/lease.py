"""Claims rows that need work: with a lease, a fencing number, and a limit of concurrent claims for each key.

A leased table has `district_id`, `id`, `state`, `due`, `attempts`, `leased_until`, `ended_at` and a key column.
Every instant comes from the database's clock, so that workers with different clocks agree on when a lease ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import RowMapping, Table, TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

# Locking the key rows first makes the limit of concurrent claims exact: other workers skip locked keys.
# The subquery takes the first due row instead of using EXISTS, which the planner would turn into a join by a
# badly chosen index.
KEYS = """
SELECT k.id, ({ailing}) AS ails FROM {keys} k
WHERE k.district_id = :district AND ({ready}) AND (
    SELECT t.due FROM {table} t
    WHERE t.district_id = :district AND t.{key} = k.id AND t.state = 'pending' AND t.due <= now()
      AND (t.leased_until IS NULL OR t.leased_until <= now())
    ORDER BY t.due, t.id LIMIT 1) IS NOT NULL
ORDER BY random() LIMIT :most FOR NO KEY UPDATE OF k SKIP LOCKED
"""
# MATERIALIZED keeps the planner from running the limited part twice and claiming more than its limit. Rows are updated
# by a list of ids, here and in SAVE_OUTCOMES, because a join would be planned with a queue's outdated statistics.
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
    """Describes how rows are claimed: from which table, by which key (a column that refers to a row of `keys`), how
    many at once and for how long.

    `ready` and `ailing` are SQL conditions on the key's row `k`, and never contain input. Rows of a key are claimed
    only while the key is ready; while it is ailing, at most `at_once_ailing` of them.
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
    """A row that this worker may process until its lease ends; `number` fences off earlier holders.

    `row` has the row's columns and `claimed_at`, the instant of the claim by the database's clock.
    """

    id: UUID
    number: int
    row: RowMapping = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The result of a claimed row: `pending` and the wait until the next attempt, or the state in which the row
    ends.
    """

    claimed: Claimed
    state: str
    wait: timedelta | None = None


async def claim(db: AsyncSession, lease: Lease, district_id: UUID, most: int) -> list[Claimed]:
    """Claims up to `most` due rows of the district. The caller must commit before the work begins."""
    keys = (await db.execute(_statement(KEYS, lease), {"district": district_id, "most": most})).all()
    if not keys:
        return []
    parameters = {
        "district": district_id,
        "most": most,
        "keys": [key.id for key in keys],
        "rooms": [lease.at_once_ailing if key.ails else lease.at_once for key in keys],
        "length": lease.length,
    }
    rows = await db.execute(_statement(ROWS, lease), parameters)
    return [Claimed(row["id"], row["attempts"], row) for row in rows.mappings()]


async def save_outcomes(db: AsyncSession, lease: Lease, district_id: UUID, outcomes: Sequence[JobOutcome]) -> set[UUID]:
    """Ends leases and saves the outcomes of the work; returns the ids whose outcome was saved.

    Nothing is saved for a row that was claimed again later: the late worker is fenced off.
    """
    # If a row was claimed twice, only the later claim may still save an outcome.
    latest = {outcome.claimed.id: outcome for outcome in sorted(outcomes, key=lambda outcome: outcome.claimed.number)}
    parameters = {
        "district": district_id,
        "ids": list(latest),
        "numbers": [outcome.claimed.number for outcome in latest.values()],
        "states": [outcome.state for outcome in latest.values()],
        "waits": [outcome.wait for outcome in latest.values()],
    }
    return set((await db.scalars(_statement(SAVE_OUTCOMES, lease), parameters)).all())


@cache
def _statement(template: str, lease: Lease) -> TextClause:
    names = {"table": lease.table.name, "keys": lease.keys.name, "key": lease.key}
    return text(template.format(**names, ready=lease.ready, ailing=lease.ailing))
