"""Writes a synthetic district as a OneRoster CSV bulk zip, 1.1 or 1.2.

`python -m app.sandbox.export OUT.zip [--students N] [--seed S] [--date YYYY-MM-DD] [--day D] [--oneroster 1.2]
[--gradebook [--line-items N]] [--quirk NAME]…`
"""

import argparse
import csv
import io
import os
import re
import zipfile
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from itertools import chain, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.sandbox.district import District
from app.sandbox.export_files import CSV_QUIRKS, STAMP, Binding, csv_quirks
from app.sandbox.export_grades import Grades
from app.sandbox.sis_gradebook import line_items_by

BATCH = 5000
ROWS_PER_STUDENT = 12.8  # of all roster files together, for the progress bar
RESULTS_PER_ITEM = 10


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The options of an export.

    `line_items` is the largest number of line items per class. `quirks` names deliberate defects of the export, which
    the module `export_files` lists.
    """

    binding: Binding = field(default_factory=Binding)
    line_items: int | None = None
    quirks: frozenset[str] = frozenset()

    def rows(self, district: District) -> int:
        """Returns the approximate number of rows, for the progress bar."""
        items = line_items_by(district.day) if self.line_items is None else self.line_items
        grades = RESULTS_PER_ITEM * items if self.binding.gradebook else 0
        return int(district.students * (ROWS_PER_STUDENT + grades + (self.binding.version != "1.1")))


def export_csv(
    district: District, path: Path, progress: Callable[[int], None] | None = None, options: ExportOptions | None = None
) -> None:
    """Writes the district to the file `path`. The file appears under its name only when it is complete.

    Without `options`, OneRoster 1.1 without grades is written. The same district always gives the same bytes, as long
    as zlib is the same. `progress` is called with the number of rows that were just written. Raises the file system's
    OSError.
    """
    options = options or ExportOptions()
    part = path.with_name(path.name + ".part")
    kinds: dict[str, Callable[[], Iterator[Any]]] = {
        "academicSessions": district.academic_sessions,
        "orgs": district.orgs,
        "courses": district.courses,
        "classes": district.classes,
        "users": district.users,
        "enrollments": district.enrollments,
        "demographics": district.demographics,
    }
    grades = Grades(district, options.line_items)
    try:
        with zipfile.ZipFile(part, "w") as archive:
            _write(archive, "manifest", ["propertyName", "value"], _manifest(district, options.binding), None)
            for kind, columns in options.binding.headers.items():
                header = ["sourcedId", "status", "dateLastModified", *columns.split(",")]
                rows = _rows(columns, kinds[kind]()) if kind in kinds else _named(header, grades.rows(kind))
                _write(archive, kind, header, rows, progress, options.quirks)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _manifest(district: District, binding: Binding) -> Iterator[list[str]]:
    yield ["manifest.version", "1.0"]
    yield ["oneroster.version", binding.version]
    for name in binding.files:
        yield [f"file.{name}", "bulk" if name in binding.headers else "absent"]
    yield ["source.systemName", f"Aimline sandbox SIS of {district.name}"]
    yield ["source.systemCode", f"sandbox-{district.seed}"]


def _rows(columns: str, records: Iterable[Any]) -> Iterator[list[str]]:
    """Yields records as rows of cells, in the order of the columns.

    status and dateLastModified are blank, as a bulk file requires.
    """
    names = [re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", c).replace(".", "_") for c in columns.split(",")]
    records = iter(records)
    first = next(records)
    # A column that the district has no value for, such as pronouns, stays blank.
    is_given = [hasattr(first, name) for name in names]
    read = attrgetter("sourced_id", *(name for name, has in zip(names, is_given, strict=True) if has))
    for record in chain((first,), records):
        sourced_id, *cells = read(record)
        texts = [cell if cell.__class__ is str else _cell(cell) for cell in cells]
        if not all(is_given):
            values = iter(texts)
            texts = [next(values) if has else "" for has in is_given]
        yield [sourced_id, "", "", *texts]


def _named(header: list[str], rows: Iterable[dict[str, Any]]) -> Iterator[list[str]]:
    for row in rows:
        cells = (row.get(column) for column in header)
        yield [cell if cell.__class__ is str else _cell(cell) for cell in cells]


@lru_cache(maxsize=1024, typed=True)  # the same few dates, flags and lists occur a million times
def _cell(value: Hashable) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value)
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _write(
    archive: zipfile.ZipFile,
    name: str,
    header: list[str],
    rows: Iterator[list[str]],
    progress: Callable[[int], None] | None,
    quirks: frozenset[str] = frozenset(),
) -> None:
    if f"hidden-header:{name}" in quirks:
        header = [*header[:-1], f"{header[-1]}\u200b"]
    if f"header-only:{name}" in quirks:
        rows = iter(())
    if "status-filled" in quirks and name != "manifest":
        rows = ([row[0], "active", STAMP, *row[3:]] for row in rows)
    encoding = "utf-16" if f"utf-16:{name}" in quirks else "utf-8"
    entry = zipfile.ZipInfo(f"{name}.csv", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as binary:
        with io.TextIOWrapper(binary, encoding=encoding, newline="") as text:
            sheet = csv.writer(text, lineterminator="\r\n")
            sheet.writerow(header)
            while batch := list(islice(rows, BATCH)):
                sheet.writerows(batch)
                if progress:
                    progress(len(batch))


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line: exports a district with a progress bar, and prints what was written."""
    parser = argparse.ArgumentParser(prog="app.sandbox.export", description="Write a synthetic district as OneRoster.")
    parser.add_argument("path", type=Path, metavar="OUT.zip")
    parser.add_argument("--students", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--date", type=date.fromisoformat, default=None, help="a day in the school year; by default, today"
    )
    parser.add_argument("--day", type=int, default=0, help="days of change after the first export")
    parser.add_argument("--oneroster", choices=("1.1", "1.2"), default="1.1")
    parser.add_argument("--gradebook", action="store_true", help="include categories, line items and results")
    parser.add_argument("--line-items", type=int, default=None, help="the most for each class")
    parser.add_argument("--quirk", action="append", default=[], help=f"defects: {', '.join(CSV_QUIRKS)}")
    parsed = parser.parse_args(arguments)
    binding = Binding(parsed.oneroster, parsed.gradebook)
    try:
        district = District(parsed.seed, parsed.students, parsed.date or date.today(), parsed.day)
        options = ExportOptions(binding, parsed.line_items, csv_quirks(parsed.quirk, binding.headers))
    except ValueError as error:
        parser.error(str(error))
    export_with_progress(district, parsed.path, options)
    print(f"{district.name}: {parsed.path}, {parsed.path.stat().st_size:,} bytes")


def export_with_progress(district: District, path: Path, options: ExportOptions | None = None) -> None:
    """Writes the export with a progress bar on the terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as bar:
        task = bar.add_task("rows", total=(options or ExportOptions()).rows(district))
        export_csv(district, path, lambda rows: bar.advance(task, rows), options)
        bar.update(task, total=bar.tasks[0].completed)


if __name__ == "__main__":
    main()
