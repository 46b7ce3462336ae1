"""Owns how the version of a database's schema compares with this code's migrations. Never reads the database."""

from enum import Enum
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "migrations" / "versions"


class SchemaState(Enum):
    """How a schema stands to this code."""

    CURRENT = "up to date"
    BEHIND = "behind: run aimline migrate"
    AHEAD = "ahead of this code"


@cache
def migrations() -> tuple[str, ...]:
    """Returns this code's migrations, oldest first. A file's name begins with its revision."""
    return tuple(sorted(path.name.partition("_")[0] for path in FOLDER.glob("[0-9]*_*.py")))


def schema_state(version: str | None, known: tuple[str, ...]) -> SchemaState:
    """Compares the version of a database with the known migrations.

    A schema that is ahead serves: migrations run before the processes are exchanged, and only expand until the last
    process of the old code has ended.
    """
    if not known or version == known[-1]:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if version is None or version in known else SchemaState.AHEAD
