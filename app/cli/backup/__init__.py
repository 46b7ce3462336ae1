"""Defines `aimline backup`, which dumps the database into a folder, and `aimline restore`, which loads it again.

Both commands run PostgreSQL's programs as the database's owner, which need not be a superuser. A restore needs an empty
database.
"""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import orjson
import typer

from app.cli.interrupt import raise_on_signals, run_interruptible
from app.core.plural import pluralize
from app.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
PROGRESS_INTERVAL = 10.0
"""The seconds between two progress lines when standard error is not a terminal."""


def add_to(app: typer.Typer) -> None:
    """Adds `aimline backup` and `aimline restore` to the command line."""

    @app.command()
    def backup(
        folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
        as_json: AsJson = False,
    ) -> None:
        """Writes a backup of the whole database into a folder, and verifies it."""
        from app.cli.backup.create import create_backup

        raise_on_signals()
        settings = Settings()
        manifest = run_interruptible(create_backup(settings, folder, Progress(quiet=as_json)))
        if as_json:
            print(orjson.dumps({"folder": str(folder), **manifest.model_dump()}).decode())
            return
        print(f"Backed up {manifest.rows:,} rows of {len(manifest.tables)} tables into {folder}.")
        if manifest.key_ids:
            keys = ", ".join(manifest.key_ids)
            print(f"Keep the key file separately: the backup's secrets can be decrypted only with {keys}.")

    @app.command()
    def restore(
        folder: Annotated[Path, typer.Argument(help="A folder that `aimline backup` wrote.")],
        check: Annotated[
            bool, typer.Option("--check", help="Only check whether the backup can be restored here; change nothing.")
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Restores a backup into an empty database, and verifies it."""
        from app.cli.backup.restore import restore_backup

        raise_on_signals()
        restored = restore_backup(Settings(), folder, Progress(quiet=as_json), check_only=check)
        if as_json:
            print(
                orjson.dumps(
                    {"folder": str(folder), "checked": True, **(restored.as_json() if restored else {})}
                ).decode()
            )
        elif restored is None:
            print("The backup is complete, its keys are available, and the database is empty.")
        else:
            print(
                f"Restored {pluralize(restored.rows, 'row', 'rows')} "
                f"of {pluralize(restored.tables, 'table', 'tables')}; "
                f"{pluralize(restored.secrets, 'encrypted value', 'encrypted values')} can be read. "
                f"The change feed of {pluralize(restored.districts, 'district', 'districts')} was restarted."
            )
            if restored.discarded_runs:
                print(f"Held syncs were discarded ({restored.discarded_runs}): run them again.")
            if restored.left_out_roles:
                print(f"Not restored: grants to {', '.join(restored.left_out_roles)}.")


class Progress:
    """Reports progress on standard error: every step on a terminal, and otherwise a line every few seconds."""

    def __init__(self, *, quiet: bool) -> None:
        self._terminal = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._last = time.monotonic()

    def __call__(self, doing: str) -> None:
        """Prints `doing`, the current step. A text that ends with a full stop is always printed, even with `quiet`."""
        if doing.endswith("."):
            print(doing, file=sys.stderr)
        elif self._terminal:
            print(f"\r\033[K{doing}", end="", file=sys.stderr, flush=True)
        elif not self._quiet and time.monotonic() - self._last > PROGRESS_INTERVAL:
            self._last = time.monotonic()
            print(doing, file=sys.stderr, flush=True)

    def __del__(self) -> None:
        if self._terminal:
            with suppress(ValueError):
                print("\r\033[K", end="", file=sys.stderr, flush=True)
