"""Tests that each function that uses the database session is marked with `@needs`, and that only one module ends
transactions.

A public function that takes a `Work` must be marked, unless its module is listed in `WITHIN`. The functions of these
modules rely on the permission of their caller, and refuse a caller who has declared no permission.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.access.permission import GRANTABLE, INTERNAL, MEANING, ROLE_OPENS, Can
from app.access.principal import system_principal
from app.access.work import Work, required_permissions
from app.action.models import ActionItem
from app.agenda.computed import AgendaQueries
from app.catalog import CATALOG
from app.core.errors import Forbidden, Misuse
from app.core.page import keyset
from app.events.catalogue import CONCERN_RAISED, NewEvent
from app.events.reminders import Reminder
from app.evidence.models import Score
from app.evidence.screening.cuts import SuggestedLevels
from app.evidence.screening.models import ScreeningWindow
from app.insight.results import ResultsQuery
from app.insight.rules import Dimension
from app.meeting.models import Meeting
from app.playbook.models import Area, Measure
from app.resources.declare import declaration
from app.roster.models import NEVER_AT, Person
from app.roster.references import Reference
from app.signal.models import SignalRule
from app.support.lookup import DosageWindow
from app.support.models import Phase, Support
from app.team.models import Team
from app.team.students import Only
from tests.house.source import functions, imported, marked, modules, takes_work, touches_the_session
from tests.town import Town

DOOR = ("app.access", "app.requests", "app.resources")
OUTSIDE = (*DOOR, "app.core", "app.cli", "app.sandbox", "app.rest", "app.graphql", "app.main", "app.worker")
"""The packages that are not rooms: the door, those without a `Work`, and the APIs.

The engine of resources belongs to the door: it marks each read with the permissions that its selection requires.
"""
WITHIN = {
    "app.roster.lookup": "finds roster rows for commands of every room",
    "app.roster.calendar": "reads school weeks for reads and commands of every room",
    "app.roster.student_lock": "locks students for commands of every room",
    "app.roster.latest": "saves by what students are sorted, for the commands of the rooms above",
    "app.concern.unserved": "counts the days of concerns for whoever reads their rows",
    "app.group.lookup": "locks groups for the commands of its room",
    "app.attention.names": "reads names for agendas and tasks, each kind of record only with its own permission",
    "app.agenda.lookup": "locks the items of agendas for the commands of its room",
    "app.agenda.computed": "finds the items of an agenda for the reads and commands of its room",
    "app.meeting.lookup": "finds teams and locks meetings for the commands of its room and of agendas",
    "app.meeting.calendar": "reads school days for the commands and the task of its room",
    "app.team.lookup": "locks teams, and counts their changes, for the commands of its room",
    "app.team.students": "writes the students of teams for the commands of its room; a sync's function is marked",
    "app.evidence.latest": "finds the last scores for the commands of its room",
    "app.playbook.lookup": "finds playbook rows for commands of every room",
    "app.playbook.benchmarks.lookup": "finds the norms of a measure for commands of the rooms above",
    "app.playbook.hypotheses.lookup": "finds kinds of hypotheses for commands of the rooms above",
    "app.incident.lookup": "finds kinds of incidents for commands of its room and above",
    "app.intervention.lookup": "finds entries of the library for commands of the rooms above",
    "app.support.changes.services": "states which concerns are served, for the commands that change supports",
    "app.support.lookup": "finds a support and its dosage for commands of its room and above",
    "app.evidence.screening.cuts": "finds the cuts of a window for the reads and commands of the rooms above",
    "app.insight.counts": "counts the students of a window for the reads of its room",
    "app.signal.compute": "finds the candidates of rules for its own marked functions and the previews of its room",
    "app.signal.stalls.compute": "computes for the marked functions of its room, as they do",
    "app.signal.progress": "saves how far the computation of its room has come; the function of a sync is marked",
    "app.support.phase": "writes a phase for the commands of its room",
    "app.evidence.terms": "locks, checks and inserts scores for the command of its room",
    "app.playbook.measures.in_process": "keeps what the commands that ask for it may read",
}
"""Modules whose functions use the caller's unit of work without a mark, with the reason."""
ENDS = {"commit", "rollback", "begin", "begin_nested", "close"}
MAKES_SESSIONS = {"AsyncSession", "async_sessionmaker", "sessionmaker", "_open_for"}
HOLDS_ENGINE = {
    "app.access.work": "the door",
    "app.access.directory": "reads before a district is known, bound to nobody, and rolls back",
}
"""Modules that may begin and end a transaction of SQLAlchemy's."""


