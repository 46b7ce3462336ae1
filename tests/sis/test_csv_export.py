"""Tests the sandbox's CSV exports with a gradebook: they follow the OneRoster bindings, can be imported, and have the
requested defects.
"""

import csv
import io
import tracemalloc
import zipfile
from datetime import date
from itertools import islice
from pathlib import Path

import pytest

from app.sandbox.district import District
from app.sandbox.export import ExportOptions, export_csv
from app.sandbox.export_files import Binding, UnknownCsvQuirk, csv_quirks
from app.sandbox.export_grades import Grades
from app.sis.oneroster_csv.archive import open_zip
from app.sis.oneroster_csv.files import FILES, expected_columns
from app.sis.port import SourceRefused
from tests.sis.roster_zip import sync
from tests.town import Town

DATE = date(2026, 11, 21)
VERSIONS = ("1.1", "1.2")
SPOILT = {
    "hidden-header:users": "hidden or foreign characters",
    "utf-16:results": "results.csv is not UTF-8",
    "header-only:enrollments": "enrollments.csv has a header and no row",
}


def _exported(folder: Path, version: str = "1.2", students: int = 60, quirks: tuple[str, ...] = ()) -> Path:
    path, binding = folder / f"{version}.zip", Binding(version, gradebook=True)
    options = ExportOptions(binding, quirks=csv_quirks(quirks, binding.headers))
    export_csv(District(3, students, DATE), path, options=options)
    return path


def _rows(path: Path, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        return list(csv.DictReader(io.StringIO(archive.read(f"{name}.csv").decode(), newline="")))


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_export_with_grades_is_taken_whole(north: Town, tmp_path: Path, version: str) -> None:
    """An export with grades is imported without warnings and quarantine, and a second run changes nothing."""
    path = _exported(tmp_path, version)
    report = await sync(north, path, tmp_path)
    assert (report.state, report.exit_code, report.warnings, report.not_taken) == ("applied", 0, [], [])
    assert report.kinds["result"].created == 60 * 10 * 2
    assert report.kinds["line_item"].created == len(_rows(path, "lineItems"))
    repeated = await sync(north, path, tmp_path)
    assert (repeated.exit_code, repeated.total("changes")) == (0, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_headers_and_manifest_are_those_of_the_binding(tmp_path: Path, version: str) -> None:
    """Every file of an export has the specified columns in their order.

    The manifest has an entry for each file that this version of OneRoster defines.
    """
    path = _exported(tmp_path, version)
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".csv") for name in archive.namelist() if name != "manifest.csv"]
        manifest = dict(csv.reader(io.StringIO(archive.read("manifest.csv").decode(), newline="")))
        for name in names:
            header = next(csv.reader([archive.read(f"{name}.csv").split(b"\r\n")[0].decode()]))
            left_out = {"resourceSourcedIds"}
            expected = [column for column in expected_columns(FILES[name], version) if column not in left_out]
            assert [column for column in header if not column.startswith("metadata.")] == expected, name
    modes = {key.removeprefix("file."): mode for key, mode in manifest.items() if key.startswith("file.")}
    assert len(modes) == {"1.1": 13, "1.2": 21}[version]
    assert {name for name, mode in modes.items() if mode == "bulk"} == set(names)


def test_roles_of_1_2_say_what_users_said_in_1_1(tmp_path: Path) -> None:
    """Each user has one primary role in a 1.2 export. It is the role that the user has in a 1.1 export."""
    before = {row["sourcedId"]: row for row in _rows(_exported(tmp_path, "1.1"), "users")}
    after = _rows(_exported(tmp_path, "1.2"), "roles")
    primary = {row["userSourcedId"]: row for row in after if row["roleType"] == "primary"}
    assert primary.keys() == before.keys()
    for user, row in before.items():
        role = primary[user]["role"]
        assert role == row["role"] or (row["role"] == "administrator" and role.endswith("Administrator"))
        assert primary[user]["orgSourcedId"] == row["orgSourcedIds"].split(",")[0]


@pytest.mark.parametrize("quirk", SPOILT)
def test_a_badly_made_export_is_refused(tmp_path: Path, quirk: str) -> None:
    """Each kind of defective export is refused with an error that describes its defect."""
    path = _exported(tmp_path, quirks=(quirk,))
    with pytest.raises(SourceRefused, match=SPOILT[quirk]), open_zip(path):
        pass


def test_an_export_that_fills_in_the_status_is_warned_of(tmp_path: Path) -> None:
    """A bulk export with values in the status column gives a warning and is imported as bulk."""
    with open_zip(_exported(tmp_path, quirks=("status-filled",))) as source:
        assert any("announced as bulk, with status" in warning for warning in source.warnings)


@pytest.mark.parametrize("quirk", ["loud", "utf-16", "utf-16:nowhere", "status-filled:users"])
def test_a_quirk_that_is_none_is_refused(quirk: str) -> None:
    """An unknown quirk (requested defect of the export) is refused with the list of all quirks."""
    with pytest.raises(UnknownCsvQuirk, match="There are: status-filled"):
        csv_quirks((quirk,), Binding("1.2", gradebook=True).headers)


def test_results_stream() -> None:
    """Results are generated one by one, so that memory does not depend on their number."""
    rows = Grades(District(3, 100_000, DATE), items=1).rows("results")
    tracemalloc.start()
    assert sum(1 for _ in islice(rows, 20_000)) == 20_000
    tracemalloc.reset_peak()
    held = tracemalloc.get_traced_memory()[0]
    assert sum(1 for _ in islice(rows, 40_000)) == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - held < 2 << 20
