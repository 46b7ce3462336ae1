"""Tests that the states of sync runs are spelled only in `app.sis.rules`, and changed only through it."""

import ast
import re

import pytest

from app.sis.rules import RunState
from tests.house.source import modules

STATES = set(RunState)
IN_SQL = re.compile(rf"\bstate\s*(=|<>|IN \()\s*'({'|'.join(STATES)})'")
CHANGES = "app.sis.engine.state"
"""The only module that may give a run another state."""


def spelled_out(tree: ast.Module) -> list[str]:
    """Returns the states of runs that a module compares, passes or writes into SQL as literals."""
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and _is_state(node.left):
            texts += [text for one in node.comparators for text in _texts(one)]
        elif isinstance(node, ast.keyword) and node.arg == "state":
            texts += _texts(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [one for target in targets for one in (target.elts if isinstance(target, ast.Tuple) else [target])]
            if any(_is_state(name) for name in names):
                texts += _texts(node.value)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            texts += [text for key, value in pairs if key and _texts(key) == ["state"] for text in _texts(value)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := IN_SQL.search(node.value)):
            texts.append(match[2])
    return [text for text in texts if text in STATES]


def changes_a_state(tree: ast.Module) -> bool:
    """Returns whether a module assigns a state to the row of a run, or has an UPDATE of runs that sets one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            is_of_runs = "update(SisRun)" in ast.unparse(node.func.value)
            if is_of_runs and re.search(r"\bstate=|['\"]state['\"]:", ast.unparse(node)):
                return True
        if isinstance(node, ast.Assign):
            targets = [one for target in node.targets for one in ast.walk(target)]
            if any(ast.unparse(one) in ("run.state", "row.state") for one in targets):
                return True
    return False


def _is_state(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "state"
    return isinstance(node, ast.Name) and node.id == "state"


def _texts(node: ast.expr) -> list[str]:
    return [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _of_the_sync() -> dict[str, ast.Module]:
    return {name: tree for name, tree in modules().items() if name.startswith("app.sis.") and name != "app.sis.rules"}


def test_no_state_is_spelled_out() -> None:
    """The code of syncs names run states by their enum and never as literals, so that mypy finds an unknown state."""
    assert {name: texts for name, tree in _of_the_sync().items() if (texts := spelled_out(tree))} == {}


def test_one_function_changes_states() -> None:
    """Only one function changes the state of a run, because any other would bypass the check of allowed transitions."""
    assert [name for name, tree in _of_the_sync().items() if changes_a_state(tree)] == [CHANGES]


@pytest.mark.parametrize(
    "source",
    [
        'if run.state == "held": pass',
        'if state not in ("pending", "x"): pass',
        'report.state, report.sentence = "failed", ""',
        'SisRun(state="running")',
        'values = {"state": "applied"}',
        'class Report:\n    state: str = "running"',
        "QUERY = \"SELECT 1 FROM sis_run WHERE state = 'applied'\"",
    ],
)
def test_a_planted_literal_is_found(source: str) -> None:
    """A run state that is written as a literal is found in each kind of place, such as a comparison or an SQL
    statement.
    """
    assert len(spelled_out(ast.parse(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "run.state = RunState.PENDING",
        "run.state, run.leased_until = RunState.PENDING, None",
        "update(SisRun).where(SisRun.id == run_id).values(state=state, plan=None)",
        'update(SisRun).where(SisRun.id == run_id).values({"state": RunState.HELD})',
    ],
)
def test_a_planted_change_is_found(source: str) -> None:
    """The check finds code that changes the state of a run, by assignment or by an UPDATE statement."""
    assert changes_a_state(ast.parse(source))
