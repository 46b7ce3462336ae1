"""Updates what depends on a student's schools when the student moves: all rows that copy the schools, and the supports.

Also updates which students each team serves, and corrects rows whose schools are not the student's schools. The list of
tables is read from PostgreSQL's catalogue, so that no new table is forgotten. People are locked in the order of their
ids before anything about them is written, as in all packages (`roster.student_lock`).
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.core.district_lock import WAIT as WAIT_FOR_DISTRICT
from app.core.district_lock import DistrictLock
from app.sis.engine.stage import Stage, key_filter_sql
from app.sis.kinds import BY_NAME
from app.sis.port import RosterBusy
from app.team.students import select_differing_students

Locked = TypeVar("Locked")
NOT_FOLLOWING: Final = ("event", "disclosure")
"""The tables whose rows keep the schools that the student had when the row was written."""
KEPT: Final = "('update', 'restore')"
TOUCHED: Final = "('update', 'restore', 'remove', 'absent')"
CAME_OR_LEFT: Final = "('restore', 'remove', 'absent')"
WITHOUT_LEAD: Final = """
    SELECT s.id, s.student_id FROM support AS s
    JOIN person AS p ON p.district_id = :district AND p.id = s.lead_id
    WHERE s.district_id = :district AND s.state IN ('planned', 'active') AND s.unled_since IS NULL
      AND (p.removed_at IS NOT NULL OR NOT p.enabled)"""
"""Selects the supports whose lead has left and which are not marked as unled.

A support was given to its lead while a sync removed this person, and each transaction did not see the other. A command
does not lock the lead.
"""
LOCK_NOT_AVAILABLE: Final = "55P03"
WAIT: Final = "250ms"
"""The timeout for one lock. It is shorter than PostgreSQL's `deadlock_timeout`, so that in a conflict the sync gives
way.
"""
TRIES, PAUSE = 120, 0.1  # PAUSE is in seconds, between two tries


@dataclass(frozen=True, slots=True)
class TableWithSchools:
    """A table whose rows have a copy of the student's schools.

    * `name`: the name of the table.
    * `student`: the column that refers to the student.
    * `changing`: whether the table has a column for the time of the last change.
    """

    name: str
    student: str
    changing: bool = False

    @property
    def note_change(self) -> str:
        """Returns `, updated_at = now()`, which an UPDATE needs, or an empty text if the table has no such column."""
        return ", updated_at = now()" if self.changing else ""


async def tables_with_schools(stage: Stage) -> list[TableWithSchools]:
    """Returns each table that copies a student's schools."""
    # If the worker may not update one of these tables, `follow_moves` fails.
    rows = await stage.rows(
        """SELECT c.relname AS name, bool_or(a.attname = 'updated_at') AS changing FROM pg_class AS c
           JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
            AND a.attname IN ('student_id', 'school_ids', 'updated_at')
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
           GROUP BY c.relname HAVING count(*) FILTER (WHERE a.attname <> 'updated_at') = 2
           ORDER BY c.relname"""
    )
    tables = [
        TableWithSchools(str(row["name"]), "student_id", bool(row["changing"]))
        for row in rows
        if row["name"] not in NOT_FOLLOWING
    ]
    return [*tables, TableWithSchools("demographics", "person_id")]


async def find_out_of_step(stage: Stage) -> dict[str, int]:
    """Finds rows whose copy of the student's schools is wrong, and returns their number, keyed by table.

    Also writes the ids of the students of these rows to a staging table.
    """
    rows_by_table, moved = {}, stage.fills("moved")
    for table in await tables_with_schools(stage):
        differing = f"""FROM "{table.name}" AS t
            JOIN person AS p ON p.district_id = :district AND p.id = t.{table.student}
            WHERE t.district_id = :district AND t.school_ids IS DISTINCT FROM p.school_ids"""
        # The rows are counted in a separate query, because a statement that writes gets no parallel workers.
        rows_by_table[table.name] = await stage.count(f"SELECT count(*) {differing}")
        if rows_by_table[table.name]:
            await stage.run(
                f"""INSERT INTO {moved} (district_id, run_id, id) SELECT DISTINCT :district, :run, p.id {differing}
                    ON CONFLICT DO NOTHING"""
            )
    return {table: count for table, count in rows_by_table.items() if count}


async def note_moves(stage: Stage) -> None:
    """Writes to a staging table the people whose schools the plan will change, or whom it will enable or disable.

    Must be called before the plan of people is applied.
    """
    await stage.run(
        f"""INSERT INTO {stage.fills("moved")} (district_id, run_id, id)
            SELECT :district, :run, t.id FROM {stage.of_run("plan", "person")} AS p
            JOIN person AS t ON t.district_id = :district AND t.id = p.id
            WHERE p.action IN {KEPT}{key_filter_sql(stage, BY_NAME["person"], KEPT)}
              AND ((t.school_ids IS DISTINCT FROM p.school_ids AND NOT 'school_ids' = ANY (t.pinned))
                   OR t.enabled IS DISTINCT FROM p.enabled)
            ON CONFLICT DO NOTHING"""
    )


async def lock_people(stage: Stage, *, planned: bool) -> None:
    """Locks the people whom `find_out_of_step` and `note_moves` have staged.

    With `planned`, also locks these people:

    * those whom the plan changes;
    * the students with a support whose lead or provider moves, leaves, comes back, or is enabled or disabled
      (`students_of_staff_sql`);
    * the students with a support whose lead has left already (`WITHOUT_LEAD`).

    Raises `RosterBusy` if another transaction keeps one of them locked.
    """
    people = f"SELECT m.id FROM {stage.of_run('moved')} AS m"
    if planned:
        people += f" UNION SELECT p.id FROM {stage.of_run('plan', 'person')} AS p WHERE p.action IN {TOUCHED}"
        people += f" UNION {students_of_staff_sql(stage)}"
        people += f" UNION SELECT u.student_id FROM ({WITHOUT_LEAD}) AS u"
    await lock_in_order(stage, people)


