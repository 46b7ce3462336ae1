"""Tests zips that are broken on purpose: each is refused with a sentence before anything is written."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.sis.engine.report import Refusal
from app.sis.oneroster_csv.archive import open_zip
from app.sis.port import SourceRefused
from tests.sis.gradebook_zip import Delivered
from tests.sis.roster_zip import STUDENTS, fingerprint, sync
from tests.town import Town

GRADEBOOK = ("category", "line_item", "result", "score_scale", "person_role")


def _raw(name: str, change: Callable[[str], str | bytes], version: str = "1.2") -> Delivered:
    export = Delivered(version=version)
    made = change(export.sheet(name))
    export.raw[name] = made if isinstance(made, bytes) else made.encode()
    return export


def _second_line(text: str, change: Callable[[str], str]) -> str:
    first, second, rest = text.split("\r\n", 2)
    return "\r\n".join((first, change(second), rest))


REFUSED: dict[str, tuple[Callable[[], Delivered], str]] = {
    "a header of 10,000 columns": (
        lambda: _raw("results", lambda text: text.replace("comment", ",".join(f"c{n}" for n in range(10_000)), 1)),
        "results.csv has 10,01",
    ),
    "a header that does not end": (
        lambda: _raw("results", lambda text: "sourcedId," + "x" * 200_000),
        "The first line of results.csv does not end",
    ),
    "a NUL in a header": (lambda: _raw("roles", lambda text: text.replace("role,", "role\0,", 1)), "roles.csv"),
    "UTF-16 results": (lambda: _raw("results", lambda text: text.encode("utf-16")), "results.csv is not UTF-8"),
    "Latin-1 in a comment": (
        lambda: _raw("results", lambda text: _second_line(text, lambda row: row + "é").encode("latin-1")),
        "results.csv is not UTF-8 throughout",
    ),
    "a soft hyphen in a header": (
        lambda: _raw("lineItems", lambda text: text.replace("title", "ti\u00adtle", 1)),
        "hidden or foreign characters (SOFT HYPHEN)",
    ),
    "results without rows": (
        lambda: _raw("results", lambda text: text.split("\r\n")[0] + "\r\n\r\n"),
        "results.csv has a header and no row",
    ),
    "roles without their user": (
        lambda: _raw("roles", lambda text: text.replace("userSourcedId", "person", 1)),
        "roles.csv lacks the column userSourcedId",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_spoilt_file_is_refused_and_everything_is_as_it_was(north: Town, tmp_path: Path, case: str) -> None:
    """A damaged file is refused with exit 5 and a sentence with its name, and no row is written."""
    make, words = REFUSED[case]
    await sync(north, Delivered(version="1.2"), tmp_path)
    before = await fingerprint(north), await fingerprint(north, GRADEBOOK)
    report = await sync(north, make(), tmp_path)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert words in report.sentence
    assert (await fingerprint(north), await fingerprint(north, GRADEBOOK)) == before


async def test_a_row_of_10_000_columns_is_one_row_in_quarantine(north: Town, tmp_path: Path) -> None:
    """A row of 10,000 columns is quarantined alone, and the stored row stays."""
    export = Delivered(version="1.2")
    await sync(north, export, tmp_path)
    before = await fingerprint(north, GRADEBOOK)
    wide = _second_line(export.sheet("results"), lambda row: row + ",x" * 10_000)
    export.raw["results"] = wide.encode()
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3)
    assert report.refusals == [Refusal("results.csv", 2, "", "row.columns")]
    assert (report.total("changes"), await fingerprint(north, GRADEBOOK)) == (0, before)


@pytest.mark.parametrize("ends", [b"\r\n", b"\n", b"\r"])
@pytest.mark.parametrize("where", ["givenName", "sourcedId"])
async def test_a_row_of_over_8_mb_is_one_row_in_quarantine(
    north: Town, tmp_path: Path, ends: bytes, where: str
) -> None:
    """A row of more than 8 MB is quarantined, the other rows are imported, and nobody is removed.

    Earlier, such a row caused the whole delivery to be refused. If the sourcedId of the row cannot be read, no stored
    person counts as absent from the file.
    """
    export = Delivered()
    await sync(north, export, tmp_path)
    before = await fingerprint(north)
    place = export.rows["users"].index(export.row("users", "s7")) + 2
    export.row("users", "s7")[where] += "\u00e9" * 4_900_000  # 9.8 MB
    export.raw["users"] = export.sheet("users").encode().replace(b"\r\n", ends)
    report = await sync(north, export, tmp_path)
    assert (report.state, report.exit_code) == ("applied", 3), report.sentence
    assert Refusal("users.csv", place, "", "row.too_long") in report.refusals
    assert report.kinds["person"].quarantined == 1
    assert (report.kinds["person"].absent, await fingerprint(north)) == (0, before)


async def test_a_cell_of_a_megabyte_is_taken_or_named_and_breaks_nothing(north: Town, tmp_path: Path) -> None:
    """A comment of a megabyte is imported, an id of a megabyte is quarantined, and the other rows are imported."""
    export = Delivered()
    export.row("results", "r-quiz-s0")["comment"] = "a" * (1 << 20)
    export.row("users", "s7")["sourcedId"] = "s" * (1 << 20)
    report = await sync(north, export, tmp_path)
    codes = {(one.file, one.code) for one in report.refusals}
    assert ("users.csv", "value.too_long") in codes
    assert report.kinds["person"].created == STUDENTS + 1
    assert report.kinds["result"].quarantined == 0


def _read(path: Path) -> None:
    with open_zip(path) as source:
        for delivery in source.deliveries.values():
            assert sum(len(chunk) for chunk in delivery.read()) < 1 << 20


def _many_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(1000):
            archive.writestr(f"{number}.csv", "")


def _slip(name: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        Delivered().write(path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, "x")

    return spoil


def _twice(path: Path) -> None:
    Delivered().write(path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("users.csv", "x")


def _lies_about_its_size(path: Path) -> None:
    """Writes a zip that contains a large file but states a size of 500 bytes for it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.csv", "propertyName,value\r\noneroster.version,1.1\r\nfile.users,bulk\r\n")
        archive.writestr("users.csv", b"sourcedId," * (100 << 20 >> 3))
        at = archive.getinfo("users.csv").header_offset
    raw = bytearray(path.read_bytes())
    central = raw.rfind(b"PK\x01\x02")
    raw[at + 22 : at + 26] = raw[central + 24 : central + 28] = struct.pack("<I", 500)
    path.write_bytes(bytes(raw))


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "a thousand files": (_many_entries, "far more files"),
    "a path upwards": (_slip("../../results.csv"), "contains folders"),
    "an absolute path": (_slip("/etc/results.csv"), "contains folders"),
    "a path of Windows": (_slip("..\\results.csv"), "contains folders"),
    "a file twice": (_twice, "the same file twice"),
    "a size that lies": (_lies_about_its_size, "users.csv"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_zip_made_to_harm_is_refused(tmp_path: Path, case: str) -> None:
    """A harmful zip is refused, and the message says what is wrong with it."""
    spoil, words = SPOILT[case]
    path = tmp_path / "spoilt.zip"
    spoil(path)
    with pytest.raises(SourceRefused, match=words):
        _read(path)
