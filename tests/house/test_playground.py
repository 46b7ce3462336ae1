"""Tests that `dev.py run`, if it cannot start, prints one sentence with the cause and the remedy."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]


def playground(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`dev.py run` without its set-up; every case here ends by itself within seconds."""
    return subprocess.run(
        [sys.executable, "-m", "app.sandbox.playground", "--once", *map(str, arguments)],
        cwd=REPO,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """Nothing is started, and the sentence names the port and `--port`."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = playground("--port", port, "--folder", tmp_path / "folder")
    assert ended.returncode == 1
    assert f"Port {port} cannot be used" in ended.stderr
    assert "--port" in ended.stderr
    assert not (tmp_path / "folder").exists()


def test_a_second_playground_in_the_folder_says_so(tmp_path: Path) -> None:
    """Two at once would share logs and a database; the second ends with a sentence."""
    with (tmp_path / "playground.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = playground("--port", 0, "--folder", tmp_path)
    assert ended.returncode == 1
    assert f"already runs in {tmp_path}" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_roster_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    """A wrong argument is a usage error, not a failed story."""
    ended = playground("--roster", tmp_path / "none.zip", "--folder", tmp_path / "folder")
    assert ended.returncode == 2
    assert "there is no file" in ended.stderr
    assert not (tmp_path / "folder").exists()


def test_a_process_that_ends_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    """A database that does not answer shows in the migration; its log is quoted and the key is kept safe."""
    nowhere = f"postgresql://owner@/aimline?host={tmp_path}"
    ended = playground("--port", 0, "--folder", tmp_path / "folder", AIMLINE_DATABASE_URL=nowhere)
    assert ended.returncode == 1
    assert "The migration ended with code" in ended.stderr
    assert (tmp_path / "folder" / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