def unmarked(name: str, tree: ast.Module) -> list[str]:
    """Returns the functions of a module that use a unit of work or a session without declaring permissions."""
    findings = []
    for function in functions(tree):
        where = f"{name}.{function.name}"
        public = not function.name.startswith("_")
        asynchronous = isinstance(function, ast.AsyncFunctionDef)
        if touches_the_session(function) and not takes_work(function) and "db" not in _arguments(function):
            findings.append(f"{where} touches a session that nobody gave it")
        if not takes_work(function) or marked(function) or name in WITHIN:
            continue
        if public and asynchronous:
            findings.append(f"{where} takes a Work and is not marked @needs")
        elif public and touches_the_session(function):
            findings.append(f"{where} touches the session and is not marked @needs")
    return findings


def broken_habits(name: str, tree: ast.Module) -> list[str]:
    """Returns a finding for each place of a module that breaks one of these rules:

    * Only the module of transactions may end a transaction or create a session.
    * No code may go around the checks of a unit of work.
    * A row may not be read by its key alone, without the district.
    * The clock may be read only through `app.core.clock`.
    """
    findings = []
    for node in ast.walk(tree):
        line = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute):
            on_a_session = _name(node.value) in ("db", "session", "_session", "connection")
            if node.attr in ENDS and on_a_session and name not in HOLDS_ENGINE and not _is_drivers(name):
                findings.append(f"{line} calls {node.attr}: only the door ends a transaction")
            if node.attr in ("_session", "_driver", "_made_session") and _name(node.value) != "self":
                findings.append(f"{line} goes around the lock of Work.db")
            if node.attr == "run_step" and not name.startswith(DOOR):
                findings.append(f"{line} runs a step of the door without a permission")
            if node.attr == "get" and _name(node.value) in ("db", "session"):
                findings.append(f"{line} gets a row by its key: a select names the district")
            clock = name == "app.core.clock" or name.startswith("app.sandbox")
            if node.attr in ("now", "utcnow", "today") and _name(node.value) in ("datetime", "date") and not clock:
                findings.append(f"{line} asks for the time around core.clock")
        made = isinstance(node, ast.Name) and node.id in MAKES_SESSIONS and not _annotation_only(tree, node)
        if made and name != "app.access.work":
            findings.append(f"{line} uses {_name(node)}: sessions are made at the door")
    return findings


def rooms() -> Iterator[tuple[str, ast.Module]]:
    """Yields every module that is not in a package of `OUTSIDE`.

    These are, for example, the APIs and the command line.
    """
    for name, tree in modules().items():
        if not name.startswith(OUTSIDE):
            yield name, tree


