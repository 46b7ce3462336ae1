"""Tests that only an invalid row goes into quarantine, with its file, row, field and code, and nothing else is lost."""

from pathlib import Path

import pytest

from app.sis.engine.report import Refusal
from tests.sis.roster_zip import LENIENT, STUDENTS, Export, ask, fingerprint, row_id, sync
from tests.town import Town

CANARY = "Xq7Zt9Lm"


async def _quarantine(town: Town) -> list[tuple[str, int, str, str]]:
    rows = await ask(
        town,
        "SELECT file, row_number, field, code FROM sis_quarantine WHERE district_id = :district "
        "ORDER BY file, row_number",
    )
    return [tuple(row) for row in rows]


FAULTS: dict[str, tuple[str, str, dict[str, str], tuple[str, str]]] = {
    "a date that is none": ("enrollments", "e3", {"beginDate": "2026-13-45"}, ("beginDate", "date.malformed")),
    "a date long ago": ("demographics", "s3", {"birthDate": "1001-01-01"}, ("birthDate", "date.malformed")),
    "a date of another shape": ("demographics", "s3", {"birthDate": "3/4/2018"}, ("birthDate", "date.malformed")),
    "a flag that is none": ("users", "s3", {"enabledUser": "perhaps"}, ("enabledUser", "boolean.malformed")),
    "no role": ("users", "s3", {"role": ""}, ("role", "value.missing")),
    "no name at all": ("users", "s3", {"givenName": "", "familyName": " "}, ("familyName", "value.missing")),
    "a name too long to index": ("users", "s3", {"familyName": "n" * 301}, ("familyName", "value.too_long")),
    "a status that is none": ("users", "s3", {"status": "asleep"}, ("status", "status.unknown")),
    "a session that ends before it begins": (
        "academicSessions",
        "fall",
        {"endDate": "2025-01-01"},
        ("endDate", "dates.reversed"),
    ),
    "an unknown class": (
        "enrollments",
        "e3",
        {"classSourcedId": "nowhere"},
        ("classSourcedId", "reference.unknown"),
    ),
    "a school of an unknown type": ("orgs", "south", {"type": "campus"}, ("type", "type.unknown")),
    "no class": ("enrollments", "e3", {"classSourcedId": ""}, ("classSourcedId", "value.missing")),
    "no user": ("enrollments", "e3", {"userSourcedId": " "}, ("userSourcedId", "value.missing")),
    "an unknown user": ("enrollments", "e3", {"userSourcedId": "nobody"}, ("userSourcedId", "reference.unknown")),
    "an unknown school": ("classes", "class-north", {"schoolSourcedId": "x"}, ("schoolSourcedId", "reference.unknown")),
    "no known org": ("users", "s3", {"orgSourcedIds": "x,y"}, ("orgSourcedIds", "reference.unknown")),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_row_that_cannot_be_taken_is_named_and_kept_as_it_was(north: Town, tmp_path: Path, case: str) -> None:
    """A row that cannot be imported is quarantined with exit code 3.

    The stored row from an earlier delivery does not change.
    """
    file, sourced_id, cells, (field, code) = FAULTS[case]
    export = Export()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    export.row(file, sourced_id).update(cells)
    report = await sync(north, export, tmp_path)
    row = export.rows[file].index(export.row(file, sourced_id)) + 2
    assert (report.state, report.exit_code) == ("applied", 3)
    assert Refusal(f"{file}.csv", row, field, code) in report.refusals
    assert report.total("changes") == 0
    assert await fingerprint(north) == before
    assert (f"{file}.csv", row, field, code) in await _quarantine(north)


async def test_a_quote_that_never_closes_is_one_row(north: Town, tmp_path: Path) -> None:
    """A quote that is never closed affects only its own row. The people before and after it are imported."""
    export = Export()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    text = export.sheet("users").replace("Given s30", '"Given s30')
    export.raw["users"] = text.encode()
    report = await sync(north, export, tmp_path)
    place = export.rows["users"].index(export.row("users", "s30")) + 2
    assert report.refusals == [Refusal("users.csv", place, "", "row.malformed")]
    assert (report.state, report.total("changes"), report.total("absent")) == ("applied", 0, 0)
    assert await fingerprint(north) == before


async def test_a_row_that_does_not_fit_its_header_is_one_row(north: Town, tmp_path: Path) -> None:
    """If a row does not fit its header, only this row is refused. Its person stays in the roster, and the other rows
    are imported.
    """
    export = Export()
    await sync(north, export, tmp_path)
    lines = export.sheet("users").split("\r\n")
    lines[5] += ",one,cell,too,many"
    lines.insert(8, "")
    lines[1] = lines[1].replace("Synthetic", "Changed")
    export.raw["users"] = "\r\n".join(lines).encode()
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3)
    assert report.refusals == [Refusal("users.csv", 6, "", "row.columns")]
    people = report.kinds["person"]
    assert (people.updated, people.absent, people.unchanged) == (1, 0, STUDENTS)


