"""Tests the layout: import directions, sizes, docstrings, names, and texts that no tracked file may contain."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.source import APP, REPOSITORY, modules

MAX_LINES = 400
MAX_FILES = 12
NOT_ROOMS = {"rest", "graphql", "cli", "sandbox", "core"}
"""Folders that are no rooms: the APIs, the command line, the sandbox, and the packages that all rooms use."""
TYPES_ONLY = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import app.access.work\n"
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc", "data"}
# Put together here, so that this file does not hold what it looks for.
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "docker" + ".io"]
PLACES = ["/wo" + "rk/", "/tmp/" + "venv", "/ro" + "ot/", "/home" + "/"]
MAY_NAME = {
    "tests/house/test_architecture.py": "puts the patterns together",
}


def tracked() -> list[Path]:
    """Returns the files that are tracked by git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    return [REPOSITORY / name for name in listed.decode().split("\0") if name and (REPOSITORY / name).is_file()]


def refused(text: str) -> list[str]:
    """Returns the refused patterns that occur in a text."""
    return [
        pattern
        for pattern in (*REGISTRIES, *PLACES)
        if pattern in text and (pattern in REGISTRIES or re.search(rf"(?<![\w./-]){re.escape(pattern)}", text))
    ]


def broken_module(name: str, tree: ast.Module, lines: int) -> list[str]:
    """Returns the findings about a module's size, docstring and name."""
    findings = []
    if lines > MAX_LINES:
        findings.append(f"{name} has {lines} lines; {MAX_LINES} is the most")
    if ast.get_docstring(tree) is None:
        findings.append(f"{name} does not begin by saying what it owns")
    if NAMES_THAT_SAY_NOTHING & set(name.split(".")):
        findings.append(f"{name} has a name that says nothing")
    return findings


def broken_contracts(folder: Path) -> str:
    """Returns import-linter's findings about the `app` in a folder."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return ended.stdout + ended.stderr if ended.returncode else ""


def test_imports_go_down_the_layers() -> None:
    """The contracts of import-linter in pyproject.toml hold, so imports go down the layers."""
    assert broken_contracts(REPOSITORY) == ""


@pytest.mark.parametrize(
    ("planted", "source", "contract"),
    [
        ("app/attendance/__init__.py", "", "Imports go down the layers only"),
        ("app/support/planning/rules.py", "import sqlalchemy\n", "Rules are pure"),
        ("app/roster/upward.py", "import app.concern.models\n", "Imports go down the layers only"),
        ("app/sis/engine/upward.py", "", "Imports go down the layers of sis.engine"),
        ("app/response/judging/series.py", "import app.response.judging.judge\n", "layers of response.judging"),
        ("app/access/audit.py", TYPES_ONLY, "No imports go in a circle, nor those for types only"),
    ],
    ids=[
        "a room that nobody listed",
        "a rule with a database",
        "an import upwards",
        "a file of a sub-room that nobody listed",
        "an import upwards in a sub-room",
        "a circle of types",
    ],
)
def test_a_planted_import_fault_is_found(tmp_path: Path, planted: str, source: str, contract: str) -> None:
    """If a forbidden import of any kind is added to a copy of the app, import-linter reports it."""
    shutil.copytree(APP, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    module = tmp_path / planted
    module.parent.mkdir(exist_ok=True)
    (module.parent / "__init__.py").touch()
    module.write_text(source)
    report = " ".join(broken_contracts(tmp_path).split())
    assert f"{contract}" in report
    assert re.search(rf"{re.escape(contract)}[^.]*? BROKEN", report), report


def test_every_module_is_small_and_says_what_it_owns() -> None:
    """Every file has at most 400 lines, a docstring at its beginning, and a name that says something."""
    findings = []
    for name, tree in modules().items():
        path = REPOSITORY / Path(*name.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        findings += broken_module(name, tree, source.read_text().count("\n"))
    assert findings == []


def sub_rooms(folder: Path) -> set[Path]:
    """Returns the subfolders of `app` that have layers of their own in pyproject.toml."""
    contracts = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    names = {name for one in contracts if one["type"] == "layers" for name in one["containers"]}
    return {folder.joinpath(*name.split(".")) for name in names if name != "app"}


def rooms_too_large(folder: Path) -> list[str]:
    """Returns a finding for each folder of `app` that has more than `MAX_FILES` Python files.

    The top-level folders are checked, and the subfolders for which pyproject.toml declares layers. A subfolder with
    layers counts as one file of the folder above it. In all other subfolders, each file counts. Files named
    `__init__.py` do not count.
    """
    declared, findings = sub_rooms(folder), []
    rooms = {path for path in (folder / "app").iterdir() if path.is_dir() and path.name not in NOT_ROOMS}
    for room in sorted(rooms | declared):
        inside = [other for other in declared if room in other.parents]
        nearest = [one for one in inside if not any(other in one.parents for other in inside)]
        files = [
            path
            for path in room.rglob("*.py")
            if path.name != "__init__.py" and not any(other in path.parents for other in nearest)
        ]
        if len(files) + len(nearest) > MAX_FILES:
            findings.append(f"{room.relative_to(folder)} has {len(files)} files and {len(nearest)} sub-rooms")
    return findings


def test_a_room_has_at_most_twelve_files() -> None:
    """A top-level folder of `app` has at most twelve Python files. The two APIs and the sandbox may have more."""
    assert rooms_too_large(REPOSITORY) == []


def test_a_planted_thirteenth_file_is_found(tmp_path: Path) -> None:
    """Files in a subfolder without declared layers count towards the limit of the folder above it, at any depth."""
    (tmp_path / "app").mkdir()
    shutil.copytree(APP / "sis", tmp_path / "app" / "sis", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    assert rooms_too_large(tmp_path) == []
    for number in range(MAX_FILES + 1):
        planted = tmp_path / "app" / "sis" / "runs" / "deep" / "down" / f"file_{number}.py"
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.touch()
    assert [one.split(" has ")[0] for one in rooms_too_large(tmp_path)] == ["app/sis/runs"]


def test_no_tracked_file_names_a_registry_or_a_place_of_some_machine() -> None:
    """No tracked file contains the name of a package registry or a local path of a machine."""
    findings = []
    for path in tracked():
        name = str(path.relative_to(REPOSITORY))
        if name in MAY_NAME:
            continue
        try:
            findings += [f"{name}: {pattern}" for pattern in refused(path.read_text())]
        except UnicodeDecodeError:
            continue
    assert findings == []


@pytest.mark.parametrize("pattern", [*REGISTRIES, *PLACES])
def test_a_planted_name_is_found(pattern: str) -> None:
    """`refused` finds each forbidden text, such as the name of a package registry, in a sentence that contains it."""
    assert refused(f"see {pattern}x") == [pattern]


def test_a_planted_module_is_found() -> None:
    """`broken_module` finds all three faults of a module: too many lines, no docstring, and a meaningless name."""
    findings = broken_module("app.concern.helpers", ast.parse("x = 1"), MAX_LINES + 1)
    assert len(findings) == 3


def test_what_one_step_of_ci_leaves_out_the_other_runs() -> None:
    """The tests that one step of CI leaves out are run by the other step."""
    steps = (REPOSITORY / ".ci" / "run").read_text()
    assert re.search(r"^step .* python3 dev\.py test$", steps, re.MULTILINE)
    assert re.search(r"^step .* python3 dev\.py test .*-m long( #.*)?$", steps, re.MULTILINE)
    assert '"-m", "not long"' in (REPOSITORY / "dev.py").read_text()
