"""Tests the code that `aimline scaffold` writes: it works in both APIs and passes the checks of the repository.

The command writes the code for a new kind of record, which is named by a noun.
"""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from app.cli.scaffold import EDITS, NEXT, write_noun
from tests.house.source import REPOSITORY
from tests.house.test_architecture import tracked

CHECKS = (
    "mypy --strict app/concern app/catalog.py app/rest/resources.py tests/rooms/test_home_visits.py",
    "pytest -q -p no:cacheprovider tests/rooms/test_home_visits.py tests/house/test_declarations.py "
    "tests/house/test_lists_indexed.py",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository's files."""
    for file in tracked():
        target = tmp_path / file.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    return tmp_path


def _copy_bytecode(target: Path) -> None:
    """Copies Python's compiled files of the repository, so that Python need not compile the sources again."""
    for folder in {file.parent for file in tracked()}:
        compiled = target / folder.relative_to(REPOSITORY) / "__pycache__"
        for file in folder.glob("__pycache__/*.pyc"):
            compiled.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # another process replaces it
                shutil.copy2(file, compiled)


def _copy_types(target: Path) -> None:
    """Copies mypy's cached results for the repository's files, if there are any, so that only changes are checked
    again.
    """
    for file in (REPOSITORY / ".mypy_cache").glob("*/*.db"):
        copied = target / file.relative_to(REPOSITORY)
        copied.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copied)) as cache:
            with suppress(sqlite3.OperationalError):  # mypy, which runs elsewhere, has it locked
                source.backup(cache)


def _run(folder: Path, *command: str) -> None:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-3000:]}{ended.stderr[-2000:]}"


def _printed() -> list[str]:
    """Returns the commands that the scaffold command prints for its caller to run next."""
    return [command for line in NEXT.splitlines() if " && " in line for command in line.strip().split(" && ")]


def _run_program(folder: Path, command: str) -> None:
    program, *arguments = command.split()
    module = {"aimline": "app"}.get(program, program)
    _run(folder, sys.executable, "-m", module, *arguments)


@pytest.mark.long
def test_a_new_noun_passes_the_checks_and_is_in_both_apis(copy: Path) -> None:
    """A kind of record that the scaffold command creates passes all checks and works in both APIs.

    This holds before anybody edits the created files.
    """
    _copy_bytecode(copy)
    _copy_types(copy)
    write_noun(copy, "home_visit", "concern", "home_visits", "hvi")
    for command in [*_printed(), *CHECKS]:
        _run_program(copy, command)


@pytest.mark.parametrize(("noun", "room", "prefix"), [("tea", "note", "zzt"), ("parent_contact", "note", "zzc")])
def test_the_printed_commands_clean_names_of_any_length(copy: Path, noun: str, room: str, prefix: str) -> None:
    """The first commands that the scaffold command prints, which format and check the code, succeed.

    A long name gives lines that are too long until they are formatted, and a short one lines that fit into one.
    """
    write_noun(copy, noun, room, f"{noun}s", prefix)
    for command in _printed()[:2]:
        _run_program(copy, command)


@pytest.mark.parametrize(
    ("noun", "room", "prefix"),
    [
        ("Visit", "concern", "hvi"),
        ("home_visit", "nowhere", "hvi"),
        ("concern", "concern", "hvi"),
        ("visit", "concern", "con"),
    ],
)
def test_a_noun_that_cannot_be_is_refused_before_anything_is_written(
    copy: Path, noun: str, room: str, prefix: str
) -> None:
    """The scaffold command refuses an invalid or existing noun, an unknown package, or an existing prefix of ids.

    It writes no file in this case.
    """
    before = {name: (copy / name).read_text() for name in EDITS}
    with pytest.raises(ValueError, match=r"noun|package|prefix"):
        write_noun(copy, noun, room, f"{noun}s", prefix)
    assert {name: (copy / name).read_text() for name in EDITS} == before
    assert not (copy / "app" / room / noun).exists()
