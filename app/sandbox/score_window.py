"""Writes a CSV file with screening scores of a synthetic district's students.

The students come from the module `district`.
"""

import csv
from pathlib import Path
from random import Random
from typing import Final

from app.sandbox.district import District

COLUMNS: Final = ("studentSourcedId", "measure", "date", "attempt", "value", "form", "purpose", "externalId")
MEAN, DEVIATION, HIGHEST = 60.0, 22.0, 300.0  # words correct a minute


def export_scores(district: District, path: Path, measure: str) -> int:
    """Writes one score of each student, taken on the date of the simulated district. Returns the number of scores.

    The same district always gives the same bytes.
    """
    rows = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        sheet = csv.writer(file, lineterminator="\r\n")
        sheet.writerow(COLUMNS)
        for user in district.users():
            if user.role == "student":
                value = Random(f"{district.seed}/{measure}/{user.sourced_id}").gauss(MEAN, DEVIATION)
                name = f"{measure}-{district.date}-{user.sourced_id}"
                cells = (round(min(max(value, 0), HIGHEST)), "A", "screening", name)
                sheet.writerow((user.sourced_id, measure, district.date, 1, *cells))
                rows += 1
    return rows
