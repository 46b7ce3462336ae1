"""Manages the rows that one run has written to the staging tables, and executes the statements on them.

Checks no value, and never changes the schema.

* A *known* row is a roster row that came from this run's source.
* The staging tables are permanent; migrations create them. A run writes its rows with its own id, in one transaction
  that also deletes them. No other run ever sees them, and a crash leaves none.
* Only the tables into which files are copied belong to a single run (`intake.load`).
* A run never analyzes a staging table. This would lock the table against the runs of other districts until the
  transaction ends.

This file exceeds 250 lines so that all ways to execute a statement of a run are in one place.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

import asyncpg
import structlog

from app.events.catalogue import EventType
from app.sis.kinds import KINDS, Kind

log = structlog.get_logger()
_NAMED = re.compile(r"(?<!:):([a-z_]+)")
_TYPES = {
    "district": "uuid",
    "source": "uuid",
    "run": "uuid",
    "now": "timestamptz",
    "today": "date",
    "stamp": "text",
    "salt": "text",
}
SEPARATE = "OFFSET '0'"
"""The end of a subquery. It makes PostgreSQL plan the subquery separately from the enclosing statement.

The number is in quotes, because PostgreSQL then sees at once that it is 0. In `OFFSET 0`, PostgreSQL would have to
compute a type cast first. Until then it assumes a real limit, and therefore plans the enclosing statement without
parallel workers.
"""
FEW = 20  # if a kind has this many times more known rows than rows to look up, lookups by key are cheaper than a scan
ALIASED = tuple(kind for kind in KINDS if not kind.own_alias and kind.key == "id")
"""The kinds whose sourcedIds are stored in `external_id`, so that other rows can refer to them."""
STAGING_TABLES = (
    *(f"{name}_{kind.name}" for kind in KINDS for name in ("staged", "plan")),
    *(f"key_{kind.name}" for kind in ALIASED),
    *("repeat", "id_list", "composed", "moved", "mapping_rule", "mapping_item", "incoming_score"),
    *("candidate", "given_pair", "left_out"),
    *("staged_score", "plan_score", "score_measure", "out_of_scope"),
)
"""The tables whose rows are deleted when their run ends.

Rows that wait for approval are not in them: a plan is in `kept_plan`, and a map of old to new sourcedIds in
`kept_rekey`.
"""
EmitStudentEvents = Callable[[EventType, Sequence[tuple[UUID, UUID]]], None]
"""A function that records an event for each given pair of student and school, in the run's transaction."""

FollowSupports = Callable[[Collection[UUID], Collection[UUID], date], Awaitable[None]]
"""A function that updates supports after their students or staff changed, in the run's transaction.

Its parameters are the ids of these supports, the ids of the supports that moved to another school, and the present day.
"""


