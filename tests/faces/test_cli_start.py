"""Tests that a command loads only its own modules, and opens a database only if it needs one."""

import asyncio
import json
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import make_url
from typer import Typer
from typer.main import get_command

from app.cli import COMMANDS, command_line, overview
from app.core.log import FIELDS
from app.settings import Settings
from tests.databases import drop_database, run_statement
from tests.prepared import over_database
from tests.processes import REPOSITORY, TRUSTS_NOBODY, aimline, environment, free_port


def _summaries(app: Typer) -> dict[str, str]:
    """Returns the commands and their summaries in the help."""
    commands = getattr(get_command(app), "commands", {})
    return {name: command.get_short_help_str(200).rstrip(".") for name, command in commands.items()}


def test_the_overview_says_of_every_command_what_it_says_itself() -> None:
    """The overview in the help has the summary of every command, although the commands are not loaded for it."""
    assert _summaries(overview()) == _summaries(command_line())
    code = "import sys; from app.cli import overview; overview(); print(*sys.modules)"
    assert not {"sqlalchemy", "pydantic", "numpy"} & _loaded_by(code)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_there_when_it_is_loaded_alone(command: str) -> None:
    """Each command can be loaded without the others."""
    assert command in _summaries(command_line(command))


def test_judging_offline_loads_no_database() -> None:
    """`aimline judge` starts without loading the libraries of the database and of the web server.

    People can use this command without a server.
    """
    code = "import sys; from app.cli import command_line; command_line('judge'); print(*sys.modules)"
    loaded = _loaded_by(code)
    assert "app.cli.judge" in loaded
    assert not {"sqlalchemy", "asyncpg", "fastapi"} & loaded


def _loaded_by(program: str) -> set[str]:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_each_process_of_the_api_logs_json(settings: Settings) -> None:
    """Every line that the api processes log is JSON with all fields of the log."""
    port = free_port()
    command = [sys.executable, "-m", "app", "serve", "--port", str(port), "--workers", "2"]
    serving = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        with httpx.Client(trust_env=False, verify=TRUSTS_NOBODY, base_url=f"http://127.0.0.1:{port}") as client:
            _up(client)
            # The quotas are of the whole service: each of the two processes announces half.
            assert client.get("/oauth/jwks.json").headers["ratelimit-policy"] == '"address";q=3000;w=60'
        serving.terminate()
        output, _ = serving.communicate(timeout=120)
    finally:
        serving.kill()
        serving.wait()
    lines = output.splitlines()
    assert lines
    assert {json.loads(line)["event"] for line in lines} == {"request"}
    assert all(json.loads(line)["trace_id"] for line in lines)
    assert all(set(FIELDS) <= json.loads(line).keys() for line in lines)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"password": "wrong"}, "refuses the role"), ({"database": "nowhere"}, "no such database")],
    ids=["a wrong password", "no database"],
)
def test_a_command_names_the_reason_why_the_server_refuses_it(
    settings: Settings, changed: dict[str, Any], reason: str
) -> None:
    """If PostgreSQL refuses the connection of a command, the printed sentence has the server's reason."""
    url = make_url(settings.url_of("worker")).set(**changed).render_as_string(hide_password=False)
    command = [sys.executable, "-m", "app", "district", "create", "nobody", "--name", "Nobody", "--time-zone", "UTC"]
    surroundings = environment(settings) | {"AIMLINE_WORKER_DATABASE_URL": url}
    done = subprocess.run(command, cwd=REPOSITORY, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Is it running?" not in done.stderr


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_process_that_starts_before_the_roles_exist_names_the_command_that_makes_them(
    settings: Settings, role: str
) -> None:
    """Before the first `migrate`, `serve` and `worker` end with a sentence that names this command, and without the
    database driver's message.
    """
    url = make_url(settings.url_of("api")).set(password="wrong").render_as_string(hide_password=False)
    surroundings = environment(settings) | {f"AIMLINE_{role.upper()}_DATABASE_URL": url}
    command = [sys.executable, "-m", "app", "serve" if role == "api" else "worker"]
    done = subprocess.run(command, cwd=REPOSITORY, env=surroundings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "`aimline migrate` makes the roles" in done.stderr
    assert "password authentication" not in done.stderr + done.stdout


async def test_a_command_over_an_empty_database_names_migrate(settings: Settings) -> None:
    """Before the first `migrate`, a command ends with a sentence that names `migrate`."""
    name = f"aimline_empty_{secrets.token_hex(4)}"
    await run_statement(settings.url_of("owner"), f"CREATE DATABASE {name}")
    try:
        empty = over_database(settings, name)
        done = await asyncio.to_thread(aimline, empty, "doctor")
    finally:
        await drop_database(settings.url_of("owner"), name)
    assert (done.returncode, done.stderr) == (1, "The schema is not up to date. Run: aimline migrate\n")


@pytest.mark.parametrize(
    "arguments", [("serve", "--port", "0"), ("serve", "--port", "0", "--workers", "2"), ("worker",)]
)
@pytest.mark.parametrize("has_schema", [False, True], ids=["without a schema", "without the grant"])
async def test_a_process_over_a_database_that_it_cannot_read_names_the_reason(
    settings: Settings, *, arguments: tuple[str, ...], has_schema: bool
) -> None:
    """`serve` and `worker` end with one sentence if the database has no schema, or if their role may not read the
    schema.

    The sentence names the reason.
    """
    name = f"aimline_unread_{secrets.token_hex(4)}"
    await run_statement(settings.url_of("owner"), f"CREATE DATABASE {name}")
    try:
        unread = over_database(settings, name)
        if has_schema:
            await run_statement(unread.url_of("owner"), "CREATE TABLE public.alembic_version (version_num text)")
        done = await asyncio.to_thread(aimline, unread, *arguments)
    finally:
        await drop_database(settings.url_of("owner"), name)
    role = "worker" if arguments == ("worker",) else "api"
    reason = f"the role '{role}' may not read the schema." if has_schema else "the database has no schema. Run:"
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"The {role} cannot start: {reason}")
    assert "aimline migrate" in sentence


def test_a_command_names_the_code_of_a_refused_statement(settings: Settings) -> None:
    """If PostgreSQL refuses a statement, the printed sentence has the error's code, and does not ask whether the server
    runs.
    """
    command = [sys.executable, "-m", "app", "district", "create", "nobody", "--name", "Nobody", "--time-zone", "UTC"]
    surroundings = environment(settings) | {"AIMLINE_WORKER_DATABASE_URL": settings.url_of("api")}
    done = subprocess.run(command, cwd=REPOSITORY, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 1
    assert "SQLSTATE 42501" in done.stderr
    assert "Is it running?" not in done.stderr


def _up(client: httpx.Client) -> None:
    """Waits until the server gives its first answer."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            assert client.get("/health/live").is_success
            return
        time.sleep(0.05)
    raise TimeoutError("The api did not come up.")
