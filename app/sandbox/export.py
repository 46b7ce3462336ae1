"""Owns how a synthetic district is written as a OneRoster 1.1 CSV bulk zip. Never decides what is in it.

`python -m app.sandbox.export OUT.zip [--students N] [--seed S] [--date YYYY-MM-DD] [--day D]`
"""

import argparse
import csv
import io
import os
import re
import zipfile
from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import date
from functools import lru_cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.sandbox.district import District

# The 1.1 binding's headers after `sourcedId,status,dateLastModified`, with which every file begins.
HEADERS: Final = {
    "academicSessions": "title,type,startDate,endDate,parentSourcedId,schoolYear",
    "orgs": "name,type,identifier,metadata.classification,metadata.gender,metadata.boarding,parentSourcedId",
    "courses": "schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes",
    "classes": "title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,termSourcedIds,"
    "subjects,subjectCodes,periods",
    "users": "enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,identifier,"
    "email,sms,phone,agentSourcedIds,grades,password",
    "enrollments": "classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate",
    "demographics": "birthDate,sex,americanIndianOrAlaskaNative,asian,blackOrAfricanAmerican,"
    "nativeHawaiianOrOtherPacificIslander,white,demographicRaceTwoOrMoreRaces,hispanicOrLatinoEthnicity,"
    "countryOfBirthCode,stateOfBirthAbbreviation,cityOfBirth,publicSchoolResidenceStatus",
}
# The 1.1 manifest names all thirteen data files, in this order.
FILES: Final = (
    "academicSessions",
    "categories",
    "classes",
    "classResources",
    "courses",
    "courseResources",
    "demographics",
    "enrollments",
    "lineItems",
    "orgs",
    "resources",
    "results",
    "users",
)
BATCH = 5000
ROWS_PER_STUDENT = 12.8  # of all files together, for the progress bar


def export_csv(district: District, path: Path, progress: Callable[[int], None] | None = None) -> None:
    """Write the district to `path`; the same district gives the same bytes (under the same zlib).

    `progress` is called with the number of rows just written. The file appears under its name only when it is
    whole. OSError as the file system raises it.
    """
    part = path.with_name(path.name + ".part")
    kinds: dict[str, Iterator[Any]] = {
        "academicSessions": district.academic_sessions(),
        "orgs": district.orgs(),
        "courses": district.courses(),
        "classes": district.classes(),
        "users": district.users(),
        "enrollments": district.enrollments(),
        "demographics": district.demographics(),
    }
    try:
        with zipfile.ZipFile(part, "w") as archive:
            _write(archive, "manifest", ["propertyName", "value"], _manifest(district), None)
            for kind, records in kinds.items():
                header = ["sourcedId", "status", "dateLastModified", *HEADERS[kind].split(",")]
                _write(archive, kind, header, _rows(kind, records), progress)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _manifest(district: District) -> Iterator[list[str]]:
    yield ["manifest.version", "1.0"]
    yield ["oneroster.version", "1.1"]
    for name in FILES:
        yield [f"file.{name}", "bulk" if name in HEADERS else "absent"]
    yield ["source.systemName", f"Aimline sandbox SIS of {district.name}"]
    yield ["source.systemCode", f"sandbox-{district.seed}"]


def _rows(kind: str, records: Iterable[Any]) -> Iterator[list[str]]:
    """Records as cells in the header's order; status and dateLastModified stay blank, as bulk asks."""
    columns = [re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", c).replace(".", "_") for c in HEADERS[kind].split(",")]
    read = attrgetter("sourced_id", *columns)
    for record in records:
        sourced_id, *cells = read(record)
        yield [sourced_id, "", "", *[cell if cell.__class__ is str else _cell(cell) for cell in cells]]


@lru_cache(maxsize=1024, typed=True)  # the same few dates, flags and lists, a million times
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
) -> None:
    entry = zipfile.ZipInfo(f"{name}.csv", date_time=(1980, 1, 1, 0, 0, 0))
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as binary:
        with io.TextIOWrapper(binary, encoding="utf-8", newline="") as text:
            sheet = csv.writer(text, lineterminator="\r\n")
            sheet.writerow(header)
            while batch := list(islice(rows, BATCH)):
                sheet.writerows(batch)
                if progress:
                    progress(len(batch))


def main(arguments: list[str] | None = None) -> None:
    """The command line: exports with a progress bar, and says what it wrote."""
    parser = argparse.ArgumentParser(prog="app.sandbox.export", description="Write a synthetic district as OneRoster.")
    parser.add_argument("path", type=Path, metavar="OUT.zip")
    parser.add_argument("--students", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--date", type=date.fromisoformat, default=None, help="a day in the school year; today")
    parser.add_argument("--day", type=int, default=0, help="days of change after the first export")
    options = parser.parse_args(arguments)
    try:
        district = District(options.seed, options.students, options.date or date.today(), options.day)
    except ValueError as error:
        parser.error(str(error))
    export_with_progress(district, options.path)
    print(f"{district.name}: {options.path}, {options.path.stat().st_size:,} bytes")


def export_with_progress(district: District, path: Path) -> None:
    """`export_csv` with a bar on the terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns) as bar:
        task = bar.add_task("rows", total=int(district.students * ROWS_PER_STUDENT))
        export_csv(district, path, lambda rows: bar.advance(task, rows))
        bar.update(task, total=bar.tasks[0].completed)


if __name__ == "__main__":
    main()
