"""Records which rows each transaction of the product locks and writes, and finds violations of the lock order.

docs/decisions.md defines this order: teams; students by their ids; groups, and rows about students; meetings and agenda
items; jobs of final judging; the event counter. Statements that tests themselves send, under the operation `test`, are
exempt.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from app.access.work import Work
from app.core.db import Base, HeldConnection
from app.roster.models import AboutStudent
from app.sis.engine.stage import Stage
from tests.house.source import import_models
from tests.sent import watched

WRITES = re.compile(r'\b(?:INSERT INTO|DELETE FROM|(?<!KEY )(?<!DO )UPDATE)\s+"?(\w+)"?(?=[\s(])', re.IGNORECASE)
LOCKS = re.compile(r'\bFROM\s+"?(\w+)"?.*?\bFOR (?:NO KEY )?UPDATE\b', re.IGNORECASE | re.DOTALL)
INNERMOST = re.compile(r"\(([^()]*)\)")
IN_ORDER = re.compile(r"ORDER BY \w+\.id(?:\s|$)|person\.id = (?!ANY)", re.IGNORECASE)
LET_OFF = {"test"}
NOT_WAITING = re.compile(r"\bSKIP LOCKED\b", re.IGNORECASE)
CHANGES = re.compile(r'(?<!KEY )(?<!DO )\bUPDATE\s+"?(team_scope|team_member)"?(?=[\s(])', re.IGNORECASE)
AFTER_STUDENTS = {
    *("lock support_group", "lock meeting", "lock agenda_item", "lock action_item"),
    *("change team_scope", "change team_member"),
}
"""What a sync does to rows of students whom it has locked, so that a command must have locked the students as well."""


@dataclass
class Transaction:
    """The locks and writes of a unit of work in order, such as `lock person` or `write concern`."""

    operation: str
    steps: list[str] = field(default_factory=list)
    unordered: bool = False

    def findings(self, about_students: set[str]) -> list[str]:
        """Returns the places at which the transaction takes locks in another order than the declared one."""
        findings = ["locks students in no order"] if self.unordered else []
        locked, late, numbered, early, has_team = False, "", False, "", False
        for step in self.steps:
            table = step.split(" ")[1]
            if step == "lock team" and locked and not has_team:
                findings.append("locks a team after students")
            has_team = has_team or step == "lock team"
            if step in AFTER_STUDENTS and not locked:
                early = step
            if step == "lock person" and early and not locked:
                findings.append(f"locks students after {early}")
            if step in ("lock person", "try person"):
                locked = True
                if late:
                    findings.append(f"locks students after it wrote {late}")
            elif table in about_students and not locked:
                findings.append(f"{step} before any student was locked")
            if table in ("settlement", "event_counter"):
                late = table
            if numbered and (table in about_students or table in ("settlement", "person")):
                findings.append(f"{step} after the event counter")
            numbered = numbered or table == "event_counter"
        return [f"{self.operation}: {one}: {', '.join(self.steps)}" for one in findings]


class Recorder:
    """Records the transactions of all connections: their locks and their writes."""

    def __init__(self) -> None:
        self.open: dict[int, Transaction] = {}
        self.ended: list[Transaction] = []

    def begin(self, driver: Any, operation: str) -> None:
        """Records that a unit of work begins on a connection."""
        self.open[id(driver)] = Transaction(operation)
        self.ended.append(self.open[id(driver)])

    def note(self, driver: Any, statement: str) -> None:
        """Records a statement that is sent on a connection."""
        transaction = self.open.get(id(driver))
        if transaction is None:
            return
        for table, query in _locking(statement):
            transaction.steps.append(f"{'try' if NOT_WAITING.search(query) else 'lock'} {table}")
            if table == "person" and not IN_ORDER.search(query):
                transaction.unordered = True
        transaction.steps += [f"write {table}" for table in WRITES.findall(statement)]
        transaction.steps += [f"change {table}" for table in CHANGES.findall(statement)]

    def findings(self) -> list[str]:
        """Returns the places at which any recorded transaction violates the order of locks."""
        import_models()
        tables = {
            mapper.local_table.name  # type: ignore[attr-defined]  # a mapped class of ours has a table
            for mapper in Base.registry.mappers
            if issubclass(mapper.class_, AboutStudent)
        }
        kept = [one for one in self.ended if one.operation not in LET_OFF]
        return [finding for one in kept for finding in one.findings(tables)]


def _locking(statement: str) -> Iterator[tuple[str, str]]:
    """Yields each table that a statement locks, with the query that locks it. Inner queries come before outer ones."""
    replaced = 1
    while replaced:
        for query in INNERMOST.findall(statement):
            yield from ((table, query) for table in LOCKS.findall(query))
        statement, replaced = INNERMOST.subn("", statement)
    yield from ((table, statement) for table in LOCKS.findall(statement))


@contextmanager
def recording() -> Iterator[Recorder]:
    """Records the statements that units of work and syncs send while the block runs."""
    recorder = Recorder()
    made, bound = Work.__init__, Stage._bound

    def init(work: Work, held: HeldConnection, *more: Any) -> None:
        made(work, held, *more)
        recorder.begin(held.driver, work.operation)

    def look_at_stage(stage: Stage, sql: str) -> tuple[Any, ...]:
        recorder.note(stage.driver, sql)
        return bound(stage, sql)

    Work.__init__, Stage._bound = init, look_at_stage  # type: ignore[method-assign,assignment]  # watched
    try:
        with watched(recorder.note):
            yield recorder
    finally:
        Work.__init__, Stage._bound = made, bound  # type: ignore[method-assign]  # restored
