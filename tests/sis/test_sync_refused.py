"""Tests that deliveries which are unreadable or unsupported change nothing and are refused with the reason."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.sis.oneroster_csv.archive import open_zip
from app.sis.port import SourceRefused
from tests.sis.roster_zip import Export, ask, fingerprint, header, sync
from tests.town import Town


def _text_header(name: str) -> str:
    return ",".join(header(name))


def _with_header(text: str) -> Export:
    export = Export()
    lines = export.sheet("users").split("\r\n")
    export.raw["users"] = "\r\n".join([text, *lines[1:]]).encode()
    return export


def _lacking_file() -> Export:
    export = Export()
    del export.rows["users"]
    export.modes["users"] = "bulk"
    return export


def _latin_1() -> Export:
    export = Export()
    export.row("users", "s1")["givenName"] = "Zoë"
    export.raw["users"] = export.sheet("users").encode("latin-1")
    return export


REFUSED: dict[str, tuple[Callable[[], Export], str]] = {
    "a missing file": (_lacking_file, "announces users.csv, and the zip does not hold it"),
    "a zero-width space in a header": (
        lambda: _with_header(_text_header("users").replace("email", "em\u200bail")),
        "hidden or foreign characters",
    ),
    "a no-break space before a name": (
        lambda: _with_header(_text_header("users").replace("email", "\u00a0email")),
        "hidden or foreign characters",
    ),
    "semicolons": (
        lambda: _with_header(_text_header("users").replace(",", ";")),
        "users.csv is separated by semicolons",
    ),
    "a column twice": (
        lambda: _with_header(_text_header("users").replace("email", "username")),
        "names the column username twice",
    ),
    "a header and no row": (
        lambda: Export(raw={"users": f"{_text_header('users')}\r\n".encode()}),
        "has a header and no row",
    ),
    "an empty file": (lambda: Export(raw={"users": b""}), "users.csv is empty"),
    "a login page": (
        lambda: Export(raw={"users": b"<!DOCTYPE html><html><body>Log in</body></html>"}),
        "users.csv is not CSV; it looks like a web page",
    ),
    "a workbook": (
        lambda: Export(raw={"users": b"PK\x03\x04\x14\0\x06\0\n\x01"}),
        "users.csv is not CSV; it looks like a zip file or an Excel workbook",
    ),
    "JSON": (lambda: Export(raw={"users": b'{"users": []}'}), "users.csv is not CSV; it looks like JSON"),
    "UTF-16": (lambda: Export(raw={"users": Export().sheet("users").encode("utf-16")}), "not UTF-8"),
    "Latin-1 in the middle": (_latin_1, "users.csv is not UTF-8 throughout"),
    "an end within a quoted value": (
        lambda: Export(raw={"users": Export().sheet("users").partition("Given s30")[0].encode() + b'"Given'}),
        "ends inside a quoted value",
    ),
    "OneRoster 1.3": (lambda: Export(version="1.3"), "this zip says 1.3"),
    "a mode that is none": (lambda: Export(modes={"users": "full"}), "neither absent, bulk nor delta"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_delivery_is_refused_and_the_roster_is_as_it_was(north: Town, tmp_path: Path, case: str) -> None:
    """A refused delivery gives exit code 5, state `failed` and a sentence with the file's name, and writes no roster
    row.
    """
    make, words = REFUSED[case]
    await sync(north, Export(), tmp_path)
    before = await fingerprint(north)
    report = await sync(north, make(), tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert words in report.sentence
    assert await fingerprint(north) == before
    (run,) = await ask(
        north,
        "SELECT state, sentence FROM sis_run WHERE district_id = :district ORDER BY began_at DESC LIMIT 1",
    )
    assert tuple(run) == ("failed", report.sentence)
    (event,) = await ask(
        north, "SELECT type, subject_id FROM event WHERE district_id = :district ORDER BY seq DESC LIMIT 1"
    )
    assert tuple(event) == ("sync.failed", report.run_id)


def _broken(path: Path) -> None:
    Export().write(path)
    path.write_bytes(path.read_bytes()[:-200])


def _damaged(path: Path) -> None:
    """Damages a byte in the middle of the users' file; the directory of the zip stays valid."""
    with zipfile.ZipFile(path, "w") as archive:
        Export().write(path)
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("users.csv")
    raw[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 0xFF
    path.write_bytes(bytes(raw))


def _inside_a_folder(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../users.csv", "x")


def _without_manifest(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("users.csv", Export().sheet("users"))


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.csv", b"0" * (30 << 20))


def _no_zip(path: Path) -> None:
    path.write_bytes(b"sourcedId,status\r\n")


@pytest.mark.parametrize("spoil", [_broken, _damaged, _inside_a_folder, _without_manifest, _bomb, _no_zip])
async def test_a_zip_that_is_not_whole_is_refused(north: Town, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """A damaged or harmful zip is refused.

    It may be cut off, contain a damaged file, lead out of its folder, lack the manifest, unpack to too much, or be no
    zip at all.
    """
    path = tmp_path / "spoilt.zip"
    spoil(path)
    report = await sync(north, path, tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    people = await ask(
        north,
        "SELECT count(*) FROM person WHERE district_id = :district AND arrived_in = :run",
        run=report.run_id,
    )
    assert people == [(0,)]


async def test_a_file_that_is_not_there_is_refused(north: Town, tmp_path: Path) -> None:
    """A missing file is refused with a sentence that has the file's name and no folder of the server."""
    report = await sync(north, tmp_path / "gone.zip", tmp_path)
    assert (report.exit_code, report.sentence) == (5, "There is no file gone.zip. Nothing was changed.")


def test_a_byte_order_mark_and_another_order_are_taken(tmp_path: Path) -> None:
    """A byte order mark and another order of columns are accepted and reported."""
    export = Export()
    lines = [line.split(",") for line in export.sheet("orgs").splitlines()]
    export.raw["orgs"] = b"\xef\xbb\xbf" + "\r\n".join(",".join([line[0], *line[:0:-1]]) for line in lines).encode()
    with open_zip(export.write(tmp_path / "roster.zip")) as source:
        assert source.deliveries["org"].header[0] == "sourcedId"
        assert source.warnings == ("orgs.csv has its columns in another order: read by their names.",)


def test_a_file_that_the_manifest_calls_absent_is_not_read(tmp_path: Path) -> None:
    """A file that the manifest calls absent is not read, and is reported as left out."""
    export = Export(modes={"demographics": "absent"})
    with open_zip(export.write(tmp_path / "roster.zip")) as source:
        assert "demographics" not in source.deliveries
        assert source.not_taken == ("demographics.csv",)


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    """A zip with a password is refused because of its encryption flag."""
    path = Export().write(tmp_path / "roster.zip")
    raw = bytearray(path.read_bytes())
    at = raw.find(b"PK\x01\x02")
    raw[at + 8] |= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(SourceRefused, match="encrypted"), open_zip(path):
        pass
