"""Tests carriage returns in every place: no row is lost or split, and every value is stored or refused."""

import csv
import io
from pathlib import Path

import pytest

from app.sis.engine.report import Refusal
from tests.sis.roster_zip import Export, ask, sync
from tests.town import Town

WORDS = "Given\rs3"


def _sheet(export: Export, end: str) -> str:
    """Returns the users' file as Python's csv module writes it, with the line end `end`.

    The tests put carriage returns into the finished text, because the csv module of Python 3.11 does not quote them.
    """
    out = io.StringIO(newline="")
    sheet = csv.writer(out, lineterminator=end)
    columns = export.columns("users")
    sheet.writerow(columns)
    sheet.writerows([row.get(column, "") for column in columns] for row in export.rows["users"])
    return out.getvalue()


async def _given_names(town: Town) -> dict[str, str]:
    return {
        row.username: row.given_name
        for row in await ask(
            town, "SELECT username, given_name FROM person WHERE district_id = :district AND username IS NOT NULL"
        )
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lines of Unix", "lines of Windows"])
@pytest.mark.parametrize("quoted", [False, True], ids=["bare", "quoted"])
async def test_a_carriage_return_in_a_value_is_kept(north: Town, tmp_path: Path, end: str, quoted: bool) -> None:
    """A carriage return within a value is kept. It is quoted for PostgreSQL's COPY, which refuses a bare one."""
    export = Export()
    people = len(export.rows["users"])
    export.row("users", "s3")["givenName"] = "X3X"
    text = _sheet(export, end).replace("X3X", f'"{WORDS}"' if quoted else WORDS)
    assert text.count(WORDS) == 1
    export.raw["users"] = text.encode()
    for changes in (True, False):
        report = await sync(north, export, tmp_path)
        counts = report.kinds["person"]
        assert (report.state, counts.fetched, counts.quarantined) == ("applied", people, 0)
        assert bool(report.total("changes")) is changes
    names = await _given_names(north)
    assert len(names) == people
    assert (names["s3"], names["s4"]) == (WORDS, "Given s4")


async def test_a_row_of_too_many_columns_with_a_carriage_return_is_refused_alone(north: Town, tmp_path: Path) -> None:
    """A row with too many columns and a carriage return is refused alone; the next row keeps its carriage return."""
    export = Export()
    people = len(export.rows["users"])
    export.row("users", "s3")["givenName"] = "X3X"
    export.row("users", "s5")["givenName"] = "X5X"
    text = _sheet(export, "\n").replace("X3X", f"{WORDS},more").replace("X5X", WORDS)
    export.raw["users"] = text.encode()
    report = await sync(north, export, tmp_path)
    place = export.rows["users"].index(export.row("users", "s3")) + 2
    assert Refusal("users.csv", place, "", "row.columns") in report.refusals
    assert report.kinds["person"].fetched == people
    names = await _given_names(north)
    assert names["s5"] == WORDS
    assert "s3" not in names


async def test_lines_that_end_in_a_carriage_return_alone(north: Town, tmp_path: Path) -> None:
    """Files whose lines end in a carriage return alone are imported, also when they are checked row by row."""
    export = Export()
    people = len(export.rows["users"])
    export.row("users", "s3")["givenName"] = "X3X"
    text = _sheet(export, "\r").replace("X3X", "Given,s3")
    assert "\n" not in text
    export.raw["users"] = text.encode()
    report = await sync(north, export, tmp_path)
    assert report.kinds["person"].fetched == people
    assert [(one.field, one.code) for one in report.refusals if one.file == "users.csv"] == [("", "row.columns")]
    assert len(await _given_names(north)) == people - 1