async def test_a_row_that_cannot_be_told_apart_removes_nobody(north: Town, tmp_path: Path) -> None:
    """If a row has no sourcedId, no row is removed as missing, because each missing row could be the row without id."""
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s3")["sourcedId"] = ""
    report = await sync(north, export, tmp_path, limits=LENIENT)
    assert report.kinds["person"].absent == 0
    assert report.exit_code == 3
    assert any("cannot be identified" in warning for warning in report.warnings)


async def test_a_row_repeated_word_for_word_is_taken_once(north: Town, tmp_path: Path) -> None:
    """An identical repeated row is imported once and is no fault."""
    export = Export()
    export.rows["users"].append(dict(export.row("users", "s3")))
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.kinds["person"].created) == (0, STUDENTS + 2)
    assert report.kinds["person"].fetched == STUDENTS + 2


async def test_of_rows_that_share_an_id_and_differ_none_is_believed(north: Town, tmp_path: Path) -> None:
    """If rows have the same sourcedId and different values, all of them are quarantined. The roster does not change."""
    export = Export()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    export.rows["users"].append({**export.row("users", "s3"), "givenName": "Another"})
    report = await sync(north, export, tmp_path)
    assert [(one.row, one.code) for one in report.refusals] == [
        (7, "sourcedId.repeated"),
        (STUDENTS + 4, "sourcedId.repeated"),
    ]
    assert (report.kinds["person"].fetched, report.kinds["person"].quarantined) == (STUDENTS + 3, 2)
    assert await fingerprint(north) == before


async def test_quarantine_and_report_never_hold_a_value(north: Town, tmp_path: Path) -> None:
    """Quarantine, run, events and report contain no value of a quarantined row."""
    export = Export()
    export.row("users", "s3").update(enabledUser=CANARY, familyName=CANARY, password=CANARY)
    export.row("enrollments", "e5")["userSourcedId"] = CANARY
    export.rows["users"].append({**export.row("users", "s5"), "givenName": CANARY})
    report = await sync(north, export, tmp_path)
    assert report.exit_code == 3
    assert CANARY not in str(report.as_json())
    for table in ("sis_quarantine", "sis_run", "event"):
        rows = await ask(north, f"SELECT t::text FROM {table} t WHERE t.district_id = :district")
        assert rows
        assert not any(CANARY in row[0] for row in rows)


async def test_sources_write_the_same_thing_in_many_ways(north: Town, tmp_path: Path) -> None:
    """Values are read correctly in the different forms in which real sources write them.

    The forms differ in upper and lower case, flags, grades, school years, statuses and blanks.
    """
    export = Export()
    export.row("users", "s3").update(role="STUDENT", enabledUser="0", grades="K,3, 10", status="Active")
    export.row("users", "s5").update(enabledUser="", middleName="  ", grades="Tenth grade")
    export.row("academicSessions", "y27")["schoolYear"] = "2026-27"
    export.row("enrollments", "e3").update(role="Student", primary="", endDate="")
    report = await sync(north, export, tmp_path)
    assert report.exit_code == 0
    people = {
        key: await ask(
            north,
            "SELECT role, is_student, enabled, middle_name, grades FROM person "
            "WHERE district_id = :district AND id = :id",
            id=await row_id(north, "person", key),
        )
        for key in ("s3", "s5")
    }
    assert people["s3"] == [("student", True, False, None, ["KG", "03", "10"])]
    assert people["s5"] == [("student", True, True, None, ["10"])]
    years = await ask(
        north,
        "SELECT school_year FROM academic_session WHERE district_id = :district AND id = :id",
        id=await row_id(north, "academic_session", "y27"),
    )
    assert years == [(2027,)]


async def test_a_reference_that_may_be_missing_is_left_out_with_a_note(north: Town, tmp_path: Path) -> None:
    """A class of an unknown course is imported without the course, with a note."""
    export = Export()
    export.row("classes", "class-north")["courseSourcedId"] = "gone"
    export.row("orgs", "d")["parentSourcedId"] = "state"
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.kinds["class"].created) == (0, 2)
    assert len([warning for warning in report.warnings if "unknown or missing" in warning]) == 2


async def test_an_id_with_a_comma_is_one_id(north: Town, tmp_path: Path) -> None:
    """A sourcedId that contains a comma is read as one id, even in a field that can contain a list of ids."""
    export, school = Export(), "no,rth"
    for name, column in (("orgs", "sourcedId"), ("users", "orgSourcedIds")):
        for row in export.rows[name]:
            row[column] = school if row[column] == "north" else row[column]
    for name in ("classes", "enrollments"):
        for row in export.rows[name]:
            row["schoolSourcedId"] = school if row["schoolSourcedId"] == "north" else row["schoolSourcedId"]
    report = await sync(north, export, tmp_path)
    assert (report.exit_code, report.total("quarantined"), report.warnings) == (0, 0, []), report.sentence
    query = "SELECT count(*) FROM person WHERE district_id = :district AND school_ids = ARRAY[CAST(:school AS uuid)]"
    ((members,),) = await ask(north, query, school=await row_id(north, "org", school))
    assert members == sum(row["orgSourcedIds"] == school for row in export.rows["users"]) > 5
    repeated = await sync(north, export, tmp_path)
    assert (repeated.exit_code, repeated.total("changes"), repeated.warnings) == (0, 0, [])
