"""Tests that `docs/sync.md` names only commands and options that exist, and explains each code of quarantine."""

import re
import shlex
from typing import Any

import pytest
from typer.main import get_command

from app.cli import command_line
from tests.processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "sync.md"
SHORT = re.compile(r"(?:^\$ |`)(aimline [^`\n]*?)(?:`|$)", re.MULTILINE)
LONG = re.compile(r"^\$ aimline [^\n]*\\\n(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)

CODE = re.compile(
    "[\"' ]((?:value|status|role|type|date|dates|instant|boolean|number|json|sourcedId|reference|row|measure|score)"
    "[.][a-z_]+)[\"']"
)
ACKNOWLEDGED = "sourcedId.same_person"  # of an acknowledgement, not of a row


def commands() -> list[str]:
    """Returns every command on the page. A command that is written on several lines counts as one command."""
    page = PAGE.read_text()
    long = [one.removeprefix("$ ").replace("\\\n", " ") for one in LONG.findall(page)]
    return sorted({*SHORT.findall(LONG.sub("", page)), *long})


def test_the_page_tells_commands() -> None:
    """`commands` finds more than 15 commands on the page, so that the next test has something to check."""
    assert len(commands()) > 15


@pytest.mark.parametrize("typed", commands())
def test_the_command_line_knows_it(typed: str) -> None:
    """A command on the page exists, with all of its options."""
    words = shlex.split(typed)[1:]
    command: Any = get_command(command_line(words[0]))
    while words and (group := getattr(command, "commands", None)):
        assert words[0] in group, f"There is no command {words[0]!r}."
        command, words = group[words[0]], words[1:]
    known_options: set[str] = set()
    for parameter in command.params:
        known_options |= {*parameter.opts, *parameter.secondary_opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known_options


def test_each_code_of_quarantine_has_a_paragraph() -> None:
    """Each code that the sync gives to a quarantined row has a paragraph on the page, and no paragraph is left over."""
    folder = REPOSITORY / "app" / "sis"
    texts = [path.read_text() for path in (*(folder / "engine").rglob("*.py"), folder / "kinds.py")]
    used = {code for text in texts for code in CODE.findall(text)} - {ACKNOWLEDGED}
    explained = set(re.findall(r"^\* \*\*`([a-zA-Z_.]+)`\*\*", PAGE.read_text(), re.MULTILINE))
    assert len(used) > 30
    assert used == explained
