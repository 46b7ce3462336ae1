"""Owns that every row about a student is in the student's schools: what a sync moves, and what is out of step.

Which tables these are is read from PostgreSQL's catalogue, so that a new table cannot be missed. People are locked
before anything about them is written, in the order of their ids, as the rooms lock them (`roster.student_lock`).
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.sis.engine.stage import Stage, key_filter_sql
from app.sis.kinds import BY_NAME
from app.sis.port import RosterBusy

Locked = TypeVar("Locked")
NOT_FOLLOWING: Final = ("event", "disclosure")
"""What happened, and what was shown, stays where it happened."""
KEPT: Final = "('update', 'restore')"
TOUCHED: Final = "('update', 'restore', 'remove', 'absent')"
LOCK_NOT_AVAILABLE: Final = "55P03"
WAIT: Final = "250ms"
"""For one lock; shorter than PostgreSQL's `deadlock_timeout`, so that the sync gives way before anybody is ended."""
TRIES, PAUSE = 120, 0.1  # seconds between two of them


async def followed_tables(stage: Stage) -> list[tuple[str, str]]:
    """Returns every table that copies a student's schools, with the column that names the student."""
    # One that the worker may not update fails where it is followed.
    rows = await stage.rows(
        """SELECT c.relname AS name FROM pg_class AS c
           JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
            AND a.attname IN ('student_id', 'school_ids')
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
           GROUP BY c.relname HAVING count(*) = 2 ORDER BY c.relname"""
    )
    tables = [(str(row["name"]), "student_id") for row in rows if row["name"] not in NOT_FOLLOWING]
    return [*tables, ("demographics", "person_id")]


async def find_out_of_step(stage: Stage) -> dict[str, int]:
    """Stages the students with rows in other schools than their own; returns how many rows those are, by table."""
    moved = await stage.make("moved", "person", "id uuid")
    rows_by_table = {}
    for table, student in await followed_tables(stage):
        rows_by_table[table] = await stage.count(
            f"""WITH astray AS MATERIALIZED (
                    SELECT p.id, count(*) AS n FROM "{table}" AS t
                    JOIN person AS p ON p.district_id = :district AND p.id = t.{student}
                    WHERE t.district_id = :district AND t.school_ids IS DISTINCT FROM p.school_ids GROUP BY p.id),
                staged AS (
                    INSERT INTO {moved} (district_id, id) SELECT :district, a.id FROM astray AS a
                    ON CONFLICT DO NOTHING)
                SELECT sum(a.n)::bigint FROM astray AS a"""
        )
    return {table: count for table, count in rows_by_table.items() if count}


async def note_moves(stage: Stage) -> None:
    """Before people change: adds those who will be in other schools, or come back to some."""
    await stage.run(
        f"""INSERT INTO {stage.table("moved", "person")} (district_id, id)
            SELECT :district, t.id FROM {stage.table("plan", "person")} AS p
            JOIN person AS t ON t.district_id = :district AND t.id = p.id
            WHERE p.district_id = :district AND p.action IN {KEPT}{key_filter_sql(stage, BY_NAME["person"], KEPT)}
              AND t.school_ids IS DISTINCT FROM p.school_ids AND NOT 'school_ids' = ANY (t.pinned)
            ON CONFLICT DO NOTHING"""
    )


async def lock_people(stage: Stage, *, planned: bool) -> None:
    """Locks the people whom the plan changes, and those whose rows will follow them. Raises `RosterBusy`."""
    people = f"SELECT m.id FROM {stage.table('moved', 'person')} AS m WHERE m.district_id = :district"
    if planned:
        people += f""" UNION SELECT p.id FROM {stage.table("plan", "person")} AS p
            WHERE p.district_id = :district AND p.action IN {TOUCHED}"""
    await lock_in_order(stage, people)


async def lock_in_order(stage: Stage, people: str) -> int:
    """Locks the people whose ids a query gives, in the order of their ids; returns how many. Raises `RosterBusy`."""

    async def lock() -> int:
        return await stage.count(
            f"""SELECT count(*) FROM (
                    SELECT o.id FROM person AS o WHERE o.district_id = :district AND o.id IN ({people})
                    ORDER BY o.id FOR NO KEY UPDATE) AS locked"""
        )

    return await lock_with_retries(stage, lock)


async def lock_with_retries(stage: Stage, lock: Callable[[], Awaitable[Locked]]) -> Locked:
    """Takes locks without insisting: gives back what it has before it tries again. Raises `RosterBusy` at last.

    A unit of work with several commands may lock students in another order than that of their ids, and a sync locks
    the students of mapped results after those who move: whoever waited here for good could wait for each other.
    """
    before = await stage.driver.fetchval("SELECT current_setting('lock_timeout')")
    for _ in range(TRIES):
        await stage.driver.execute("SAVEPOINT locking")
        await stage.driver.execute(f"SET LOCAL lock_timeout = '{WAIT}'")
        try:
            locked = await lock()
        except (asyncpg.LockNotAvailableError, DBAPIError) as error:
            if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") != LOCK_NOT_AVAILABLE:
                raise
            await stage.driver.execute("ROLLBACK TO SAVEPOINT locking")
            await stage.driver.execute("RELEASE SAVEPOINT locking")
            await asyncio.sleep(PAUSE)
        else:
            await stage.driver.execute(f"SET LOCAL lock_timeout = '{before}'")
            await stage.driver.execute("RELEASE SAVEPOINT locking")
            return locked
    raise RosterBusy("Somebody is writing about students whom this sync changes. Run the sync again.")


async def follow_moves(stage: Stage) -> None:
    """After people changed: puts every record of a student who moved, or was out of step, in the student's schools."""
    moved = stage.table("moved", "person")
    if not await stage.count(f"SELECT count(*) FROM {moved} WHERE district_id = :district"):
        return
    for table, student in await followed_tables(stage):
        await stage.run(
            f"""UPDATE "{table}" AS t SET school_ids = p.school_ids
                FROM {moved} AS m JOIN person AS p ON p.district_id = :district AND p.id = m.id
                WHERE t.district_id = :district AND m.district_id = :district AND t.{student} = m.id
                  AND t.school_ids IS DISTINCT FROM p.school_ids"""
        )
