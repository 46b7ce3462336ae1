"""Builds a small OneRoster 1.1 CSV delivery that a test can alter, and queries the roster afterwards."""

import csv
import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

from sqlalchemy import CursorResult, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.sandbox.export_files import FILES, HEADERS
from app.sis.engine.report import Report
from app.sis.engine.stage import STAGING_TABLES
from app.sis.guard import GuardLimits
from app.sis.scheduler.execute import schedule_due_runs
from app.sis.scheduler.leases import claim_run
from app.sis.service import sync_csv
from tests.town import Town

Row = dict[str, str]
STUDENTS = 40
LENIENT = GuardLimits(removed=1, changed=1, refused=1, lost=1, rekeyed=1)
"""A guard that lets everything pass but an empty collection."""


def header(name: str) -> list[str]:
    """Returns the column names of a file."""
    return ["sourcedId", "status", "dateLastModified", *HEADERS[name].split(",")]


def _rows() -> dict[str, list[Row]]:
    schools = ("north", "south")
    return {
        "academicSessions": [
            _row("y27", title="2026-27", type="schoolYear", startDate="2026-08-17", endDate="2027-06-12"),
            _row("fall", title="Fall", type="term", startDate="2026-08-17", endDate="2027-01-16"),
        ],
        "orgs": [
            _row("d", name="District", type="district"),
            *(_row(s, name=f"School {s}", type="school", parentSourcedId="d") for s in schools),
        ],
        "courses": [_row("read", title="Reading", orgSourcedId="d", schoolYearSourcedId="y27", grades="03,04")],
        "classes": [
            _row(
                f"class-{s}",
                title=f"Reading {s}",
                courseSourcedId="read",
                classType="scheduled",
                schoolSourcedId=s,
                termSourcedIds="fall,y27",
            )
            for s in schools
        ],
        "users": [
            *(_person(f"t-{s}", "teacher", s) for s in schools),
            *(_person(f"s{n}", "student", schools[n % 2], grades="3") for n in range(STUDENTS)),
        ],
        "enrollments": [
            *(_enrolled(f"et-{s}", s, f"t-{s}", "teacher", primary="true") for s in schools),
            *(_enrolled(f"e{n}", schools[n % 2], f"s{n}", "student") for n in range(STUDENTS)),
        ],
        "demographics": [
            _row(f"s{n}", birthDate="2018-03-04", sex="female", asian="TRUE", white="0") for n in range(STUDENTS)
        ],
    }


def _row(sourced_id: str, **cells: str) -> Row:
    return {"sourcedId": sourced_id, **cells}


def _person(sourced_id: str, role: str, school: str, **cells: str) -> Row:
    return _row(
        sourced_id,
        enabledUser="true",
        orgSourcedIds=school,
        role=role,
        username=sourced_id,
        givenName=f"Given {sourced_id}",
        familyName="Synthetic",
        email=f"{sourced_id}@example.org",
        identifier=f"id-{sourced_id}",
        **cells,
    )


def _enrolled(sourced_id: str, school: str, user: str, role: str, **cells: str) -> Row:
    return _row(
        sourced_id,
        classSourcedId=f"class-{school}",
        schoolSourcedId=school,
        userSourcedId=user,
        role=role,
        beginDate="2026-08-17",
        endDate="2027-06-12",
        **cells,
    )


