"""Builds a CSV file of scores that a test can alter, imports it, and reads the recorded scores."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.sis.engine.report import Report
from app.sis.service import sync_scores
from tests.sis.roster_zip import ask
from tests.town import Town

COLUMNS = ("studentSourcedId", "measure", "date", "attempt", "value", "form", "purpose", "externalId")
FIRST = {"amy": "amy-1", "ben": "ben-1", "cy": "cy-1"}
Row = dict[str, str]


def line(student: str, value: str, name: str, day: str = "2026-09-09", **cells: str) -> Row:
    """Returns a row of the file."""
    row = {"studentSourcedId": student, "measure": "orf", "date": day, "value": value, "externalId": name}
    return {"attempt": "", "form": "", "purpose": "screening", **row, **cells}


def window() -> list[Row]:
    """Returns the rows of a screening window: one score of each student of the district."""
    return [line(student, str(40 + n), f"w{n}") for n, student in enumerate(FIRST.values())]


@dataclass
class Scores:
    """The rows of a file, in the order of `columns`."""

    rows: list[Row] = field(default_factory=window)
    columns: Sequence[str] = COLUMNS

    def text(self) -> str:
        """Returns the file's text."""
        out = io.StringIO(newline="")
        sheet = csv.DictWriter(out, self.columns, restval="", extrasaction="ignore", lineterminator="\r\n")
        sheet.writeheader()
        sheet.writerows(self.rows)
        return out.getvalue()

    def write(self, path: Path) -> Path:
        """Writes the file and returns its path."""
        path.write_text(self.text(), newline="")
        return path


def _path(scores: Scores | Path, folder: Path) -> Path:
    return scores if isinstance(scores, Path) else scores.write(folder / "scores.csv")


async def load(town: Town, scores: Scores | Path, folder: Path, *, dry: bool = False, source: str = "vendor") -> Report:
    """Imports a file of scores as the command line does."""
    path, keyring = _path(scores, folder), town.settings.keyring
    return await sync_scores(
        town.worker_engine, keyring, town.district_id, path, source, dry, lambda _doing, _done, _of: None
    )


async def scores_of(town: Town, which: str = "s.removed_at IS NULL") -> list[tuple[Any, ...]]:
    """Returns the scores of the district as rows: external id, student, value, day, attempt, form and purpose."""
    rows = await ask(
        town,
        f"""SELECT s.external_id, e.sourced_id, s.value, s.taken_on::text, s.attempt, s.form, s.purpose
            FROM score s JOIN external_id e ON e.district_id = :district AND e.row_id = s.student_id
            WHERE s.district_id = :district AND {which} ORDER BY 1, 2, 3""",
    )
    return [tuple(row) for row in rows]


async def versions(town: Town) -> list[Any]:
    """Returns which transaction wrote each score of the district, so that any write shows as a change."""
    return await ask(
        town, "SELECT s.id, s.xmin::text, s.version FROM score s WHERE s.district_id = :district ORDER BY 1"
    )


def refused(report: Report) -> Iterable[tuple[int, str, str]]:
    """Returns the row, the field and the code of each quarantined row."""
    return [(refusal.row, refusal.field, refusal.code) for refusal in report.refusals]
