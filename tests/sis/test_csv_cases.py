"""Tests single rows of CSV deliveries: each case has the outcome that the same row has over REST."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.sis.engine.report import Report
from app.sis.service import sync_csv
from tests.sis.case_zip import STUDENTS, CaseZip
from tests.sis.roster_zip import ask, fingerprint, sync
from tests.town import Town

PERSON = """SELECT p.given_name, p.family_name, p.middle_name, p.sms, p.grades, p.removed_at IS NULL AS is_present
    FROM person p JOIN external_id e ON e.district_id = :district AND e.kind = 'person' AND e.row_id = p.id
     AND e.sourced_id = :id JOIN source s ON s.district_id = :district AND s.id = e.source_id AND s.name = 'csv'
    WHERE p.district_id = :district"""
Change = Callable[[CaseZip], object]


async def _sync(town: Town, case: CaseZip, folder: Path) -> Report:
    return await sync(town, case.write(folder / "case.zip"), folder)


async def _person(town: Town, sourced_id: str) -> tuple[object, ...]:
    return tuple((await ask(town, PERSON, id=sourced_id))[0])


READ: dict[str, tuple[Change, str]] = {
    "midnight": (lambda zip_: zip_.change("enrollments", "2026-08-20", "2026-08-20T00:00:00Z"), ""),
    "spaces": (
        lambda zip_: zip_.change("users", "U002,", "U002 ,").change("enrollments", "U003,", " U003 ,"),
        "1 row has blanks around a sourcedId",
    ),
    "null": (
        lambda zip_: zip_.change(
            "users", "Family1,,1001,u1@example.org,,,,03,", "Family1,NULL,1001,u1@example.org,NULL,,,03,"
        ).change("enrollments", "U001,student,false,2026-08-20,", "U001,student,NULL,2026-08-20,NULL"),
        "",
    ),
    "null as a status": (
        lambda zip_: zip_.change("users", "U001,,,", "U001,NULL,NULL,").change("users", "U002,,,", r"U002,\N,\N,"),
        "",
    ),
    "backslash N": (
        lambda zip_: zip_.change(
            "users", "Family1,,1001,u1@example.org,,,,03,", r"Family1,\N,1001,u1@example.org,\N,\N,\N,03,\N"
        ),
        "",
    ),
    "manifest with an empty value": (lambda zip_: zip_.manifest.update({"file.demographics": ""}), ""),
    "manifest in another case": (
        lambda zip_: zip_.manifest.update({"file.users": "Bulk", "file.results": "ABSENT"}),
        "",
    ),
    "files in another case": (
        lambda zip_: zip_.names.update(users="Users.CSV", manifest="Manifest.csv"),
        "Users.CSV is named in another case: read as users.csv",
    ),
    "columns in another case": (
        lambda zip_: zip_.change("users", "givenName,familyName", "GivenName,FAMILYNAME"),
        "users.csv has givenName, familyName in another case",
    ),
    "columns with blanks": (
        lambda zip_: zip_.change("users", "sourcedId,status", "sourcedId , status"),
        "users.csv has sourcedId, status in another case or with blanks",
    ),
    "columns without a name at the end": (
        lambda zip_: zip_.files.update(users=zip_.files["users"].replace("\r\n", ",,\r\n")),
        "users.csv has 2 columns without a name: not imported",
    ),
    "columns without a name that only the header and one row have": (
        lambda zip_: zip_.change("users", "grades,password", 'grades,password, ,""').change(
            "users", "u1@example.org,,,,03,", "u1@example.org,,,,03,,a note"
        ),
        "users.csv has 2 columns without a name: not imported",
    ),
    "a column without a name in the middle": (
        lambda zip_: zip_.files.update(
            users="\r\n".join(line.replace(",", ",,", 1) for line in zip_.files["users"].split("\r\n"))
        ),
        "users.csv has 1 column without a name: not imported",
    ),
    "columns without a name in the manifest": (lambda zip_: zip_.manifest.update(propertyName="value,,"), ""),
    "rows of empty cells": (
        lambda zip_: zip_.add("users", "," * 17, '"",' + " ," * 16).add("enrollments", "," * 9),
        "users.csv: 2 rows are empty and left out. enrollments.csv: 1 row is empty and left out.",
    ),
    "courses with few columns": (
        lambda zip_: zip_.change("courses", ",orgSourcedId,subjects,subjectCodes", ",orgSourcedId").change(
            "courses", ",D,Reading,", ",D"
        ),
        "courses.csv has no subjects, subjectCodes",
    ),
    "the same row twice": (lambda zip_: zip_.add("users", zip_.files["users"].split("\r\n")[1]), ""),
    "the same row twice, changed at another time": (
        lambda zip_: zip_.add("users", zip_.files["users"].split("\r\n")[1].replace("U001,,", "U001,,2026-11-01", 1)),
        "",
    ),
}


@pytest.mark.parametrize("name", READ)
async def test_a_row_in_another_form_is_the_same_row(north: Town, tmp_path: Path, name: str) -> None:
    """A row that is only written differently changes nothing, and the report mentions the difference."""
    change, note = READ[name]
    assert (await _sync(north, CaseZip(), tmp_path)).state == "applied"
    before = await fingerprint(north)
    case = CaseZip()
    change(case)
    report = await _sync(north, case, tmp_path)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 0, 0), report.as_json()
    assert note in " ".join(report.warnings)
    assert await fingerprint(north) == before
    assert report.kinds["person"].unchanged == STUDENTS + 2


TEXTS: dict[str, tuple[str, str, str]] = {
    "a stray quote": ('Al "Bo" X', 'Al "Bo" X', "1 row has stray or backslash-escaped quotes"),
    "a stray quote alone": ('12" Al', '12" Al', "1 row has stray or backslash-escaped quotes"),
    "an escaped quote": (r'"Al \"Bo\" X"', 'Al "Bo" X', "the first is row 2"),
    "a NUL": ("Nul\0l", "Nul\ufffdl", "1 NUL character is replaced"),
    "a name that is Null": ("Null", "Null", ""),
    "a name that is NULL": ("NULL", "NULL", ""),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_a_text_in_another_form_is_read_and_reported(north: Town, tmp_path: Path, name: str) -> None:
    """A text with stray quotes or a NUL character gets the value that REST would give, and the rest of the file is
    imported.
    """
    written, value, note = TEXTS[name]
    report = await _sync(north, CaseZip().change("users", "Given1,", f"{written},"), tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0), report.sentence
    assert note in " ".join(report.warnings)
    assert (await _person(north, "U001"))[0] == value
    assert report.kinds["person"].created == STUDENTS + 2


async def test_no_value_written_as_null_is_no_value(north: Town, tmp_path: Path) -> None:
    """The text NULL, which databases export for a missing value, is neither a middle name nor a grade."""
    case = CaseZip().change(
        "users", "Family1,,1001,u1@example.org,,,,03,", "Family1,NULL,1001,u1@example.org,NULL,,,NULL,"
    )
    report = await _sync(north, case, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 0)
    assert await _person(north, "U001") == ("Given1", "Family1", None, None, [], True)


REFUSED: dict[str, tuple[Change, str]] = {
    "tab": (
        lambda zip_: zip_.files.update(users=zip_.files["users"].replace(",", "\t")),
        "users.csv is separated by tabs",
    ),
    "semicolon": (
        lambda zip_: zip_.files.update(users=zip_.files["users"].replace(",", ";")),
        "users.csv is separated by semicolons",
    ),
    "Windows-1252": (
        lambda zip_: zip_.raw.update(users=zip_.files["users"].replace("Given9", "Zo\u00eb").encode("cp1252")),
        "users.csv is not UTF-8 throughout: row 10 looks like Windows-1252",
    ),
    "UTF-16": (
        lambda zip_: zip_.raw.update(users=zip_.files["users"].encode("utf-16")),
        "users.csv is not UTF-8: row 1 looks like UTF-16",
    ),
    "a file that is announced and missing": (
        lambda zip_: zip_.files.pop("enrollments") and zip_.manifest.update({"file.enrollments": "bulk"}),
        "announces enrollments.csv",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_file_that_cannot_be_read_is_named_with_its_fault(north: Town, tmp_path: Path, name: str) -> None:
    """The error message names the file, the row, and the encoding or the delimiter that is wrong."""
    change, words = REFUSED[name]
    case = CaseZip()
    change(case)
    report = await _sync(north, case, tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert words in report.sentence


async def test_different_rows_of_one_user_wait_and_the_rest_goes_on(north: Town, tmp_path: Path) -> None:
    """Two different rows of one user are quarantined, the stored person is unchanged, and other rows are imported."""
    await _sync(north, CaseZip(), tmp_path)
    before = await _person(north, "U001")
    row = CaseZip().files["users"].split("\r\n")[1].replace(",S1,", ",S2,")
    report = await _sync(north, CaseZip().add("users", row).change("users", "Given2,", "Renamed,"), tmp_path)
    assert (report.state, report.exit_code, report.kinds["person"].updated) == ("applied", 3, 1)
    assert [(one.row, one.code) for one in report.refusals] == [
        (2, "sourcedId.repeated"),
        (STUDENTS + 4, "sourcedId.repeated"),
    ]
    assert await _person(north, "U001") == before


async def test_demographics_without_a_birth_date_are_taken(north: Town, tmp_path: Path) -> None:
    """Demographics without a birth date are imported, as over REST."""
    case = CaseZip().add("demographics", "sourcedId,status,dateLastModified,sex", "U001,,,male")
    report = await _sync(north, case, tmp_path)
    assert (report.state, report.exit_code, report.kinds["demographics"].created) == ("applied", 0, 1)


async def test_a_birth_date_in_the_future_waits(north: Town, tmp_path: Path) -> None:
    """A row with a birth date in the future is quarantined, and the other rows are imported."""
    rows = ("sourcedId,status,dateLastModified,birthDate", "U001,,,2999-01-01", "U002,,,2018-02-02")
    report = await _sync(north, CaseZip().add("demographics", *rows), tmp_path)
    assert (report.exit_code, report.kinds["demographics"].created) == (3, 1)
    assert [(one.sourced_id, one.code) for one in report.refusals] == [("U001", "date.in_the_future")]


async def test_a_file_that_is_left_out_is_not_read(north: Town, tmp_path: Path) -> None:
    """A file that the settings leave out is not read at all, even if it is broken, and its rows stay."""
    good = CaseZip().add("demographics", "sourcedId,status,dateLastModified,birthDate", "U001,,,2018-01-01")
    assert (await _sync(north, good, tmp_path)).kinds["demographics"].created == 1
    bad = CaseZip().add("demographics", "no,header", "at,all").write(tmp_path / "bad.zip")
    assert (await sync(north, bad, tmp_path)).exit_code == 5
    keyring, quiet = north.settings.keyring, lambda _doing, _done, _of: None
    engine, left_out = north.worker_engine, ["demographics"]
    report = await sync_csv(engine, keyring, north.district_id, bad, "csv", False, quiet, leave_out=left_out)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 0, 0)


async def test_rows_marked_as_deleted_that_are_not_known_are_ignored(north: Town, tmp_path: Path) -> None:
    """A row that is marked as deleted and that the roster does not have counts as ignored, and not as unchanged."""
    case = CaseZip().change("users", "U012,,", "U012,tobedeleted,").drop("enrollments", "E012")
    report = await _sync(north, case, tmp_path)
    people = report.kinds["person"]
    assert (report.exit_code, people.created, people.ignored, people.unchanged) == (0, STUDENTS + 1, 1, 0)
    repeated = await _sync(north, case, tmp_path)
    assert (repeated.kinds["person"].ignored, repeated.kinds["person"].unchanged) == (1, STUDENTS + 1)