async def lock_in_order(stage: Stage, people: str) -> int:
    """Locks the people whom the query `people` selects, in the order of their ids, and returns their number.

    Raises `RosterBusy` if another transaction keeps one of them locked.
    """

    async def lock() -> int:
        return await stage.count(
            f"""SELECT count(*) FROM (
                    SELECT o.id FROM person AS o WHERE o.district_id = :district AND o.id IN ({people})
                    ORDER BY o.id FOR NO KEY UPDATE) AS locked"""
        )

    return await lock_with_retries(stage, lock)


async def lock_with_retries(stage: Stage, lock: Callable[[], Awaitable[Locked]]) -> Locked:
    """Calls `lock`, which takes locks with a short timeout, until it succeeds, and returns its result.

    The locks of a failed attempt are released before the next attempt. If all attempts fail, raises `RosterBusy`.

    Without timeouts there could be a deadlock, because not every transaction locks people in the order of ids. A
    transaction with several commands may lock in another order. A sync first locks the students who move, and later the
    students whose results in the gradebook become scores.
    """
    previous_timeout = await stage.driver.fetchval("SELECT current_setting('lock_timeout')")
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
            await stage.driver.execute(f"SET LOCAL lock_timeout = '{previous_timeout}'")
            await stage.driver.execute("RELEASE SAVEPOINT locking")
            return locked
    raise RosterBusy("Others are changing records of students whom this sync changes. Run the sync again.")


async def follow_moves(stage: Stage) -> None:
    """For each student who moved, writes the student's present schools into all rows about the student.

    `find_out_of_step` and `note_moves` have staged these students. Must be called after the plan of people is applied.
    """
    moved = stage.of_run("moved")
    if not await stage.count(f"SELECT count(*) FROM {moved} AS m"):
        return
    for table in await tables_with_schools(stage):
        await stage.run(
            f"""UPDATE "{table.name}" AS t SET school_ids = p.school_ids{table.note_change}
                FROM {moved} AS m JOIN person AS p ON p.district_id = :district AND p.id = m.id
                WHERE t.district_id = :district AND t.{table.student} = m.id
                  AND t.school_ids IS DISTINCT FROM p.school_ids"""
        )


def people_sql(stage: Stage) -> str:
    """Returns SQL that selects the people who move to other schools, leave, come back, or are enabled or disabled."""
    return (
        f"SELECT m.id FROM {stage.of_run('moved')} AS m UNION "
        f"SELECT p.id FROM {stage.of_run('plan', 'person')} AS p WHERE p.action IN {CAME_OR_LEFT}"
    )


def students_of_staff_sql(stage: Stage) -> str:
    """Returns SQL that selects the students of supports that the people in `people_sql` lead or provide.

    Supports that have ended do not count.
    """
    return f"""SELECT s.student_id FROM support AS s
               WHERE s.district_id = :district AND s.state <> 'ended'
                 AND (s.lead_id IN ({people_sql(stage)}) OR s.provider_id IN ({people_sql(stage)}))"""


async def find_moved_supports(stage: Stage) -> set[UUID]:
    """Returns the ids of supports whose student has moved to a school that is not yet stored with the support.

    Supports that have ended are left out. Must be called after the plan of people is applied, and before `follow_moves`
    updates the schools of the supports.
    """
    rows = await stage.rows(
        f"""SELECT s.id FROM {stage.of_run("moved")} AS m
            JOIN person AS p ON p.district_id = :district AND p.id = m.id AND p.is_student
            JOIN support AS s ON s.district_id = :district AND s.student_id = p.id
            WHERE s.state <> 'ended' AND p.removed_at IS NULL AND cardinality(s.school_ids) > 0
              AND NOT p.school_ids <@ s.school_ids"""
    )
    return {row["id"] for row in rows}


async def follow_supports(stage: Stage, moved: set[UUID]) -> None:
    """Updates the supports whose student, lead or provider left, moved, came back, or was enabled or disabled.

    Also updates the supports that `WITHOUT_LEAD` selects: their lead left earlier, and they are not marked as having no
    lead yet. `moved` are the ids that `find_moved_supports` returned.
    """
    rows = await stage.rows(
        f"""SELECT u.id FROM ({WITHOUT_LEAD}) AS u UNION SELECT s.id FROM support AS s
            WHERE s.district_id = :district AND s.state <> 'ended'
              AND (s.student_id IN ({people_sql(stage)}) OR s.lead_id IN ({people_sql(stage)})
                   OR s.provider_id IN ({people_sql(stage)}))"""
    )
    await stage.follow_supports({row["id"] for row in rows}, moved, stage.today)


async def follow_teams(stage: Stage) -> int:
    """Updates which students each team serves, and returns the number of written rows.

    First locks the students who enter or leave a team. A run disables nested loops; this function enables them while
    it works, so that PostgreSQL looks up these students by index.

    Raises `RosterBusy` if another transaction keeps a student locked, or if a command that changes a team's scope
    takes too long.
    """
    await stage.driver.execute("SET LOCAL enable_nestloop = on")

    async def lock() -> int:
        return await stage.run(WAIT_FOR_DISTRICT.replace(":name", f"'{DistrictLock.TEAM_STUDENTS}'"))

    await lock_in_order(stage, select_differing_students())
    await lock_with_retries(stage, lock)
    written = await stage.follow_teams()
    await stage.driver.execute("SET LOCAL enable_nestloop = off")
    return written
