"""Compares the schema version of a database with the migrations of this code."""

from enum import Enum
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "migrations" / "versions"


class SchemaState(Enum):
    """The state of a database's schema relative to this code."""

    CURRENT = "up to date"
    BEHIND = "behind: run aimline migrate"
    AHEAD = "ahead of this code"


@cache
def migrations() -> tuple[str, ...]:
    """Returns the revisions of this code's migrations, oldest first, read from the beginnings of the file names."""
    return tuple(sorted(path.name.partition("_")[0] for path in FOLDER.glob("[0-9]*_*.py")))


def schema_state(version: str | None, revisions: tuple[str, ...]) -> SchemaState:
    """Returns how a database's schema version relates to this code's migrations.

    A schema that is newer than the code is usable. Migrations run before the processes are replaced, and as long as
    processes with the old code may still run, migrations only add to the schema.
    """
    if not revisions or version == revisions[-1]:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if version is None or version in revisions else SchemaState.AHEAD
