"""Tests the help texts: each command has an example that can be copied, and can answer in JSON."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from typer.main import get_command

from app.cli import command_line
from app.cli.examples import EXAMPLES

PROCESSES = {"serve", "worker", "sandbox sis"}
WRITES_FILES_OR_LINES = {
    "migrate": "says what it did line by line",
    "judge": "reads and writes JSON Lines",
    "contracts": "writes files",
    "key new": "prints a line of a key file",
    "sandbox export": "writes a file",
    "sandbox scores": "writes a file",
    "scaffold": "writes files",
    "sandbox quirks": "a list for people who test",
    "sync quarantine": "prints CSV for the clerk who corrects the rows",
    "sync acknowledge": "says how many rows were acknowledged",
    "sis forget": "a sentence about a person who is to be forgotten",
}


@cache
def commands() -> dict[str, Any]:
    """Returns every command, keyed by its path."""
    return dict(_below(get_command(command_line()), ""))


def _below(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    inside = getattr(command, "commands", None)
    if inside is None:
        yield path, command
        return
    for name, other in inside.items():
        yield from _below(other, f"{path} {name}".strip())


def test_every_command_has_an_example() -> None:
    """Every command has an example, and every example belongs to a command."""
    assert EXAMPLES.keys() == commands().keys()


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_can_be_copied(path: str) -> None:
    """Each example has valid options and arguments and is in the command's help."""
    command = commands()[path]
    assert command.epilog == f"Example: {EXAMPLES[path]}"
    line = re.split(r" [<>] ", EXAMPLES[path])[0]
    words = shlex.split(line)
    named = ["aimline", *path.split()]
    assert words[: len(named)] == named
    with command.make_context(words[0], words[len(named) :]) as context:
        assert context.params is not None


def test_every_command_answers_programs() -> None:
    """Every command has `--json`, except those on a list of exceptions with reasons."""
    without = {
        path
        for path, command in commands().items()
        if "--json" not in {name for one in command.params for name in one.opts}
    }
    assert without == PROCESSES | WRITES_FILES_OR_LINES.keys()