@dataclass
class Stage:
    """The staging tables of one run, and the connection and transaction in which the run's statements are executed.

    The parameters of statements are `:district`, `:source`, `:run`, `:now`, `:today`, `:stamp`, `:salt`.
    """

    driver: Any
    district_id: UUID
    source_id: UUID
    run_id: UUID
    now: datetime
    today: date
    emit: EmitStudentEvents
    follow_supports: FollowSupports
    follow_teams: Callable[[], Awaitable[int]]
    """Updates which students each team serves, in the run's transaction. Returns the number of written rows."""
    filled: list[str] = field(default_factory=list)
    """The staging tables into which this run has written rows. The run deletes these rows at its end."""
    raw_tables: dict[str, str] = field(default_factory=dict)
    """The names of the tables with the raw rows, keyed by kind. Only this run uses these tables."""
    malformed: dict[str, dict[int, str]] = field(default_factory=dict)
    """Digests of the rows that were loaded as empty rows because they do not match the header.

    By kind, then keyed by the number of the raw row.
    """
    staged_early: dict[str, int] = field(default_factory=dict)
    """The kinds whose rows were already staged along with another kind, each with the number of its staged rows."""
    known_rows: dict[str, int] = field(default_factory=dict)
    """The number of known rows, for each kind that was counted."""
    raw_rows: dict[str, int] = field(default_factory=dict)
    """The number of raw rows, for each kind that was loaded."""
    planned_rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """The number of planned rows by action, for each kind that was counted."""
    with_separators: set[str] = field(default_factory=set)
    """The kinds whose files have a semicolon or a bar anywhere, with which a source may separate a list."""
    sifted: set[str] = field(default_factory=set)
    """The kinds of which only the changed rows were staged."""
    outside: dict[str, str] = field(default_factory=dict)
    """SQL for the keys of the known rows that are outside the run's scope, keyed by kind. No plan removes such rows."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the report about values that were changed for import."""

    def table(self, name: str, kind: str = "") -> str:
        """Returns the name of a staging table, for statements that write to it.

        Such a statement must restrict itself to the rows of this run.
        """
        return f"staging.{name}_{kind}" if kind else f"staging.{name}"

    def of_run(self, name: str, kind: str = "") -> str:
        """Returns SQL, a subquery in parentheses, that selects the rows of this run from a staging table."""
        return f"(SELECT * FROM {self.table(name, kind)} AS w WHERE w.district_id = :district AND w.run_id = :run)"

    def delivered(self, kind: str) -> str:
        """Returns SQL that selects the staged rows of one kind of record that came with the delivery.

        Staged rows that came from the roster, because the delivery lacks them, are left out.
        """
        return f"(SELECT * FROM {self.of_run('staged', kind)} AS w WHERE w.row_number IS NOT NULL)"

    def composed(self, name: str) -> str:
        """Returns SQL that selects the staged values with this name. They were computed from supplementary files."""
        return f"(SELECT * FROM {self.of_run('composed')} AS w WHERE w.name = '{name}')"

    def raw(self, kind: str) -> str:
        """Returns SQL that selects the raw rows of one kind of record, as they are in the file.

        The SQL is a subquery that PostgreSQL does not merge with the enclosing statement. Otherwise a sharded server
        would refuse the statement, because it joins a table of one node directly with a distributed table.
        """
        return f"(SELECT * FROM {self.raw_tables[kind]} {SEPARATE})"

    async def insert(
        self, name: str, kind: str, columns: Iterable[str], query: str, *, are_distinct: bool = False
    ) -> int:
        """Writes the rows of a query to a staging table, and returns their number.

        The query's columns are district, run and then `columns`. Of several rows with the same key, only the first is
        written. With `are_distinct`, the caller promises that no two rows have the same key. This saves the search for
        such rows, which costs as much as the insertion.
        """
        table = self.fills(name, kind)
        unless = "" if are_distinct else " ON CONFLICT DO NOTHING"
        return await self.run(f"INSERT INTO {table} (district_id, run_id, {', '.join(columns)}) {query}{unless}")

    async def insert_parallel(self, name: str, kind: str, columns: Sequence[str], query: str) -> int:
        """Writes the rows of a query to a staging table by way of a temporary file, and returns their number.

        This is for a query that reads many rows and returns few. PostgreSQL can use parallel workers for a COPY to the
        client, but not for an INSERT. The query selects district and run itself, and the types of its columns must be
        exactly those of the table.
        """
        table, names = self.fills(name, kind), ["district_id", "run_id", *columns]
        with TemporaryFile() as spool:
            await self._copy_in_parallel(query, spool)
            spool.seek(0)
            status = await self.driver.copy_to_table(
                table.removeprefix("staging."), schema_name="staging", columns=names, source=spool, format="binary"
            )
        return int(str(status).rsplit(" ", 1)[-1])

    async def _copy_in_parallel(self, query: str, spool: IO[bytes]) -> None:
        """Runs a query with parallel workers, and writes its rows to the file `spool`.

        If the server runs out of space, the query runs again without parallel workers. Parallel workers need shared
        memory, and a container has only 64 MB of shared memory unless it is started with more.
        """
        sql = self._spelled_out(query)
        await self.driver.execute("SAVEPOINT parallel")
        # All keys of a run are read. This takes several times as long in index order as in the order of the table.
        await self.driver.execute("SET LOCAL enable_indexscan = off")
        try:
            await self.driver.copy_from_query(sql, output=spool, format="binary")
        except asyncpg.DiskFullError:
            log.warning("syncs.without_parallel_workers", run=str(self.run_id))
            await self.driver.execute("ROLLBACK TO SAVEPOINT parallel")
            await self.driver.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            spool.seek(0)
            spool.truncate()
            await self.driver.copy_from_query(sql, output=spool, format="binary")
        await self.driver.execute("SET LOCAL enable_indexscan = on")
        await self.driver.execute("RELEASE SAVEPOINT parallel")

    async def insert_records(self, name: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
        """Writes records to a staging table. Each record has the values of `columns`; district and run are added."""
        await self.driver.copy_records_to_table(
            self.fills(name).removeprefix("staging."),
            schema_name="staging",
            columns=["district_id", "run_id", *columns],
            records=[(self.district_id, self.run_id, *record) for record in records],
        )

    async def delete(self, name: str, kind: str = "") -> None:
        """Deletes this run's rows from a staging table. At the end of the run, `clear` does this for all tables."""
        await self.run(f"DELETE FROM {self.table(name, kind)} AS w WHERE w.district_id = :district AND w.run_id = :run")

    async def run(self, sql: str) -> int:
        """Runs a statement, and returns the number of affected rows."""
        status = str(await self.driver.execute(*self._bound(sql)))
        last = status.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    async def rows(self, sql: str) -> list[Any]:
        """Runs a query and returns its rows."""
        return list(await self.driver.fetch(*self._bound(sql)))

    async def count(self, sql: str) -> int:
        """Runs a query that returns one number, and returns the number.

        All rows are fetched although there is only one, because PostgreSQL runs no parallel plan for a partial fetch.
        """
        ((number,),) = await self.rows(sql)
        return int(number or 0)

    async def clear(self) -> None:
        """Deletes all staged rows of this run."""
        for table in self.filled:
            await self.delete(table.removeprefix("staging."))
        self.filled.clear()

    def fills(self, name: str, kind: str = "") -> str:
        """Notes that the run writes to a staging table, so that `clear` deletes the rows. Returns the table's name."""
        table = self.table(name, kind)
        if table not in self.filled:
            self.filled.append(table)
        return table

    def _values(self) -> dict[str, Any]:
        return {
            "district": self.district_id,
            "source": self.source_id,
            "run": self.run_id,
            "now": self.now,
            "today": self.today,
            "stamp": f"{self.run_id.hex[:12]}7",
            "salt": self.run_id.hex,
        }

    def _bound(self, sql: str) -> tuple[Any, ...]:
        values, used = self._values(), list[str]()

        def placeholder(match: re.Match[str]) -> str:
            name = match[1]
            if name not in used:
                used.append(name)
            return f"${used.index(name) + 1}::{_TYPES[name]}"

        # The run's id in the text makes the driver prepare each statement again for each run. Otherwise a query plan of
        # an earlier, smaller or larger run could be reused on this connection. The setting `plan_cache_mode` would
        # prevent this too, but PostgreSQL would then also plan the check of each foreign key again.
        text = f"{_NAMED.sub(placeholder, sql)} /* run_{self.run_id.hex} */"
        return (text, *(values[name] for name in used))

    def _spelled_out(self, sql: str) -> str:
        """Returns the statement with its parameters replaced by literal values, because COPY takes no parameters.

        This is safe, because the program itself chose all of these values.
        """
        values = self._values()
        return _NAMED.sub(lambda match: f"'{values[match[1]]}'::{_TYPES[match[1]]}", sql)


def fresh_id(kind: str, sourced_id: str, place: str | None = None) -> str:
    """Returns SQL for a new id, a UUIDv7 (RFC 9562) made from the run's time and a digest of kind and sourcedId.

    The SQL calls no volatile function, so the id is the same on every node and when the statement is retried. `place`
    is SQL for a number, such as a row number. With it, the ids ascend with this number, so that a million new rows are
    appended to an index instead of being spread over it.
    """
    digest = f"md5(:salt || '{kind}' || {sourced_id})"
    if place is None:
        return f"overlay(overlay({digest} placing :stamp from 1 for 13) placing '8' from 17 for 1)::uuid"
    hexed = f"lpad(to_hex({place}), 8, '0')"
    return f"(:stamp || left({hexed}, 3) || '8' || right({hexed}, 5) || left({digest}, 10))::uuid"


def key_filter_sql(stage: Stage, kind: Kind, actions: str) -> str:
    """Returns an SQL condition, beginning with AND, for the roster rows to which the plan applies one of `actions`.

    The alias of the roster table must be `t`. The function needs the counts in `stage.planned_rows`. If many rows are
    planned, the condition is an empty string, because one scan of the whole table is then faster.
    """
    affected = sum(rows for action, rows in stage.planned_rows.get(kind.name, {}).items() if f"'{action}'" in actions)
    if affected * FEW > stage.known_rows.get(kind.name, 0):
        return ""
    return f""" AND t.{kind.key} = ANY (ARRAY(SELECT f.id FROM {stage.table("plan", kind.name)} AS f
                WHERE f.district_id = :district AND f.run_id = :run AND f.action IN {actions}))"""
