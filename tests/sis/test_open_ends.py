"""Tests dates by which sources say that something has no end, or no date, such as 9999-12-31 and 0000-00-00."""

from pathlib import Path
from typing import Any

import pytest

from app.sis.engine.intake.blocks import has_open_year
from app.sis.engine.report import Report
from app.sis.kinds import OPEN_YEARS
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import STUDENTS, Export, ask, fingerprint, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town

FAR = (
    "9999-12-31",
    "9999-12-31T23:59:59Z",
    "2099-12-31",
    "2999-12-31 00:00:00",
    "3000-01-01",
    "2100-01-01",
    "9999-99-99",
)
NONE = ("0000-00-00", "0000-00-00 00:00:00", "0001-01-01", "0001-01-01T00:00:00")
ENDS = """SELECT count(*) FROM {0} t JOIN source s ON s.district_id = :district AND s.id = t.source_id
    WHERE t.district_id = :district AND s.name = 'csv' AND t.ends_on IS NULL"""


async def _count(town: Town, table: str) -> Any:
    return (await ask(town, ENDS.format(table)))[0][0]


def _noted(report: Report, file: str, rows: int) -> bool:
    words = f"{file}: {rows} rows have an endDate in 2099, 2100, 2999, 3000 or 9999, which is read as no end."
    return words in report.warnings


def test_a_year_without_an_end_is_noticed_anywhere_in_a_block() -> None:
    """The fast search for years such as 9999 agrees with a plain search, at each place of a block of bytes."""
    dates = [f"{year}-12-31".encode() for year in (*OPEN_YEARS, "2027", "2011", "1999", "2000", "9990", "0000")]
    for block in (b"", b"-", b"99-", b"9999", b"999-99-9", *dates):
        for text in (block, b"id-1," + block, block + b",2027-06-12\r\n", b"99" + block, b"\xff-" + block[1:]):
            assert has_open_year(text) == any(f"{year}-".encode() in text for year in OPEN_YEARS), text


async def test_an_end_far_away_is_no_end_in_csv_and_rest_alike(north: Town, tmp_path: Path) -> None:
    """An enrollment that ends in 9999 or a like year has no end. The report says so, over REST as in CSV."""
    export = Export()
    for number, end in enumerate((*FAR, *NONE)):
        export.row("enrollments", f"e{number}")["endDate"] = end
    first = await sync(north, export, tmp_path)
    assert (first.state, first.exit_code) == ("applied", 0), first.as_json()
    assert await _count(north, "enrollment") == len(FAR) + len(NONE)
    assert _noted(first, "enrollments.csv", len(FAR)), first.warnings
    before = await fingerprint(north)
    again = await sync(north, export, tmp_path)
    assert (again.exit_code, again.total("changes"), again.kinds["enrollment"].unchanged) == (0, 0, STUDENTS + 2)
    over_rest = await sync_rows(north, RowsServer(export=export))
    assert (over_rest.exit_code, over_rest.total("changes")) == (0, 0), over_rest.as_json()
    assert _noted(over_rest, "enrollments", len(FAR)), over_rest.warnings
    assert await fingerprint(north) == before


async def test_a_role_that_ends_far_away_or_never_is_current(north: Town) -> None:
    """A role of 1.2 whose end is 9999-12-31, or a date that stands for none, makes its person a student."""
    rows = RowsServer("1.2")
    for number, end in enumerate(("9999-12-31", "0000-00-00", "0001-01-01")):
        rows.row("users", f"s{number}")["roles"][0]["endDate"] = end
    report = await sync_rows(north, rows)
    assert (report.state, report.exit_code) == ("applied", 0), report.as_json()
    (row,) = await ask(
        north,
        """SELECT count(*) FROM person p JOIN external_id e ON e.row_id = p.id AND e.district_id = :district
           JOIN source s ON s.district_id = :district AND s.id = e.source_id AND s.name = 'csv'
           WHERE p.district_id = :district AND p.is_student AND cardinality(p.school_ids) = 1""",
    )
    assert row[0] == STUDENTS
    assert await _count(north, "person_role") == STUDENTS + 2


async def test_a_term_keeps_its_last_day(north: Town, tmp_path: Path) -> None:
    """The end of a term is required, so that of 9999-12-31 stays as it was sent."""
    export = Export()
    export.row("academicSessions", "fall")["endDate"] = "9999-12-31"
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.as_json()
    rows = await ask(
        north, "SELECT ends_on::text FROM academic_session WHERE district_id = :district AND title = 'Fall'"
    )
    assert rows[0][0] == "9999-12-31"


@pytest.mark.parametrize("date", ["9999-12-31x", "1899-12-30", "31/12/9999", "2026-02-30"])
async def test_a_date_that_is_none_still_waits(north: Town, tmp_path: Path, date: str) -> None:
    """An end that is no date, and does not stand for one, waits in quarantine as before."""
    export = Export()
    export.row("enrollments", "e3")["endDate"] = date
    report = await sync(north, export, tmp_path)
    assert [(one.sourced_id, one.code) for one in report.refusals] == [("e3", "date.malformed")]


async def test_a_birth_date_that_stands_for_none_is_none(north: Town, tmp_path: Path) -> None:
    """Demographics whose birth date is 0000-00-00 or 0001-01-01 are imported without one."""
    export = Export()
    for number, day in enumerate(NONE):
        export.row("demographics", f"s{number}")["birthDate"] = day
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.as_json()
    (row,) = await ask(
        north,
        """SELECT count(*) FROM demographics
           WHERE district_id = :district AND birth_date IS NULL AND source_id IS NOT NULL""",
    )
    assert row[0] == len(NONE)
    assert (await sync_rows(north, RowsServer(export=export))).total("changes") == 0


INSTANTS = {
    "9999-12-31T23:59:59Z": ("no end", 0),
    "9999-12-31T23:59:59-05:00": ("no end", 0),
    "0001-01-01T00:00:00+14:00": ("none", 0),
    "0001-01-01T00:00:00Z": ("none", 0),
    "1899-12-30T00:00:00Z": ("refused", 3),
}


@pytest.mark.parametrize("instant", INSTANTS)
async def test_an_instant_at_the_end_of_time_breaks_nothing(north: Town, tmp_path: Path, instant: str) -> None:
    """A due date in the year 9999 is none, and no instant is stored that Python cannot read."""
    meaning, exit_code = INSTANTS[instant]
    export = Delivered()
    (item, *_) = export.rows["lineItems"]
    item["dueDate"] = instant
    report = await sync(north, export, tmp_path)
    assert report.exit_code == exit_code, report.as_json()
    rows = await ask(north, "SELECT due_at, assigned_at FROM line_item WHERE district_id = :district")
    assert len(rows) == len(export.rows["lineItems"]) - (meaning == "refused")
    assert [row[0] for row in rows].count(None) == (meaning != "refused"), rows


async def test_an_instant_that_the_zone_moves_out_of_the_calendar_waits(north: Town, tmp_path: Path) -> None:
    """An assign date at the end of 9999 in a zone behind UTC is refused, because in UTC its year is 10000."""
    export = Delivered()
    (item, *_) = export.rows["lineItems"]
    item["assignDate"] = "9999-12-31T23:59:59-05:00"
    report = await sync(north, export, tmp_path)
    assert ("assignDate", "instant.malformed") in [(one.field, one.code) for one in report.refusals], report.as_json()
    await ask(north, "SELECT due_at, assigned_at FROM line_item WHERE district_id = :district")
