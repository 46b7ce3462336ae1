"""The command line loads what it is asked for: each command alone, and no database for what needs none."""

import json
import socket
import subprocess
import sys
import time
from contextlib import suppress

import httpx
import pytest
from typer.main import get_command

from app.cli import COMMANDS, command_line
from app.settings import Settings
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


def test_each_process_of_the_api_logs_json(settings: Settings) -> None:
    """A collector reads every line, whichever process wrote it; and no process prints a fault with what it held."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "app", "serve", "--port", str(port), "--workers", "2"]
    serving = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{port}") as client:
            _up(client)
        serving.terminate()
        said, _ = serving.communicate(timeout=30)
    finally:
        serving.kill()
        serving.wait()
    lines = said.splitlines()
    assert lines
    assert {json.loads(line)["event"] for line in lines} == {"request"}


def _up(client: httpx.Client) -> None:
    """Waits for the first answer."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            assert client.get("/health/live").is_success
            return
        time.sleep(0.05)
    raise TimeoutError("The api did not come up.")
