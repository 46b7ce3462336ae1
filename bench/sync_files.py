"""Builds the files with which syncs are measured: a district's zip, a shuffled copy, and a copy with 1 % changed rows.

The contents depend only on a seed. The files are kept in the machine's temporary folder for the next run.
"""

import csv
import io
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path

from app.sandbox.district import District
from app.sandbox.export import ExportOptions, export_with_progress
from app.sandbox.export_files import Binding

DAY = date(2026, 11, 2)  # the same bytes in whatever year it is run
CHANGED = 100  # one row in this many
WITHOUT = {"orgs.csv", "academicSessions.csv", "courses.csv", "categories.csv", "manifest.csv"}
"""The files whose rows the changed zip does not change.

All other rows refer to them, and they would not change overnight.
"""
ALTERED = {
    "classes.csv": "location",
    "users.csv": "phone",
    "enrollments.csv": "endDate",
    "demographics.csv": "cityOfBirth",
    "lineItems.csv": "title",
    "results.csv": "score",
}
COMES_AND_GOES = {"enrollments.csv", "results.csv"}  # nothing refers to their rows

Rows = Iterable[list[str]]


def base(students: int) -> Path:
    """Returns the path of the unchanged district's zip.

    A student has about ten enrollments, and ten results (one line item for each class).
    """
    path = _folder() / f"graded-{students}.zip"
    if not path.exists():
        options = ExportOptions(Binding(gradebook=True), line_items=1)
        export_with_progress(District(1, students, DAY), path, options)
    return path


def shuffled(path: Path) -> Path:
    """Returns the path of a zip with the same rows, each file in another order."""

    def order(name: str, rows: Rows) -> Rows:
        shuffled_rows = list(rows)
        if name != "manifest.csv":
            random.Random(name).shuffle(shuffled_rows)
        return shuffled_rows

    return _once(path, "shuffled", order)


def changed(path: Path) -> Path:
    """Returns the path of a zip in which one row in a hundred is changed.

    One in ten of the changed enrollments and results is removed instead, and another one in ten gets a new id.
    """

    def alter(name: str, rows: Rows, header: list[str]) -> Iterator[list[str]]:
        at = header.index(ALTERED[name])
        for number, row in enumerate(rows):
            if number % CHANGED == 7:
                if name in COMES_AND_GOES and number % (10 * CHANGED) == 7:
                    continue
                if name in COMES_AND_GOES and number % (10 * CHANGED) == CHANGED + 7:
                    row[0] += "-new"
                elif name == "enrollments.csv":
                    row[at] = "2027-05-28"
                elif name == "results.csv":
                    row[at] = "61.5"
                else:
                    row[at] = f"{row[at]} B"
            yield row

    headers: dict[str, list[str]] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                headers[name] = next(csv.reader(io.TextIOWrapper(file, "utf-8", newline="")))
    return _once(path, "changed", lambda name, rows: rows if name in WITHOUT else alter(name, rows, headers[name]))


def unpacked(path: Path, folder: Path) -> Path:
    """Extracts the zip's files into a folder and returns the folder."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / "aimline-bench"
    folder.mkdir(exist_ok=True)
    return folder


def _once(path: Path, suffix: str, change: Callable[[str, Rows], Rows]) -> Path:
    """Returns the path of a changed copy of a zip. The first call creates the copy in the folder of the zip.

    `change` returns the changed rows of each file.
    """
    target = path.with_name(f"{path.stem}-{suffix}.zip")
    if target.exists():
        return target
    part = target.with_suffix(".part")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for name in source.namelist():
            with source.open(name) as file:
                header, *rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
            with out.open(name, "w", force_zip64=True) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
                csv.writer(text).writerows([header])
                csv.writer(text).writerows(change(name, rows))
    part.replace(target)
    return target