@dataclass
class Export:
    """A OneRoster delivery that a test can change.

    * `rows` has the rows of each file, keyed by the file's name.
    * `raw` has bytes that replace a generated file, keyed by the file's name.
    * `modes` has modes that replace those in the manifest, keyed by the file's name.
    """

    files: ClassVar[Iterable[str]] = FILES
    rows: dict[str, list[Row]] = field(default_factory=_rows)
    raw: dict[str, bytes] = field(default_factory=dict)
    modes: dict[str, str] = field(default_factory=dict)
    version: str = "1.1"

    def row(self, name: str, sourced_id: str) -> Row:
        """Returns one row, which the test may change."""
        return next(row for row in self.rows[name] if row["sourcedId"] == sourced_id)

    def without(self, name: str, *sourced_ids: str) -> list[Row]:
        """Removes rows of the delivery, and returns them."""
        gone = [row for row in self.rows[name] if row["sourcedId"] in sourced_ids]
        self.rows[name] = [row for row in self.rows[name] if row["sourcedId"] not in sourced_ids]
        return gone

    def columns(self, name: str) -> list[str]:
        """Returns the column names of a file."""
        return header(name)

    def sheet(self, name: str) -> str:
        """Returns the text of a file."""
        out = io.StringIO(newline="")
        sheet = csv.DictWriter(out, self.columns(name), restval="", lineterminator="\r\n")
        sheet.writeheader()
        sheet.writerows(self.rows[name])
        return out.getvalue()

    def packed(self) -> bytes:
        """Returns the bytes of the zip."""
        out = io.BytesIO()
        self._write(out)
        return out.getvalue()

    def write(self, path: Path) -> Path:
        """Writes the delivery as a zip file, and returns its path."""
        self._write(path)
        return path

    def _write(self, path: Path | io.BytesIO) -> None:
        modes = {name: "bulk" if name in self.rows else "absent" for name in self.files} | self.modes
        manifest = [("propertyName", "value"), ("manifest.version", "1.0"), ("oneroster.version", self.version)]
        manifest += [(f"file.{name}", mode) for name, mode in modes.items()]
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("manifest.csv", "\r\n".join(",".join(pair) for pair in manifest))
            for name in self.rows:
                if name not in self.raw:
                    archive.writestr(f"{name}.csv", self.sheet(name))
            for name, raw in self.raw.items():
                archive.writestr(f"{name}.csv", raw)


def _path(export: Export | Path, folder: Path) -> Path:
    return export if isinstance(export, Path) else export.write(folder / "roster.zip")


async def sync(
    town: Town,
    export: Export | Path,
    folder: Path,
    *,
    dry: bool = False,
    source: str = "csv",
    limits: GuardLimits | None = None,
    progress: Callable[[str, int, int], None] = lambda _doing, _done, _of: None,
    **more: Any,
) -> Report:
    """Syncs the test district from a delivery, and returns the report."""
    path = _path(export, folder)
    keyring = town.settings.keyring
    return await sync_csv(town.worker_engine, keyring, town.district_id, path, source, dry, progress, limits, **more)


@needs(Can.SYNC_ROSTER)
async def _rows_of(work: Work, sql: str, values: dict[str, Any]) -> list[Any]:
    result = await work.db.execute(text(sql), {"district": work.district_id, **values})
    return list(result.all()) if cast("CursorResult[Any]", result).returns_rows else []


async def ask(town: Town, sql: str, **values: Any) -> list[Any]:
    """Executes a statement as the district's worker, and returns its rows. The statement may use `:district`."""
    async with town.house() as work:
        return await _rows_of(work, sql, values)


async def staged_rows(town: Town) -> dict[str, int]:
    """Returns the district's staged rows that should not outlive a run, by table."""
    counts = {name: f"SELECT count(*) FROM staging.{name} WHERE district_id = :district" for name in STAGING_TABLES}
    return {name: rows for name, sql in counts.items() if (rows := (await ask(town, sql))[0][0])}


async def lose_a_worker(town: Town) -> None:
    """Claims the waiting run, ends its lease as if the worker had died, and schedules the run again."""
    async with town.house() as work:
        (claimed,) = await claim_run(work)
    await ask(
        town,
        "UPDATE sis_run SET state = 'running', leased_until = now() - interval '1 s' "
        "WHERE district_id = :district AND id = :run",
        run=claimed.id,
    )
    async with town.house() as work:
        await schedule_due_runs(work)


async def row_id(town: Town, kind: str, sourced_id: str) -> Any:
    """Returns the id of a row, given its sourcedId in the source `csv`."""
    rows = await ask(
        town,
        """SELECT e.row_id FROM external_id e JOIN source s ON s.district_id = :district AND s.id = e.source_id
           WHERE e.district_id = :district AND s.name = 'csv' AND e.kind = :kind AND e.sourced_id = :id""",
        kind=kind,
        id=sourced_id,
    )
    return rows[0][0] if rows else None


ROSTER = (
    *("source", "external_id", "org", "academic_session", "course", "class", "person", "school_membership"),
    *("enrollment", "demographics", "school_week", "caseload"),
)


async def fingerprint(town: Town, tables: Iterable[str] = ROSTER) -> dict[str, list[Any]]:
    """Returns each roster row of the district with its physical position and its last transaction. Any write changes
    the result.
    """
    return {
        table: await ask(
            town, f"SELECT ctid::text, xmin::text, t::text FROM {table} t WHERE t.district_id = :district ORDER BY 1"
        )
        for table in tables
    }
