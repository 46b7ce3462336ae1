"""Tests that `dev.py run`, if it cannot start, prints one sentence with the cause and the remedy."""

import asyncio
import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from app.core.embedded import EmbeddedPostgres
from app.sandbox.database import recreate_database
from app.sandbox.discovery import FILE, LOCK, published
from app.settings import Settings
from tests.processes import environment, warm
from tests.town import Town

REPO = Path(__file__).parents[2]


def playground(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the module of the playground without the set-up of `dev.py run`. Returns its output after it has ended."""
    return subprocess.run(
        [sys.executable, "-m", "app.sandbox.playground", "--once", *map(str, arguments)],
        cwd=REPO,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """If the port is in use, nothing is started. The sentence names the port and the option `--port`."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = playground("--port", port, "--folder", tmp_path / "folder")
    assert ended.returncode == 1
    assert f"Port {port} cannot be used" in ended.stderr
    assert "--port" in ended.stderr
    assert not (tmp_path / "folder").exists()


def test_a_second_playground_in_the_folder_says_so(tmp_path: Path) -> None:
    """A second playground in the same folder ends at once, with one sentence that a playground already runs there."""
    with (tmp_path / "playground.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = playground("--port", 0, "--folder", tmp_path)
    assert ended.returncode == 1
    assert f"already runs in {tmp_path}" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_roster_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    """A roster file that does not exist is a usage error, reported before anything is started."""
    ended = playground("--roster", tmp_path / "none.zip", "--folder", tmp_path / "folder")
    assert ended.returncode == 2
    assert "there is no file" in ended.stderr
    assert not (tmp_path / "folder").exists()


def test_a_process_that_ends_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    """If a process of the playground ends early, the error names the process.

    The test also checks that only the owner can read the playground's folder and its key file.
    """
    nowhere = f"postgresql://owner@/aimline?host={tmp_path}"
    ended = playground("--port", 0, "--folder", tmp_path / "folder", AIMLINE_DATABASE_URL=nowhere)
    assert ended.returncode == 1
    assert "The migration ended with code" in ended.stderr
    assert (tmp_path / "folder" / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


def _run_in_folder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that is given only the folder of a playground, and returns its output."""
    command = ["aimline", *(arguments or ("district", "list", "--json"))]
    return warm().run(command, environment(AIMLINE_PLAYGROUND=str(folder)))


@contextmanager
def _running(folder: Path, settings: Settings) -> Iterator[None]:
    """Makes a folder look like the folder of a running playground with these settings, during the block."""
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with published(folder, environment(settings)):
            yield


def test_the_command_line_finds_a_running_playground(tmp_path: Path, settings: Settings, north: Town) -> None:
    """The command line finds a running playground by a file that only the owner can read.

    It names the playground on standard error.
    """
    with _running(tmp_path, settings):
        assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
        ran = _run_in_folder(tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert north.slug in {one["slug"] for one in json.loads(ran.stdout)["districts"]}
        assert ran.stderr == f"Using the playground in {tmp_path}.\n"
        made = _run_in_folder(
            tmp_path, "client", "create", "--district", north.slug, "--scope", "roster:read", "--json"
        )
        assert json.loads(made.stdout)["client_secret"]
        # Whoever migrates or serves means an installation, and names its database.
        assert "No database" in _run_in_folder(tmp_path, "migrate").stderr
    assert not (tmp_path / FILE).exists()


def test_a_file_that_a_killed_playground_left_is_not_used(tmp_path: Path, settings: Settings) -> None:
    """If a playground was killed, the command line does not use the file that it left behind.

    The file counts only while a running playground holds the lock of the folder.
    """
    with _running(tmp_path, settings):
        left = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(left)
    (tmp_path / FILE).chmod(0o600)
    ran = _run_in_folder(tmp_path)
    assert ran.returncode == 1
    assert f"No playground of this user runs in {tmp_path}." in ran.stderr
    assert "python3 dev.py run" in ran.stderr


def test_a_file_that_others_could_have_written_is_not_used(tmp_path: Path, settings: Settings) -> None:
    """A playground's file is not used if other users could have written it."""
    with _running(tmp_path, settings):
        (tmp_path / FILE).chmod(0o660)
        assert "No database" in _run_in_folder(tmp_path).stderr


def test_a_fresh_start_empties_the_embedded_database(tmp_path: Path) -> None:
    """A fresh start empties the embedded database."""
    with EmbeddedPostgres(tmp_path, settings={"fsync": "off"}) as postgres:
        assert asyncio.run(_tables_after(postgres.url(), "CREATE TABLE kept (id int)")) == ["kept"]
        recreate_database(postgres)
        assert asyncio.run(_tables_after(postgres.url(), "SELECT 1")) == []


async def _tables_after(url: str, statement: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
        return [row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    finally:
        await connection.close()
