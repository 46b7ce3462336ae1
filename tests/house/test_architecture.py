"""Protects the layout: arrows, sizes, first lines, names, and what must never be in a tracked file."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source import APP, REPOSITORY, modules

MOST_LINES = 400
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc", "data"}
# Put together here, so that this file does not hold what it looks for.
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "docker" + ".io"]
PLACES = ["/wo" + "rk/", "/tmp/" + "venv", "/ro" + "ot/", "/home" + "/"]
MAY_NAME = {
    "tests/house/test_architecture.py": "puts the patterns together",
}


def tracked() -> list[Path]:
    """The files that are in the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    return [REPOSITORY / name for name in listed.decode().split("\0") if name and (REPOSITORY / name).is_file()]


def refused(text: str) -> list[str]:
    """What of the refused is in a text."""
    return [
        pattern
        for pattern in (*REGISTRIES, *PLACES)
        if re.search(rf"(?<![\w./-]){re.escape(pattern)}", text) or (pattern in REGISTRIES and pattern in text)
    ]


def broken_module(name: str, tree: ast.Module, lines: int) -> list[str]:
    """What is wrong with a module's shape."""
    found = []
    if lines > MOST_LINES:
        found.append(f"{name} has {lines} lines; {MOST_LINES} is the most")
    if ast.get_docstring(tree) is None:
        found.append(f"{name} does not begin by saying what it owns")
    if NAMES_THAT_SAY_NOTHING & set(name.split(".")):
        found.append(f"{name} has a name that says nothing")
    return found


def broken_contracts(folder: Path) -> str:
    """Returns what import-linter reports about the `app` in a folder, or nothing where every contract is kept."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return ended.stdout + ended.stderr if ended.returncode else ""


def test_imports_go_down_the_layers() -> None:
    """The contracts of import-linter in pyproject.toml hold."""
    assert broken_contracts(REPOSITORY) == ""


@pytest.mark.parametrize(
    ("planted", "source", "contract"),
    [
        ("app/attendance/__init__.py", "", "Imports go down the layers only"),
        ("app/support/planning/rules.py", "import sqlalchemy\n", "Rules are pure"),
        ("app/roster/upward.py", "import app.concern.models\n", "Imports go down the layers only"),
    ],
    ids=["a room that nobody listed", "a rule with a database", "an import upwards"],
)
def test_a_planted_import_fault_is_found(tmp_path: Path, planted: str, source: str, contract: str) -> None:
    """Protects the contracts themselves: each kind of fault, planted in a copy of the tree, is reported."""
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
    """No file over 400 lines, each begins with a docstring, none has a name that says nothing."""
    found = []
    for name, tree in modules().items():
        path = REPOSITORY / Path(*name.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        found += broken_module(name, tree, source.read_text().count("\n"))
    assert found == []


def test_a_room_has_at_most_eight_files() -> None:
    """Thirteen for the sync; the faces have one file a resource, and are not counted."""
    faces = {"rest", "graphql", "oneroster", "cli", "sandbox", "core", "access"}
    for room in (path for path in APP.iterdir() if path.is_dir() and path.name not in faces):
        files = [path.name for path in room.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= (13 if room.name == "sis" else 8), (room.name, sorted(files))


def test_no_tracked_file_names_a_registry_or_a_place_of_some_machine() -> None:
    """What is pushed holds for every machine and names no index."""
    found = []
    for path in tracked():
        name = str(path.relative_to(REPOSITORY))
        if name in MAY_NAME:
            continue
        try:
            found += [f"{name}: {pattern}" for pattern in refused(path.read_text())]
        except UnicodeDecodeError:
            continue
    assert found == []


@pytest.mark.parametrize("pattern", [*REGISTRIES, *PLACES])
def test_a_planted_name_is_found(pattern: str) -> None:
    """The search sees what it is there for."""
    assert refused(f"see {pattern}x") == [pattern]


def test_a_planted_module_is_found() -> None:
    """The shape of a module is looked at."""
    found = broken_module("app.concern.helpers", ast.parse("x = 1"), MOST_LINES + 1)
    assert len(found) == 3
