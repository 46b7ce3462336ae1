"""Tests what stands at the end of a CSV file and is no record: end-of-file characters, blank lines and footers."""

from pathlib import Path

import pytest

from tests.sis.case_zip import STUDENTS, CaseZip
from tests.sis.roster_zip import LENIENT, ask, sync
from tests.sis.score_file import Scores, load, refused
from tests.town import Town

PADDING = {
    "DOS end of file": b"\x1a",
    "DOS end of file in a line of its own": b"\x1a\r\n",
    "several of them, as CP/M fills a block": b"\x1a" * 90,
    "NUL bytes of a tape": b"\0" * 300,
    "blank lines": b"\r\n  \r\n\t\r\n",
}
AFTER_A_CELL = ("DOS end of file", "several of them, as CP/M fills a block", "NUL bytes of a tape")


@pytest.mark.parametrize(
    ("name", "has_line_end"), [*((name, True) for name in PADDING), *((name, False) for name in AFTER_A_CELL)]
)
async def test_padding_at_the_end_of_a_file_is_no_row(
    north: Town, tmp_path: Path, name: str, has_line_end: bool
) -> None:
    """Characters with which a system ends or fills up a file are no row, so that exit 3 does not come every night."""
    case = CaseZip()
    for file, text in case.files.items():
        end = "\r\n" if has_line_end else ""
        case.raw[file] = text.removesuffix("\r\n").encode() + end.encode() + PADDING[name]
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.as_json()
    assert report.kinds["person"].created == STUDENTS + 2
    (row,) = await ask(
        north,
        """SELECT count(*) FROM enrollment e JOIN source s ON s.district_id = :district AND s.id = e.source_id
           WHERE e.district_id = :district AND s.name = 'csv' AND e.ends_on IS NULL""",
    )
    assert row[0] == STUDENTS + 2


FOOTERS = {
    "a count": ("Total rows: 123",),
    "a count with a comma": ("Total rows: 1,234",),
    "a count in a cell of its own": ("Total rows,123",),
    "a count, in quotes": ('"Total rows: 1,234"',),
    "a count in another language": ("Anzahl Datens\u00e4tze: 123",),
    "the words of SQL Server": ("", "(14 rows affected)", "", "Completion time: 2026-11-29T23:00:00.0000000+01:00"),
    "a line of Oracle": ("", "14 rows selected."),
    "a word": ("*** EOF ***",),
}


@pytest.mark.parametrize("name", FOOTERS)
async def test_a_footer_is_left_out_and_reported(north: Town, tmp_path: Path, name: str) -> None:
    """A line at the end that cannot be a record is left out with a note, whatever it says tonight."""
    case = CaseZip().add("users", *FOOTERS[name]).add("enrollments", *FOOTERS[name])
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.as_json()
    assert (report.kinds["person"].fetched, report.kinds["enrollment"].fetched) == (STUDENTS + 2, STUDENTS + 2)
    footers = len([line for line in FOOTERS[name] if line])
    words = "1 row at the end is a footer" if footers == 1 else f"{footers} rows at the end are footers"
    assert any(f"users.csv: {words}" in warning for warning in report.warnings), report.warnings
    again = await sync(north, case.write(tmp_path / "b.zip"), tmp_path)
    assert (again.exit_code, again.total("changes")) == (0, 0)


@pytest.mark.parametrize("line", [",,,", "," * 40, '"",""', " , "])
async def test_a_row_of_empty_cells_is_none_however_many_they_are(north: Town, tmp_path: Path, line: str) -> None:
    """A row of empty cells is left out, even if it has more or fewer cells than the header, also below a footer.

    Spreadsheets write such rows below a table. Earlier, each waited in quarantine.
    """
    case = CaseZip().add("users", line, "Total rows: 14", line, line).add("enrollments", line)
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.state, report.exit_code, report.total("quarantined")) == ("applied", 0, 0), report.as_json()
    assert (report.kinds["person"].fetched, report.kinds["enrollment"].fetched) == (STUDENTS + 2, STUDENTS + 2)
    assert any("users.csv: 1 row at the end is a footer" in warning for warning in report.warnings), report.warnings


async def test_a_footer_with_all_cells_of_the_header_is_no_course(north: Town, tmp_path: Path) -> None:
    """A footer that a spreadsheet filled up to the width of the header is no row, where only a sourcedId is required.

    Otherwise each night would have another course with the name of a count.
    """
    case = CaseZip().add("courses", "Total rows: 1" + "," * 9)
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.exit_code, report.kinds["course"].created) == (0, 1), report.as_json()


