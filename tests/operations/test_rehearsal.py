"""Tests that the rehearsal in `docs/backup.md` works as written, and that the page names only existing commands."""

import asyncio
import os
import re
import secrets
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.cli import command_line
from app.core.postgres_wheel import binary
from app.settings import Settings
from tests.databases import drop_database
from tests.operations.conftest import Installation, as_owner, with_database
from tests.processes import REPOSITORY, environment

pytestmark = pytest.mark.long

PAGES = ("backup.md", "deploy.md")
COMMAND = re.compile(r"(?:^\$? ?|`|&& )(aimline [a-z][^`\n#|;&]*)", re.MULTILINE)


def script(page: str) -> str:
    """Returns the only block of a page that is marked as bash."""
    (text,) = re.findall(r"^```bash\n(.*?)^```", (REPOSITORY / "docs" / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(text)


async def test_the_rehearsal_runs_as_written(source: Installation, server: Settings, tmp_path: Path) -> None:
    """Each command of the rehearsal in the documentation works.

    The database has a sync that waits for approval, and an upload that waits for the worker.
    """
    name = f"aimline_rehearsal_{secrets.token_hex(4)}"
    commands = script("backup.md").replace("aimline_rehearsal", name)
    programs = tmp_path / "bin"
    _link(programs)
    target = with_database(server, name)
    env = environment(source.settings, BACKUPS=str(tmp_path), REHEARSAL_URL=target.url_of("owner"))
    env |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "DISTRICT": source.town.slug}
    try:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            commands,
            env=env,
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, errors = await asyncio.wait_for(process.communicate(), 240)
        assert process.returncode == 0, errors.decode()
        output = out.decode()
        assert "The backup is complete, its keys are available, and the database is empty." in output
        assert "Held syncs were discarded (1): run them again." in output
        assert "The schema is the one of version" in output
        assert "discarded. The database was restored from a backup" in output
        assert await as_owner(target, "SELECT count(*) FROM person") == await as_owner(
            source.settings, "SELECT count(*) FROM person"
        )
    finally:
        await drop_database(server.url_of("owner"), name)


def _link(programs: Path) -> None:
    programs.mkdir()
    (programs / "psql").symlink_to(binary("psql"))
    (programs / "aimline").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app "$@"\n')
    (programs / "aimline").chmod(0o755)


def documented_commands() -> list[str]:
    """Returns every `aimline` command in the documentation of backup and deployment."""
    commands: set[str] = set()
    for page in PAGES:
        path = REPOSITORY / "docs" / page
        commands |= {one.strip() for one in COMMAND.findall(path.read_text().replace("\\\n", " "))}
    return sorted(commands)


def test_the_pages_tell_commands() -> None:
    """The search for commands in the documentation finds some. Otherwise the next test would check nothing."""
    assert len(documented_commands()) > 8


@pytest.mark.parametrize("typed", documented_commands())
def test_the_command_line_knows_it(typed: str) -> None:
    """Every command in the documentation of backup and deployment exists, with all of its options."""
    words = shlex.split(typed)[1:]
    command: Any = get_command(command_line(words[0]))
    while words and (group := getattr(command, "commands", None)):
        assert words[0] in group, f"There is no command {words[0]!r}."
        command, words = group[words[0]], words[1:]
    known_options: set[str] = set()
    for parameter in command.params:
        known_options |= {*parameter.opts, *parameter.secondary_opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known_options
