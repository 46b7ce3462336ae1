"""Tests CSV deliveries that tools have damaged: each is read rightly, or refused with its reason."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.sis.oneroster_csv.files import FILES
from tests.sis.case_zip import STUDENTS, CaseZip
from tests.sis.roster_zip import LENIENT, fingerprint, sync
from tests.sis.rows_server import RowsServer, sync_rows
from tests.sis.score_file import Scores, load
from tests.town import Town

Change = Callable[[CaseZip], object]


def _lines(case: CaseZip, name: str) -> list[str]:
    return case.files[name].split("\r\n")


def _repeat_header(case: CaseZip, place: int, mark: str = "") -> None:
    for name in case.files:
        header, *rows = _lines(case, name)
        rows.insert(place, mark + header)
        case.files[name] = "\r\n".join((header, *rows))


READ: dict[str, tuple[Change, str]] = {
    "two header rows": (lambda case: _repeat_header(case, 0), "users.csv: 1 row repeats the header and is left out."),
    "a header between the rows of joined files": (
        lambda case: _repeat_header(case, 1, "\ufeff"),
        "users.csv: 1 row repeats the header and is left out.",
    ),
    "an id with a line end in quotes": (
        lambda case: case.change("users", "U003,", '"U003\r\n",').change("enrollments", "U004,", '"\nU004",'),
        "users.csv: 1 row has blanks around a sourcedId",
    ),
    "an unknown column twice": (
        lambda case: case.files.update(
            users="\r\n".join(
                line + (",1,2" if number else ",metadata.x,metadata.x") if line else line
                for number, line in enumerate(_lines(case, "users"))
            )
        ),
        "",
    ),
    "a thousand empty lines": (lambda case: case.change("users", "U005,", "\r\n" * 1000 + "U005,"), ""),
    "resource files of macOS": (
        lambda case: case.files.update({"._users": "\0\5\x16\7", ".DS_Store": "\0\0"}),
        "",
    ),
}


@pytest.mark.parametrize("name", READ)
async def test_a_damaged_delivery_that_can_be_read_changes_nothing(north: Town, tmp_path: Path, name: str) -> None:
    """What a tool adds to a file without changing a record changes nothing in the roster, and causes no exit 3."""
    change, note = READ[name]
    assert (await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)).exit_code == 0
    before = await fingerprint(north)
    case = CaseZip()
    change(case)
    report = await sync(north, case.write(tmp_path / "b.zip"), tmp_path)
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 0, 0), report.as_json()
    assert note in " ".join(report.warnings), report.warnings
    assert "announced as bulk, with status" not in " ".join(report.warnings)
    assert await fingerprint(north) == before


async def test_a_repeated_header_of_a_first_load_makes_no_record(north: Town, tmp_path: Path) -> None:
    """A repeated header makes no course with the sourcedId `sourcedId`, where nothing but the sourcedId is required."""
    case = CaseZip().add(
        "courses",
        "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,"
        "orgSourcedId,subjects,subjectCodes",
    )
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.exit_code, report.kinds["course"].created) == (0, 1), report.as_json()
    scores = Scores().text()
    (tmp_path / "scores.csv").write_text(scores + scores, newline="")
    loaded = await load(north, tmp_path / "scores.csv", tmp_path)
    assert (loaded.exit_code, loaded.kinds["score"].created) == (0, 3), loaded.as_json()


def _minimal() -> CaseZip:
    """Returns a delivery in which each file has only the columns that OneRoster requires."""
    case = CaseZip()
    case.add("demographics", "sourcedId,status,dateLastModified", "U001,,")
    case.add("categories", "sourcedId,status,dateLastModified,title", "K,,,Quizzes")
    for name in case.files:
        header, *rows = [line.split(",") for line in _lines(case, name) if line]
        required = FILES[name].required | ({"orgSourcedIds", "role"} if name == "users" else set())
        places = [place for place, column in enumerate(header) if column in required]
        case.files[name] = "".join(",".join(row[place] for place in places) + "\r\n" for row in (header, *rows))
    return case


async def test_files_with_the_required_columns_alone_are_read(north: Town, tmp_path: Path) -> None:
    """A delivery without any optional column is imported, compared, removed and restored, as over REST."""
    first = await sync(north, _minimal().write(tmp_path / "a.zip"), tmp_path)
    assert (first.state, first.exit_code, first.kinds["person"].created) == ("applied", 0, STUDENTS + 2), first.sentence
    assert first.kinds["course"].created == first.kinds["category"].created == first.kinds["demographics"].created == 1
    again = await sync(north, _minimal().write(tmp_path / "b.zip"), tmp_path)
    assert (again.exit_code, again.total("changes")) == (0, 0), again.as_json()
    lacking = _minimal()
    for name in ("courses", "categories", "demographics"):
        lacking.add(name, "other")
        lacking.drop(name, "K1", "K", "U001")
    lacking.drop("demographics", "other").add("demographics", "U002")
    changed = await sync(north, lacking.write(tmp_path / "c.zip"), tmp_path, limits=LENIENT)
    assert (changed.state, changed.exit_code) == ("applied", 0), changed.as_json()
    assert changed.kinds["course"].absent == changed.kinds["category"].absent == 1
    restored = await sync(north, _minimal().write(tmp_path / "d.zip"), tmp_path, limits=LENIENT)
    assert (restored.state, restored.exit_code, restored.total("restored")) == ("applied", 0, 3), restored.as_json()


@pytest.mark.parametrize("header", ["sourcedId", "sourcedId,courseCode", "sourcedId,courseCode,orgSourcedId"])
async def test_rows_of_which_all_values_are_empty_come_and_go(north: Town, tmp_path: Path, header: str) -> None:
    """A new row and a missing one are noticed even if no column but the sourcedId has a value."""
    commas = "," * header.count(",")
    cases = [CaseZip(), CaseZip()]
    for case, names in zip(cases, (("K1", "K2"), ("K1", "K3")), strict=True):
        case.files["courses"] = "".join(f"{line}\r\n" for line in (header, *(name + commas for name in names)))
    await sync(north, cases[0].write(tmp_path / "a.zip"), tmp_path)
    report = await sync(north, cases[1].write(tmp_path / "b.zip"), tmp_path, limits=LENIENT)
    courses = report.kinds["course"]
    assert (report.exit_code, courses.created, courses.absent, courses.unchanged) == (0, 1, 1, 1), report.as_json()


async def test_rows_with_the_required_fields_alone_are_read_over_rest(north: Town) -> None:
    """Rows over REST that have only the fields which OneRoster requires are imported and compared."""
    fields: dict[str, tuple[str, ...]] = {
        "users": ("sourcedId", "givenName", "familyName", "role", "orgs"),
        "orgs": ("sourcedId", "name", "type"),
        "academicSessions": ("sourcedId", "type", "startDate", "endDate"),
        "courses": ("sourcedId",),
        "classes": ("sourcedId", "school"),
        "enrollments": ("sourcedId", "class", "user", "school", "role"),
        "demographics": ("sourcedId",),
    }
    server = RowsServer()
    for name, rows in server.rows.items():
        server.rows[name] = [{key: row[key] for key in fields[name]} for row in rows]
    assert (await sync_rows(north, server)).exit_code == 0
    again = await sync_rows(north, server)
    assert (again.exit_code, again.total("changes")) == (0, 0), again.as_json()


def _in_a_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "r") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("roster.zip", inner.getvalue())


def _in_a_folder(path: Path) -> None:
    with zipfile.ZipFile(path, "r") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"export/{name}", content)


REFUSED: dict[str, tuple[Any, str]] = {
    "a zip in a zip": (_in_a_zip, "holds another zip"),
    "files in a folder": (_in_a_folder, "contains folders"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_zip_of_another_form_is_refused_with_its_reason(north: Town, tmp_path: Path, name: str) -> None:
    """A zip whose files are not at its root is refused, and the sentence says what to send."""
    change, words = REFUSED[name]
    path = CaseZip().write(tmp_path / "a.zip")
    change(path)
    report = await sync(north, path, tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert words in report.sentence


ENCODINGS: dict[str, tuple[bytes, str]] = {
    "UTF-16 without a mark": (b"utf-16-le", "UTF-16"),
    "UTF-32": (b"utf-32", "UTF-32"),
    "Oracle's UTF8": (b"", "CESU-8"),
}


@pytest.mark.parametrize("name", ENCODINGS)
async def test_an_encoding_that_is_not_utf_8_is_named(north: Town, tmp_path: Path, name: str) -> None:
    """A file in another form of Unicode is refused, and the sentence names this form."""
    codec, words = ENCODINGS[name]
    case = CaseZip()
    text = case.files["users"]
    case.raw["users"] = (
        text.encode(codec.decode()) if codec else text.encode().replace(b"Given3", b"\xed\xa0\xbd\xed\xb8\x80")
    )
    report = await sync(north, case.write(tmp_path / "a.zip"), tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert words in report.sentence
