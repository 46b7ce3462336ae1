"""Owns the staging tables of one run: made, filled by its statements, dropped. Never judges a value.

They live and die in the run's one transaction, so that a crash leaves none. Columns of the raw table are `c1`,
`c2`… in the file's order: a header's text never becomes SQL.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

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
FEW = 20  # times as many known rows: from there on, looking rows up by their keys is cheaper than reading all
EmitStudentEvents = Callable[[EventType, Sequence[tuple[UUID, UUID]]], None]
"""Lays an event for each of these students of a school, to commit with the run."""


@dataclass
class Stage:
    """One run's statements, on the connection and in the transaction of its unit of work.

    Statements name their parameters `:district`, `:source`, `:run`, `:now`, `:today`, `:stamp`, `:salt`.
    """

    driver: Any
    district_id: UUID
    source_id: UUID
    run_id: UUID
    now: datetime
    today: date
    emit: EmitStudentEvents
    tables: list[str] = field(default_factory=list)
    staged_early: dict[str, int] = field(default_factory=dict)
    """Rows of the kinds that were staged along with another, before their turn."""
    known_rows: dict[str, int] = field(default_factory=dict)
    """Rows of a kind that are known, once they were counted."""
    raw_rows: dict[str, int] = field(default_factory=dict)
    """Raw rows of a kind, as its COPY counted them."""
    planned_rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """Rows of a kind's plan by action, once they were counted."""
    sifted: set[str] = field(default_factory=set)
    """Kinds of which only the rows that differ from what is known were taken up."""

    def table(self, what: str, kind: str) -> str:
        """The name of this run's staging table."""
        return f"staging.{what}_{kind}_{self.run_id.hex}"

    async def make(self, what: str, kind: str, columns: str) -> str:
        """Makes a staging table, the district first."""
        name = self.table(what, kind)
        await self.driver.execute(f"CREATE UNLOGGED TABLE {name} (district_id uuid, {columns})")
        self.tables.append(name)
        return name

    async def make_as(self, what: str, kind: str, query: str) -> int:
        """Makes a staging table of what a query gives, and says how many rows those are.

        In place of an INSERT wherever the query is long: this form, PostgreSQL computes on several processors.
        """
        name = self.table(what, kind)
        self.tables.append(name)
        return await self.run(f"CREATE UNLOGGED TABLE {name} AS {query}")

    async def keep(self, name: str) -> None:
        """Keeps a staging table beyond the run's transaction and beyond a crash, for its own district alone.

        Within the run no row of it is anybody else's to see; from its commit on, row-level security says so.
        """
        policy = f"USING ({DISTRICT}) WITH CHECK ({DISTRICT})"
        for statement in (
            f"ALTER TABLE {name} SET LOGGED, ALTER COLUMN district_id SET NOT NULL",
            f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY tenant ON {name} TO CURRENT_USER {policy}",
        ):
            await self.driver.execute(statement)
        self.tables.remove(name)

    async def drop_table(self, what: str, kind: str) -> None:
        """Drops a staging table before its time."""
        name = self.table(what, kind)
        await self.driver.execute(f"DROP TABLE {name}")
        self.tables.remove(name)

    async def run(self, sql: str) -> int:
        """Runs a statement; the number of rows that it says it touched."""
        status = str(await self.driver.execute(*self._bound(sql)))
        last = status.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    async def rows(self, sql: str) -> list[Any]:
        """The rows of a query."""
        return list(await self.driver.fetch(*self._bound(sql)))

    async def count(self, sql: str) -> int:
        """The one number that a query gives.

        Every row is asked for, of which there is one: PostgreSQL computes on one processor what is asked for in parts.
        """
        ((found,),) = await self.rows(sql)
        return int(found or 0)

    async def drop(self) -> None:
        """Drops what this run staged."""
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

        def place(found: re.Match[str]) -> str:
            name = found[1]
            if name not in used:
                used.append(name)
            return f"${used.index(name) + 1}::{_TYPES[name]}"

        return (_NAMED.sub(place, sql), *(values[name] for name in used))


def fresh_id(kind: str, sourced_id: str, place: str | None = None) -> str:
    """SQL for a new id shaped as a UUIDv7 (RFC 9562): the run's time, then a digest of run, kind and sourcedId.

    No volatile function of the server: the same on every node, and on a retry of the statement. With a `place`, a
    number in SQL, ids ascend with it: a million rows are then appended to an index, and not strewn over it.
    """
    digest = f"md5(:salt || '{kind}' || {sourced_id})"
    if place is None:
        return f"overlay(overlay({digest} placing :stamp from 1 for 13) placing '8' from 17 for 1)::uuid"
    hexed = f"lpad(to_hex({place}), 8, '0')"
    return f"(:stamp || left({hexed}, 3) || '8' || right({hexed}, 5) || left({digest}, 10))::uuid"


def key_filter_sql(stage: Stage, kind: Kind, actions: str) -> str:
    """SQL that looks the known rows `t` of a plan up by their key, where those of `actions` are few.

    Nothing where they are many: those are found faster by reading the table once. Planned rows must be counted before.
    """
    touched = sum(rows for action, rows in stage.planned_rows.get(kind.name, {}).items() if f"'{action}'" in actions)
    if touched * FEW > stage.known_rows.get(kind.name, 0):
        return ""
    return f""" AND t.{kind.key} = ANY (ARRAY(SELECT f.id FROM {stage.table("plan", kind.name)} AS f
                WHERE f.district_id = :district AND f.action IN {actions}))"""
