"""Reads and writes a backup's manifest, which lists the files in the folder and the facts that a restore checks.

The manifest never contains a key, only the ids of the keys that a restore needs.
"""

import hashlib
from pathlib import Path
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.errors import AimlineError

MANIFEST, DUMP, SCHEMA = "manifest.json", "database.dump", "schema.txt"
PART = 1 << 20


class File(BaseModel):
    """A file of the backup, with the size and the digest by which it is verified."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """The description of a backup: its time, server, role names and key ids, and the number of rows of each table."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    made_at: str = Field(description="The instant of the snapshot, UTC.")
    revision: str = Field(description="The migration that the schema is at.")
    server_major: int
    dump_major: int = Field(description="The version of pg_dump: an older pg_restore cannot read it.")
    roles: dict[str, str] = Field(description="The names of owner, api and worker on that server.")
    key_ids: list[str] = Field(description="The ids of the keys that sealed values need. Never a key.")
    tables: dict[str, int] = Field(description="Rows by table, counted in the snapshot that was dumped.")
    files: dict[str, File]

    @property
    def rows(self) -> int:
        """Returns the number of rows of all tables together."""
        return sum(self.tables.values())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest into the folder."""
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest.model_dump(), option=orjson.OPT_INDENT_2) + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Returns a backup's manifest; raises `AimlineError` if the folder has no backup that this version can read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise AimlineError(f"{folder} contains no backup: it has no {MANIFEST}.", code="backup.missing") from None
    except OSError as error:
        raise AimlineError(f"{folder / MANIFEST} cannot be read: {error.strerror}.", code="backup.missing") from None
    except ValidationError:
        raise AimlineError(f"{folder / MANIFEST} is not a manifest of format 1.", code="backup.format") from None


def measure_file(path: Path) -> File:
    """Returns the size and the SHA-256 of a file, which is read in parts."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
            size += len(part)
    return File(bytes=size, sha256=digest.hexdigest())


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises `AimlineError` if a file of the backup is missing, truncated or changed."""
    for name, expected in manifest.files.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise AimlineError(f"The backup is incomplete: {name} is missing.", code="backup.damaged")
        if path.stat().st_size != expected.bytes or measure_file(path) != expected:
            raise AimlineError(f"The backup is damaged: {name} was changed.", code="backup.damaged")
