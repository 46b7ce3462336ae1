"""Protects that a quarantined row can be identified, listed for the SIS's clerk, and acknowledged until it changes."""

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
    """The CSV list has file, row, id, field and code, and no value of the row."""
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
    """A row over REST can be acknowledged, with the collection in place of the file."""
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


async def test_a_row_without_an_id_cannot_be_acknowledged(north: Town, tmp_path: Path) -> None:
    """A row without an id cannot be acknowledged, because it could not be recognized later."""
    bad = CaseZip().change("users", "U002,", ",")
    report = await sync(north, bad.drop("enrollments", "E002").write(tmp_path / "b.zip"), tmp_path)
    async with north.unit() as work:
        (row,) = (await read_report(work, report.run_id)).refusals
        assert row.id is not None
        with pytest.raises(Invalid):
            await quarantine.acknowledge_rows(work, report.run_id, [UUID(row.id)])


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