ROWS = {
    "a row that was cut off": ("users", "U099", (STUDENTS + 4, "U099", "row.columns")),
    "a row that was cut off after some cells": ("users", "U099,,,true,S1", (STUDENTS + 4, "U099", "row.columns")),
    "a code and a count": ("users", "T,123", (STUDENTS + 4, "T", "row.columns")),
}


@pytest.mark.parametrize("name", ROWS)
async def test_what_may_be_a_row_waits_in_quarantine(north: Town, tmp_path: Path, name: str) -> None:
    """A last line that may be a record that was cut off is no footer: it waits, with its place."""
    file, line, place = ROWS[name]
    report = await sync(north, CaseZip().add(file, line).write(tmp_path / "a.zip"), tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3)
    assert [(one.row, one.sourced_id, one.code) for one in report.refusals] == [place]


async def test_a_footer_between_rows_waits_in_quarantine(north: Town, tmp_path: Path) -> None:
    """A line of words between rows is not the end of the file, and may be a row that was damaged."""
    case = CaseZip().add("users", "Total rows: 14", "U099,,,true,S1,student,u99,,A,B,,1099,,,,,03,")
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert report.exit_code == 3
    assert [(one.row, one.code) for one in report.refusals] == [(STUDENTS + 4, "row.columns")]


async def test_ids_with_blanks_make_no_footer(north: Town, tmp_path: Path) -> None:
    """If the sourcedIds of a file have blanks inside, its last line is never taken for a footer."""
    case = CaseZip()
    lines = ("sourcedId,status,dateLastModified,title", "cat 1,,,Homework", "cat 2,,,")
    report = await sync(north, case.add("categories", *lines).write(tmp_path / "a.zip"), tmp_path)
    assert (report.exit_code, report.kinds["category"].created) == (0, 2), report.as_json()


async def test_a_file_of_nothing_but_its_header_and_an_end_is_refused(north: Town, tmp_path: Path) -> None:
    """A bulk file with a header and an end-of-file character has no row, and is not read as "everyone is gone"."""
    case = CaseZip()
    case.raw["users"] = case.files["users"].split("\r\n")[0].encode() + b"\r\n\x1a"
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert "users.csv has a header and no row" in report.sentence


async def test_hidden_characters_around_ids_are_removed(north: Town, tmp_path: Path) -> None:
    """Blanks without a shape, and control characters, around a sourcedId or a reference do not make another person."""
    await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)
    case = CaseZip()
    for number, mark in enumerate(("\u200e", "\u202f", "\u2060", "\u00ad", "\x0c", "\x1a", "\u2007"), start=1):
        case.change("users", f"U00{number},", f"{mark}U00{number}{mark},")
        case.change("enrollments", f"U00{number},", f"U00{number}{mark},")
    report = await sync(north, case.write(tmp_path / "b.zip"), tmp_path, limits=LENIENT)
    assert (report.exit_code, report.total("changes")) == (0, 0), report.as_json()
    assert any("7 rows have blanks around a sourcedId" in warning for warning in report.warnings), report.warnings


async def test_a_file_of_scores_ends_as_a_roster_does(north: Town, tmp_path: Path) -> None:
    """A footer and an end-of-file character of a file of scores are no score and no row in quarantine."""
    path = tmp_path / "scores.csv"
    path.write_bytes(Scores().text().encode() + b"Total scores: 3\r\n\x1a")
    report = await load(north, path, tmp_path)
    assert (report.exit_code, report.kinds["score"].created, refused(report)) == (0, 3, []), report.as_json()
    assert "scores.csv: 1 row at the end is a footer and no record, and left out." in report.warnings


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("amy-1,dibels,2026-09-09,,40,,screening,", "measure.unknown"),
        ("amy-1,orf,2026-09-09", "row.columns"),
        ('amy-1,orf,2026-09-09,,"40"x,,screening,', "row.malformed"),
        ("amy-1,orf,2026-09-09,,40,,screening,,", "row.columns"),
    ],
)
async def test_a_score_without_an_external_id_is_located(north: Town, tmp_path: Path, row: str, code: str) -> None:
    """A quarantined score without an externalId is named by its student, in the file and in the clerk's list."""
    path = tmp_path / "scores.csv"
    path.write_text(Scores().text() + row + "\r\n" + "ben-1,orf,2026-09-10,,50,,screening,w9\r\n", newline="")
    report = await load(north, path, tmp_path)
    assert (report.exit_code, report.kinds["score"].created) == (3, 4)
    assert [(one.file, one.row, one.sourced_id, one.code) for one in report.refusals] == [
        ("scores.csv", 5, "amy-1", code)
    ]