def marks() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yields every function of `app` with the decorator `needs`."""
    for name, tree in modules().items():
        for function in functions(tree):
            if marked(function):
                yield f"{name}.{function.name}", getattr(imported(name), function.name)


def test_every_function_that_takes_a_work_is_marked() -> None:
    """Every public function that takes a unit of work declares its permissions, or is in a listed module."""
    assert [finding for name, tree in rooms() for finding in unmarked(name, tree)] == []


def test_faces_and_the_rest_never_touch_the_session() -> None:
    """The two APIs never use the database session themselves."""
    faces = {name: tree for name, tree in modules().items() if name.startswith(("app.rest", "app.graphql"))}
    assert faces
    assert [name for name, tree in faces.items() if touches_the_session(tree)] == []


def test_only_the_door_ends_a_transaction() -> None:
    """Only the module of transactions commits, rolls back and creates database sessions."""
    assert [finding for name, tree in modules().items() for finding in broken_habits(name, tree)] == []


def test_every_mark_names_permissions() -> None:
    """Every decorator `needs` names a permission, and every permission is required somewhere."""
    permissions_by_function = dict(marks())
    assert permissions_by_function
    for name, function in permissions_by_function.items():
        required = required_permissions(function)
        assert required, name
        assert all(isinstance(can, Can) for can in required), name
        assert inspect.iscoroutinefunction(function), name
    needed_by_marks = {can for function in permissions_by_function.values() for can in required_permissions(function)}
    needed_by_reads = {can for resource in CATALOG.resources for can in declaration(resource).requires}
    assert needed_by_marks | needed_by_reads == set(Can)


def test_every_permission_is_told_or_internal() -> None:
    """Each permission that a client can be granted has a description for the contract, and all others are internal."""
    assert set(MEANING) == set(GRANTABLE)
    assert set(Can) == GRANTABLE | INTERNAL
    assert all(not opened & INTERNAL for opened in ROLE_OPENS.values())
    assert all(not opened & {Can.ACT_FOR, Can.MANAGE_WEBHOOKS} for opened in ROLE_OPENS.values())


WHEN = date(2026, 1, 5)
FIT = {
    "UUID": UUID(int=1),
    "str": "sis:a:b",
    "str | None": "sis:a:b",
    "int": 1,
    "bool": True,
    "float | None": None,
    "date": WHEN,
    "Support": Support(district_id=UUID(int=1), id=UUID(int=2), school_ids=[], secured_area=None),
    "Phase": Phase(
        begins_on=WHEN,
        ends_on=None,
        baseline=1.0,
        goal=20.0,
        goal_on=date(2026, 5, 4),
        minutes_per_session=30,
        sessions_per_week=3,
    ),
    "Measure": Measure(direction="up", lowest=0.0, highest=100.0, kind="growth"),
    "Measure | None": Measure(direction="up", lowest=0.0, highest=100.0, kind="growth"),
    "Area": Area(secured=False, parent_id=UUID(int=3)),
    "Team": Team(version=1),
    "Meeting": Meeting(version=1),
    "EventType": CONCERN_RAISED,
    "Only": Only(),
    "NamedKind": "student",
    "Keyset": keyset(UUID(int=1), "any", {}, None, None),
    "Select[Any]": select(Score),
    "AgendaQueries": AgendaQueries(select(Score), select(func.count()), {}),
    "InstrumentedAttribute[UUID]": Score.id,
    "Iterable[tuple[str, UUID | None]]": [("student", UUID(int=1))],
    "Iterable[str]": ["stu_00000000000000000000000000"],
    "type[Row]": Person,
    "type[About]": Score,
    "type[MaybeAbout]": ActionItem,
    "Sequence[UUID]": [UUID(int=1)],
    "Sequence[UUID] | None": None,
    "UUID | None": None,
    "Sequence[str]": ["03"],
    "Phase | None": None,
    "Reference": Reference("student", id=UUID(int=1)),
    "list[Reference]": [Reference("student", id=UUID(int=1))],
    "Iterable[UUID]": [UUID(int=1)],
    "Sequence[tuple[UUID, str | None]]": [(UUID(int=1), "2026-01-01")],
    "Iterable[MeasureVersion]": [(UUID(int=1), 1, WHEN)],
    "Sequence[Score]": [Score()],
    "Collection[UUID]": [UUID(int=1)],
    "Sequence[Reminder]": [
        Reminder(NewEvent(CONCERN_RAISED, UUID(int=1), 1, {"student": UUID(int=1)}, student_id=UUID(int=1)), "mark")
    ],
    "Sequence[DosageWindow]": [
        DosageWindow(Support(id=UUID(int=2), school_ids=[]), Phase(begins_on=WHEN, ends_on=None), WHEN, WHEN)
    ],
    "Mapping[UUID, Calendar] | None": None,
    "Mapping[UUID, date]": {UUID(int=1): WHEN},
    "Mapping[UUID, datetime]": {UUID(int=1): NEVER_AT},
    "GoalRow": Phase(begins_on=WHEN, goal=20.0, goal_on=date(2026, 5, 4)),
    "GoalRow | None": None,
    "ScreeningWindow": ScreeningWindow(id=UUID(int=1), season="fall", opens_on=WHEN, closes_on=date(2026, 2, 5)),
    "SignalRule": SignalRule(id=UUID(int=1), kind="unmet_goal", parameters={"days": 7}),
    "Sequence[ScreeningWindow]": [ScreeningWindow(id=UUID(int=1), season="fall", school_year=2026, opens_on=WHEN)],
    "Sequence[SignalRule]": [SignalRule(id=UUID(int=1), kind="core_stall", parameters={"days": 7, "points": 10})],
    "Sequence[ExpectedInWindow]": [],
    "SuggestedLevels": SuggestedLevels(1, 2, 3),
    "Sequence[Dimension]": [Dimension.LEVEL],
    "ResultsQuery": ResultsQuery("outcome AS (SELECT 1)", "outcome", (), {}),
    "IdsByKind": {"team": [UUID(int=1)], "meeting": [UUID(int=1)]},
    "Person": Person(id=UUID(int=1)),
    "Principal": system_principal(UUID(int=1), "test"),
    "Iterable[Score]": [Score(student_id=UUID(int=1), taken_on=WHEN, secured_area=None)],
}
"""A value for each annotation in the modules of `WITHIN`."""


@pytest.mark.parametrize("name", WITHIN)
async def test_what_opens_nothing_itself_is_refused_by_itself(name: str, north: Town) -> None:
    """Functions without the decorator `needs` rely on their caller's permission, and are refused if they are called
    without one.
    """
    attempts = 0
    for function in functions(modules()[name]):
        if function.name.startswith("_") or not isinstance(function, ast.AsyncFunctionDef):
            continue
        called = getattr(imported(name), function.name)
        given = [FIT[ast.unparse(one.annotation)] for one in function.args.args[1:] if one.annotation]
        named = {one.arg: FIT[ast.unparse(one.annotation)] for one in function.args.kwonlyargs if one.annotation}
        async with north.unit(north.client(frozenset())) as work:
            with pytest.raises((Misuse, Forbidden), match=r"outside a function marked|requires the permission"):
                await called(work, *given, **named)
        attempts += 1
    assert attempts


PLANTED = """
@needs(Can.READ_ROSTER)
async def fine(work: Work): return await work.db.scalar(x)
async def read_all(work: Work): return await helper(work)
async def by_another_name(other: "Work | None"): return await other.db.scalar(x)
def quick(work: Work): work.db.add(x)
async def from_nowhere(thing): await thing.db.scalar(x)
async def on_the_driver(work: Work): return await work.run(x, ())
async def _inner(work: Work): await work.db.scalar(x)
"""


def test_planted_functions_without_a_mark_are_found() -> None:
    """`unmarked` reports public functions that use a session or a unit of work without the decorator `needs`, and no
    others.
    """
    names = [finding.split()[0].rsplit(".", 1)[-1] for finding in unmarked("app.concern.planted", ast.parse(PLANTED))]
    assert names == ["read_all", "by_another_name", "quick", "from_nowhere", "on_the_driver"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("await work.db.commit()", "only the door"),
        ("await session.rollback()", "only the door"),
        ("work._session.add(x)", "goes around"),
        ("await work._driver.run(sql, ())", "goes around"),
        ("await work.db.get(Person, 1)", "names the district"),
        ("at = datetime.now(UTC)", "core.clock"),
        ("session = AsyncSession(engine)", "at the door"),
        ("_open_for.set(work)", "at the door"),
        ("await work.run_step(read)", "step of the door"),
    ],
)
def test_a_planted_habit_is_found(line: str, words: str) -> None:
    """`broken_habits` reports each of these violations of a coding rule."""
    tree = ast.parse(f"async def f(work: Work):\n    {line}")
    assert any(words in finding for finding in broken_habits("app.concern.planted", tree))


async def test_a_mark_without_its_permission_is_refused(north: Town) -> None:
    """Every function with the decorator `needs` refuses a caller without the permission before it does anything."""
    nobody = north.client(frozenset())
    for name, function in marks():
        async with north.unit(nobody) as work:
            with pytest.raises(Forbidden, match="requires the permission"):
                await function(work, *[SimpleNamespace()] * (len(inspect.signature(function).parameters) - 1))
        assert name


def test_a_mark_on_a_plain_function_is_refused() -> None:
    """The decorator `needs` refuses a function that is not asynchronous."""
    from app.access.work import needs

    def plain(work: Work) -> None: ...

    with pytest.raises(Misuse, match="not async"):
        needs(Can.READ_ROSTER)(plain)  # type: ignore[arg-type]  # the type forbids it too


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _arguments(function: ast.AsyncFunctionDef | ast.FunctionDef) -> set[str]:
    return {one.arg for one in [*function.args.args, *function.args.kwonlyargs]}


def _is_drivers(name: str) -> bool:
    # Connections of asyncpg's own, closed by whoever opened them: start-up checks, migrations, the sync's COPY.
    return name in ("app.core.db", "app.cli.citus", "app.cli.migrate") or name.startswith("app.sandbox")


def _annotation_only(tree: ast.Module, name: ast.Name) -> bool:
    annotations = [node.annotation for node in ast.walk(tree) if isinstance(node, ast.arg)]
    annotations += [node.returns for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return any(name is inner for node in annotations if node is not None for inner in ast.walk(node))
