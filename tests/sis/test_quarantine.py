"""Tests that quarantined rows can be identified, are listed for the SIS's clerk, and can be acknowledged.

An acknowledgement ends when the row changes.
"""

import csv
import io
from pathlib import Path
from uuid import UUID

import pytest

from app.core.errors import Invalid
from app.sis.runs import quarantine
from app.sis.runs.queries import read_report
from tests.sis.case_zip import CaseZip
from tests.sis.roster_zip import sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.town import Town


async def test_the_list_for_the_clerk_names_file_row_id_field_and_code(north: Town, tmp_path: Path) -> None:
    """The CSV list of quarantined rows has the file, row, id, field and code, and no value of the row."""
    await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)
    bad = CaseZip().change("users", "U002,,,true", "U002,,,perhaps").change("enrollments", "C1,S1,U003", "X,S1,U003")
    report = await sync(north, bad.write(tmp_path / "b.zip"), tmp_path)
    async with north.unit() as work:
        rows = list(csv.reader(io.StringIO(await quarantine.quarantine_csv(work, report.run_id))))
    assert rows == [
        ["file", "row", "sourcedId", "field", "code", "acknowledged"],
        ["enrollments.csv", "4", "E003", "classSourcedId", "reference.unknown", "false"],
        ["users.csv", "3", "U002", "enabledUser", "boolean.malformed", "false"],
    ]


async def test_an_acknowledged_row_no_longer_counts_until_it_changes(north: Town, tmp_path: Path) -> None:
    """An acknowledged row no longer causes exit 3, until its content changes or another row is bad."""
    await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)
    bad = CaseZip().change("users", "U002,,,true", "U002,,,perhaps")
    report = await sync(north, bad.write(tmp_path / "b.zip"), tmp_path)
    assert report.exit_code == 3
    async with north.unit() as work:
        assert await quarantine.acknowledge_rows(work, report.run_id) == 1
        assert await quarantine.acknowledge_rows(work, report.run_id) == 0
    later = bad.change("users", "U002,,,", "U002,,2026-11-20,")
    repeated = await sync(north, later.write(tmp_path / "c.zip"), tmp_path)
    people = repeated.kinds["person"]
    assert (repeated.exit_code, people.quarantined, people.acknowledged) == (0, 1, 1)
    other = later.change("users", "perhaps", "maybe")
    assert (await sync(north, other.write(tmp_path / "d.zip"), tmp_path)).exit_code == 3


async def test_a_row_over_rest_is_acknowledged_as_one_of_csv(north: Town) -> None:
    """A quarantined row from REST can be acknowledged like a row from CSV. It is identified by its collection instead
    of its file.
    """
    rows = RowsServer()
    await sync_rows(north, rows)
    rows.row("users", "s3")["enabledUser"] = "perhaps"
    report = await sync_rows(north, rows)
    assert [(one.file, one.sourced_id, one.code) for one in report.refusals] == [("users", "s3", "boolean.malformed")]
    async with north.unit() as work:
        (row,) = (await read_report(work, report.run_id)).refusals
        assert row.id is not None
        assert await quarantine.acknowledge_rows(work, report.run_id, [UUID(row.id)]) == 1
    assert (await sync_rows(north, rows)).exit_code == 0


MALFORMED = {
    "too many cells": ("U002,,,true,S1,student,u2,,A,B,,1002,,,,,03,,,", "B,,1002", "C,,1002"),
    "text behind a quote": ('U002,,,true,S1,student,u2,,"A"x,"B,,1002,,,,,03,', "1002", "1003"),
    "no id": (",,,true,S1,student,u2,,A,B,,1002,u2@example.org,,,,03,", "1002", "1003"),
    "a malformed row without an id": ('"x"y,"B,', '"x"y', '"x"z'),
}


@pytest.mark.parametrize("fault", MALFORMED)
async def test_a_malformed_row_is_acknowledged_until_it_changes(north: Town, tmp_path: Path, fault: str) -> None:
    """A row that has no id, or that cannot be split into cells, can be acknowledged.

    The acknowledgement continues if only the time of the row's last change differs. It ends if another value differs.
    """
    line, old, new = MALFORMED[fault]
    line = line.replace(",,,", ",,2026-11-20T01:00:00Z,", 1) if fault != "a malformed row without an id" else line
    whole = CaseZip().drop("users", "U002").drop("enrollments", "E002")
    await sync(north, whole.write(tmp_path / "a.zip"), tmp_path)
    bad = whole.add("users", line)
    report = await sync(north, bad.write(tmp_path / "b.zip"), tmp_path)
    assert (report.exit_code, report.total("quarantined")) == (3, 1), report.refusals
    async with north.unit() as work:
        (row,) = (await read_report(work, report.run_id)).refusals
        assert row.id is not None
        assert await quarantine.acknowledge_rows(work, report.run_id, [UUID(row.id)]) == 1
    if fault != "a malformed row without an id":
        bad.change("users", "2026-11-20T01:00:00Z", "2026-11-21T01:00:00.000Z")
    again = await sync(north, bad.write(tmp_path / "c.zip"), tmp_path)
    assert (again.exit_code, again.total("quarantined"), again.total("acknowledged")) == (0, 1, 1)
    bad.change("users", line.replace("-20T01:00:00Z", "-21T01:00:00.000Z"), line.replace(old, new))
    other = await sync(north, bad.write(tmp_path / "d.zip"), tmp_path)
    assert (other.exit_code, other.total("quarantined"), other.total("acknowledged")) == (3, 1, 0)


async def test_a_row_of_which_nothing_can_be_read_cannot_be_acknowledged(north: Town) -> None:
    """A REST row that is no object cannot be acknowledged, because it could not be distinguished from another such row
    later.
    """
    rows = RowsServer()
    await sync_rows(north, rows)
    rows.users.append("no object")  # type: ignore[arg-type]  # as a source may send it
    report = await sync_rows(north, rows)
    assert report.exit_code == 3
    async with north.unit() as work:
        (row,) = (await read_report(work, report.run_id)).refusals
        assert row.id is not None
        with pytest.raises(Invalid):
            await quarantine.acknowledge_rows(work, report.run_id, [UUID(row.id)])
        assert await quarantine.acknowledge_rows(work, report.run_id) == 0


async def test_the_report_of_a_held_run_says_exit_code_4(north: Town, tmp_path: Path) -> None:
    """The report over REST has the exit code of the command line: 4 for a held run, 3 for one with refused rows."""
    await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)
    bad = CaseZip().change("users", "U002,,,true", "U002,,,perhaps")
    applied = await sync(north, bad.write(tmp_path / "b.zip"), tmp_path)
    lost = CaseZip().drop("enrollments", *(f"E{n:03}" for n in range(1, 7)))
    held = await sync(north, lost.write(tmp_path / "c.zip"), tmp_path)
    assert held.state == "held"
    async with north.unit() as work:
        assert (await read_report(work, held.run_id)).exit_code == 4
        assert (await read_report(work, applied.run_id)).exit_code == 3
