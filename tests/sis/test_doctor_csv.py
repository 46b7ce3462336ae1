"""Tests that an inspection judges a CSV source as a run would, with the same exit code, and writes nothing."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.core.address import Allowed
from app.sis.runs.pull import inspect_source, run_source
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.sis.roster_zip import ROSTER, Export, fingerprint
from tests.town import Town

SANDBOX = Allowed(sandbox=True)
TABLES = [*ROSTER, "sis_run", "sis_quarantine", "sis_planned_change", "sis_lease"]
Change = Callable[[Export], object]


def _announce(export: Export, mode: str) -> None:
    export.modes["users"] = mode


def _lose_courses(export: Export) -> None:
    del export.rows["courses"]
    export.modes["courses"] = "bulk"


CASES: dict[str, tuple[Change, int, str]] = {
    "nothing": (lambda export: export.rows, 0, "A sync can read this source."),
    "a renamed child": (lambda export: export.row("users", "s3").update(givenName="Anna"), 0, "would make 1 change."),
    "an unknown role": (lambda export: export.row("users", "s3").update(role="pupil"), 3, "s3, role: role.unknown"),
    "another encoding": (
        lambda export: export.raw.update(users=export.sheet("users").replace("Given s7", "Zoë").encode("cp1252")),
        5,
        "Windows-1252",
    ),
    "most students gone": (lambda export: export.without("users", *(f"s{n}" for n in range(30))), 4, "would be held"),
    "a header without rows": (
        lambda export: export.raw.update(users=export.sheet("users").partition("\n")[0].encode()),
        5,
        "has a header and no row",
    ),
    "a file that is announced and missing": (
        lambda export: export.modes.update(courses="bulk") or export.rows.pop("courses"),
        5,
        "the zip does not hold it",
    ),
    "a line before the header": (
        lambda export: export.raw.update(users=b"Export of today,,\r\n" + export.sheet("users").encode()),
        5,
        "The first line of users.csv is not the header of OneRoster",
    ),
    "an unknown mode": (lambda export: _announce(export, "full"), 5, "neither absent, bulk nor delta"),
}


@pytest.mark.parametrize("case", CASES)
async def test_the_doctor_exits_as_the_run_of_the_same_zip(north: Town, tmp_path: Path, case: str) -> None:
    """Inspecting a file at a path gives the exit code of the next run and the reason for it, and writes no row."""
    change, code, words = CASES[case]
    path, engine, keyring = tmp_path / "roster.zip", north.worker_engine, north.settings.keyring
    new = SourceSettings(kind="oneroster-csv", url=str(Export().write(path)))
    async with north.unit() as work:
        made = await sources.register_source(work, "csv", new, SANDBOX, local=True)

    async def run() -> int:
        report = await run_source(engine, keyring, north.district_id, made.source.id, lambda _a, _b, _c: None, SANDBOX)
        return report.exit_code

    assert await run() == 0
    export = Export()
    change(export)
    export.write(path)
    before = await fingerprint(north, TABLES)
    findings = await inspect_source(engine, keyring, north.district_id, made.source.id, SANDBOX)
    assert (findings["exit_code"], findings["ready"]) == (code, code != 5), findings["sentences"]
    assert words in " ".join(findings["sentences"])
    assert await fingerprint(north, TABLES) == before
    assert await run() == code if case != "nothing" else await run() == 0


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04", "truncated"], ids=["empty", "html", "zip", "cut"])
async def test_what_is_no_zip_is_refused_by_doctor_and_run(north: Town, tmp_path: Path, content: bytes | str) -> None:
    """A file that is no whole zip is refused by `doctor` and by the run with exit code 5, without a traceback."""
    path, engine, keyring = tmp_path / "roster.zip", north.worker_engine, north.settings.keyring
    path.write_bytes(content if isinstance(content, bytes) else Export().packed()[:-100])
    async with north.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(path))
        made = await sources.register_source(work, "csv", new, SANDBOX, local=True)
    findings = await inspect_source(engine, keyring, north.district_id, made.source.id, SANDBOX)
    assert (findings["ready"], findings["exit_code"]) == (False, 5)
    assert findings["sentences"][-1] == "A sync cannot read this source as it is set."
    report = await run_source(engine, keyring, north.district_id, made.source.id, lambda _a, _b, _c: None, SANDBOX)
    assert (report.state, report.exit_code) == ("failed", 5)
    assert zipfile.BadZipFile.__name__ not in report.sentence


MANIFESTS = {
    "twice with one value": ("file.users,bulk\r\nfile.users,BULK", 0, "A sync can read this source."),
    "twice with two values": ("file.users,bulk\r\nfile.users,absent", 5, "names file.users twice"),
    "with its ending": ("file.users.csv,bulk", 0, "A sync can read this source."),
}


@pytest.mark.parametrize("case", MANIFESTS)
async def test_a_manifest_that_names_a_file_oddly(north: Town, tmp_path: Path, case: str) -> None:
    """A manifest may name a file with the ending `.csv`, and may name it twice with the same mode.

    A file that is named twice with different modes is refused.
    """
    line, code, words = MANIFESTS[case]
    path = tmp_path / "roster.zip"
    with zipfile.ZipFile(Export().write(tmp_path / "good.zip")) as good, zipfile.ZipFile(path, "w") as odd:
        for name in good.namelist():
            content = good.read(name)
            odd.writestr(name, content.replace(b"file.users,bulk", line.encode()) if "manifest" in name else content)
    async with north.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(path))
        made = await sources.register_source(work, "csv", new, SANDBOX, local=True)
    engine, keyring = north.worker_engine, north.settings.keyring
    findings = await inspect_source(engine, keyring, north.district_id, made.source.id, SANDBOX)
    assert (findings["exit_code"], findings["ready"]) == (code, code == 0), findings["sentences"]
    assert words in " ".join(findings["sentences"])
