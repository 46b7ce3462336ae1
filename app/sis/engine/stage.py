"""Creates the staging tables of one run, and runs its statements. Never checks a value.

The tables are created and dropped in the run's transaction, so that a crash leaves none. The columns of a raw table are
named `c1`, `c2`… in the file's order, so that the text of a header never becomes SQL.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from app.access.policies import DISTRICT
from app.events.catalogue import EventType
from app.sis.kinds import Kind

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
FEW = 20  # if a kind has this many times more known rows than rows to look up, lookups by key are cheaper than a scan
EmitStudentEvents = Callable[[EventType, Sequence[tuple[UUID, UUID]]], None]
"""Records an event for each of these pairs of student and school, in the run's transaction."""


@dataclass
class Stage:
    """The staging tables and statements of one run, on the connection and in the transaction of its unit of work.

    The parameters of statements are `:district`, `:source`, `:run`, `:now`, `:today`, `:stamp`, `:salt`.
    """

    driver: Any
    district_id: UUID
    source_id: UUID
    run_id: UUID
    now: datetime
    today: date
    emit: EmitStudentEvents
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences for the report about values that were changed for import."""
    staged_early: dict[str, int] = field(default_factory=dict)
    """The number of staged rows of each kind that was staged together with another kind."""
    known_rows: dict[str, int] = field(default_factory=dict)
    """The number of known rows, for each kind that was counted."""
    raw_rows: dict[str, int] = field(default_factory=dict)
    """The number of raw rows, for each kind that was loaded."""
    planned_rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """The number of planned rows by kind and action, for each kind that was counted."""
    sifted: set[str] = field(default_factory=set)
    """The kinds of which only the changed rows were staged."""

    def table(self, prefix: str, kind: str) -> str:
        """Returns the name of a staging table of this run."""
        return f"staging.{prefix}_{kind}_{self.run_id.hex}"

    async def make(self, prefix: str, kind: str, columns: str) -> str:
        """Creates a staging table whose first column is the district, and returns its name."""
        name = self.table(prefix, kind)
        await self.driver.execute(f"CREATE UNLOGGED TABLE {name} (district_id uuid, {columns})")
        self.tables.append(name)
        return name

    async def make_as(self, prefix: str, kind: str, query: str) -> int:
        """Creates a staging table from a query, and returns its number of rows.

        Use it instead of an INSERT for an expensive query, because PostgreSQL runs this form in parallel.
        """
        name = self.table(prefix, kind)
        self.tables.append(name)
        return await self.run(f"CREATE UNLOGGED TABLE {name} AS {query}")

    async def keep(self, name: str) -> None:
        """Keeps a staging table beyond the run's transaction and beyond a crash, readable by its own district only.

        Before the commit no other transaction sees the table; after it, row-level security protects the rows.
        """
        policy = f"USING ({DISTRICT}) WITH CHECK ({DISTRICT})"
        for statement in (
            f"ALTER TABLE {name} SET LOGGED, ALTER COLUMN district_id SET NOT NULL",
            f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY tenant ON {name} TO CURRENT_USER {policy}",
        ):
            await self.driver.execute(statement)
        self.tables.remove(name)

    async def drop_table(self, prefix: str, kind: str) -> None:
        """Drops one staging table before the end of the run."""
        name = self.table(prefix, kind)
        await self.driver.execute(f"DROP TABLE {name}")
        self.tables.remove(name)

    async def run(self, sql: str) -> int:
        """Runs a statement; returns the number of rows that it affected."""
        status = str(await self.driver.execute(*self._bound(sql)))
        last = status.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    async def rows(self, sql: str) -> list[Any]:
        """Runs a query and returns its rows."""
        return list(await self.driver.fetch(*self._bound(sql)))

    async def count(self, sql: str) -> int:
        """Runs a query and returns its single number.

        All rows are fetched although there is only one, because PostgreSQL runs no parallel plan for a partial fetch.
        """
        ((number,),) = await self.rows(sql)
        return int(number or 0)

    async def drop(self) -> None:
        """Drops all staging tables of this run that are not kept."""
        if self.tables:
            await self.driver.execute(f"DROP TABLE {', '.join(self.tables)}")
            self.tables.clear()

    def _bound(self, sql: str) -> tuple[Any, ...]:
        values: dict[str, Any] = {
            "district": self.district_id,
            "source": self.source_id,
            "run": self.run_id,
            "now": self.now,
            "today": self.today,
            "stamp": f"{self.run_id.hex[:12]}7",
            "salt": self.run_id.hex,
        }
        used: list[str] = []

        def placeholder(match: re.Match[str]) -> str:
            name = match[1]
            if name not in used:
                used.append(name)
            return f"${used.index(name) + 1}::{_TYPES[name]}"

        return (_NAMED.sub(placeholder, sql), *(values[name] for name in used))


def fresh_id(kind: str, sourced_id: str, place: str | None = None) -> str:
    """Returns SQL for a new id in the form of a UUIDv7 (RFC 9562), made of the run's time and a digest of kind and
    sourcedId.

    It uses no volatile function, so that it is the same on every node and on a retry of the statement. With `place`, an
    SQL number, ids ascend with that number, so that a million rows are appended to an index instead of being spread
    over it.
    """
    digest = f"md5(:salt || '{kind}' || {sourced_id})"
    if place is None:
        return f"overlay(overlay({digest} placing :stamp from 1 for 13) placing '8' from 17 for 1)::uuid"
    hexed = f"lpad(to_hex({place}), 8, '0')"
    return f"(:stamp || left({hexed}, 3) || '8' || right({hexed}, 5) || left({digest}, 10))::uuid"


def key_filter_sql(stage: Stage, kind: Kind, actions: str) -> str:
    """Returns an SQL condition that looks up the known rows `t` of a plan by their key, if `actions` affect few rows.

    Returns an empty string if they affect many rows, since one scan of the table is then faster. The planned rows must
    have been counted before.
    """
    affected = sum(rows for action, rows in stage.planned_rows.get(kind.name, {}).items() if f"'{action}'" in actions)
    if affected * FEW > stage.known_rows.get(kind.name, 0):
        return ""
    return f""" AND t.{kind.key} = ANY (ARRAY(SELECT f.id FROM {stage.table("plan", kind.name)} AS f
                WHERE f.district_id = :district AND f.action IN {actions}))"""
