"""The command line loads what it is asked for: each command alone, and no database for what needs none."""

import subprocess
import sys

import pytest
from typer.main import get_command

from app.cli import COMMANDS, command_line
from tests.processes import REPOSITORY, environment


def _names(command: str | None) -> set[str]:
    return set(getattr(get_command(command_line(command)), "commands", {}))


def test_every_command_has_its_module() -> None:
    """A command that is not listed would be found in the help and then be called unknown."""
    assert _names(None) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_there_when_it_is_loaded_alone(command: str) -> None:
    """By its own module, under its own name."""
    assert command in _names(command)


def test_judging_offline_loads_no_database() -> None:
    """`aimline judge` is for people without a server, and begins at once."""
    asked = "import sys; from app.cli import command_line; command_line('judge'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", asked], cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=True
    ).stdout.split()
    assert "app.cli.judge" in loaded
    assert not {"sqlalchemy", "asyncpg", "fastapi"} & set(loaded)
