"""Tests CSV deltas: a delta changes only rows that it contains, and removes only rows marked `tobedeleted`."""

from pathlib import Path

import pytest

from app.sis.engine.report import Refusal
from app.sis.oneroster_csv.archive import open_zip
from app.sis.port import SourceRefused
from tests.sis.gradebook_zip import STAMP, Delivered
from tests.sis.roster_zip import STUDENTS, ask, fingerprint, row_id, sync
from tests.town import Town

VERSIONS = ("1.1", "1.2")


async def _live(town: Town, table: str) -> int:
    rows = await ask(
        town,
        f"""SELECT count(*) FROM {table} t WHERE t.district_id = :district AND t.removed_at IS NULL
            AND t.arrived_in IS NOT NULL""",
    )
    return int(rows[0][0])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_delta_changes_what_it_names_and_no_more(north: Town, tmp_path: Path, version: str) -> None:
    """A delta changes, adds and removes only the rows that it contains."""
    export = Delivered(version=version)
    await sync(north, export, tmp_path)
    enrollments, results = await _live(north, "enrollment"), await _live(north, "result")
    newcomer = {**export.row("users", "s0"), "sourcedId": "s99", "identifier": "id-s99"}
    rows = {
        "users": [newcomer, {**export.row("users", "s2"), "familyName": "Renamed"}],
        "enrollments": [
            {**export.row("enrollments", "e0"), "sourcedId": "e99", "userSourcedId": "s99"},
            {"sourcedId": "e4", "status": "tobedeleted"},
        ],
        "results": [
            {**export.row("results", "r-quiz-s0"), "sourcedId": "r99", "studentSourcedId": "s99"},
            {"sourcedId": "r-quiz-s1", "status": "tobedeleted"},
        ],
    }
    if version == "1.2":
        rows["roles"] = [export.role("ro-s99", "s99", "student", "north")]
    report = await sync(north, export.delta(**rows), tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence
    people, classes = report.kinds["person"], report.kinds["enrollment"]
    assert (people.created, people.updated, people.removed, people.absent) == (1, 1, 0, 0)
    assert (classes.created, classes.removed, classes.absent) == (1, 1, 0)
    assert (await _live(north, "enrollment"), await _live(north, "result")) == (enrollments, results)
    assert await row_id(north, "person", "s99")
    before = await fingerprint(north)
    repeated = await sync(north, export.delta(**rows), tmp_path)
    assert (repeated.exit_code, repeated.total("changes")) == (0, 0)
    assert await fingerprint(north) == before


async def test_a_delta_can_be_mixed_with_bulk(north: Town, tmp_path: Path) -> None:
    """In a zip with bulk and delta files, absence means removal in the bulk files only."""
    export = Delivered()
    await sync(north, export, tmp_path)
    mixed = export.delta(users=[{**export.row("users", "s2"), "familyName": "Renamed"}])
    export.without("enrollments", "e7")
    mixed.rows["enrollments"], mixed.modes["enrollments"] = export.rows["enrollments"], "bulk"
    report = await sync(north, mixed, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence
    assert (report.kinds["enrollment"].absent, report.kinds["person"].absent) == (1, 0)


async def test_a_delta_without_rows_says_that_nothing_changed(north: Town, tmp_path: Path) -> None:
    """A delta without rows is valid and means that nothing changed. As a bulk file, the same file is refused."""
    export = Delivered()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    report = await sync(north, export.delta(users=[], enrollments=[], results=[]), tmp_path)
    assert (report.state, report.exit_code, report.sentence) == ("applied", 0, "Nothing has changed.")
    assert await fingerprint(north) == before


@pytest.mark.parametrize("column", ["status", "dateLastModified"])
async def test_a_row_of_a_delta_says_what_became_of_it_and_when(north: Town, tmp_path: Path, column: str) -> None:
    """A row of a delta without a status or time of change is quarantined, and a file without these columns is
    refused.
    """
    export = Delivered()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    report = await sync(
        north, export.delta(users=[{**export.row("users", "s2"), "familyName": "R", column: " "}]), tmp_path
    )
    assert report.refusals == [Refusal("users.csv", 2, column, "value.missing")]
    assert (report.exit_code, await fingerprint(north)) == (3, before)
    bare = export.delta(users=[export.row("users", "s2")])
    bare.raw["users"] = bare.sheet("users").replace(f"{column},", "other,", 1).encode()
    with pytest.raises(SourceRefused, match=f"lacks the column {column}"), open_zip(bare.write(tmp_path / "x.zip")):
        pass


async def test_a_delta_on_an_unknown_row_is_an_orphan(north: Town, tmp_path: Path) -> None:
    """A row of a delta that refers to an unknown or removed row is quarantined."""
    export = Delivered()
    await sync(north, export, tmp_path)
    gone = export.delta(lineItems=[{"sourcedId": "quiz-north", "status": "tobedeleted"}])
    assert (await sync(north, gone, tmp_path)).kinds["line_item"].removed == 1
    late = {**export.row("results", "r-quiz-s0"), "score": "1"}
    report = await sync(north, export.delta(results=[late]), tmp_path)
    assert [(r.file, r.row, r.field, r.code, r.sourced_id) for r in report.refusals] == [
        ("results.csv", 2, "lineItemSourcedId", "reference.removed", "r-quiz-s0")
    ]


async def test_bulk_that_says_what_deltas_say_is_taken_with_a_warning(north: Town, tmp_path: Path) -> None:
    """A bulk file with values in status and dateLastModified, as some exporters write it, is imported with a warning.

    Rows that the file lacks are removed, as for any bulk file. Rows with the status `tobedeleted` are removed too.
    """
    export = Delivered()
    await sync(north, export, tmp_path)
    for name in ("users", "enrollments"):
        for row in export.rows[name]:
            row.update(status="active", dateLastModified=STAMP)
    export.row("enrollments", "e3")["status"] = "tobedeleted"
    export.without("enrollments", "e5")
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0)
    assert (report.kinds["enrollment"].removed, report.kinds["enrollment"].absent) == (1, 1)
    (warning,) = report.warnings
    assert warning.startswith("users.csv, enrollments.csv: announced as bulk, with status")
    assert report.kinds["person"].fetched == STUDENTS + 2
