"""Manages the file that stores what a playground must know about its district at the next start."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Self


@dataclass
class SavedDistrict:
    """What is saved about a playground's district: its API client, a student, a support, and the caseload.

    `begun_on` is the Monday of the week in which the district was created. `data_until` is the last day for which data
    was recorded.
    """

    slug: str
    client_id: str
    client_secret: str
    student: str
    support: str
    begun_on: str
    data_until: str
    caseload: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path) -> Self | None:
        """Returns the district in a file, or None if the file does not exist or was written by another version."""
        try:
            return cls(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, file: Path) -> None:
        """Writes the district to a file atomically, readable by the file's owner only."""
        write_private(file, json.dumps(asdict(self), indent=1))

    @property
    def monday(self) -> date:
        """Returns the Monday of the week in which the district was created.

        The caseload counts its weeks from this day.
        """
        return date.fromisoformat(self.begun_on)

    @property
    def last_day(self) -> date:
        """Returns the last day for which scores and sessions were recorded."""
        return date.fromisoformat(self.data_until)


def file_of(folder: Path, roster: Path | None) -> Path:
    """Returns the path of the file in which a folder's district is saved.

    The synthetic district and each given roster have separate files.
    """
    if roster is None:
        return folder / "district.json"
    with roster.open("rb") as content:
        return folder / f"district-{hashlib.file_digest(content, 'sha256').hexdigest()[:12]}.json"


def write_private(file: Path, text: str) -> None:
    """Writes a text to a file atomically, readable by the file's owner only."""
    unfinished = file.with_name(f"{file.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as writer:
        writer.write(text)
    unfinished.rename(file)
