"""Manages the file by which the command line finds a running playground: its database, key file and address.

A playground keeps its folder locked as long as it is running. The lock ends with the playground even if it is killed,
so a file in a folder that is not locked is outdated.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.sandbox.process import REPOSITORY, PlaygroundError
from app.sandbox.saved_district import write_private

FILE, LOCK, FOLDER = "running.json", "playground.lock", ".aimline"
SETTINGS = (
    "AIMLINE_DATABASE_URL",
    "AIMLINE_API_DATABASE_URL",
    "AIMLINE_WORKER_DATABASE_URL",
    "AIMLINE_KEY_FILE",
    "AIMLINE_KEY",
    "AIMLINE_BASE_URL",
    "AIMLINE_SANDBOX",
)
"""The settings that the file provides for the command line."""
PATIENCE = 0.5
"""The seconds to wait for the lock. A command that looks for a running playground holds the lock for a moment."""
VARIABLE = "AIMLINE_PLAYGROUND"
"""The environment variable that gives the folder of a playground that is not in the usual place."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks the folder during the block, so that only one playground at a time uses it."""
    with (folder / LOCK).open("w") as file:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    why = f"Aimline already runs in {folder}. Stop it, or give this one another with --folder DIR."
                    raise PlaygroundError(why) from None
                time.sleep(0.02)
        yield


@contextlib.contextmanager
def published(folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Writes the settings of a running playground to a file in its folder. Only the file's owner can read the file.

    The file is removed at the end of the block.
    """
    settings = {name: environment[name] for name in SETTINGS if environment.get(name)}
    write_private(folder / FILE, json.dumps(settings | {"pid": os.getpid()}, indent=1))
    try:
        yield
    finally:
        (folder / FILE).unlink(missing_ok=True)


def running_playground() -> tuple[Path, dict[str, str]] | None:
    """Returns the folder and the settings of the running playground, or None.

    If AIMLINE_PLAYGROUND is set, only the folder that it names is examined. Otherwise, the folder in the current
    directory is examined, and then the folder in the checkout.
    """
    folder_variable = os.environ.get(VARIABLE)
    folders = [Path(folder_variable)] if folder_variable else [Path.cwd() / FOLDER, REPOSITORY / FOLDER]
    for folder in folders:
        settings = _settings_in(folder)
        if settings is not None:
            return folder.resolve(), settings
    return None


def _settings_in(folder: Path) -> dict[str, str] | None:
    file = folder / FILE
    try:
        status = file.lstat()
        # Anybody who could write the file could lead the command line to another database.
        if status.st_uid != os.geteuid() or status.st_mode & 0o077 or not _is_locked(folder / LOCK):
            return None
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return {name: content[name] for name in SETTINGS if isinstance(content.get(name), str)}


def _is_locked(lock: Path) -> bool:
    """Returns whether a running playground has the lock, without waiting, and without opening a file for writing."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
