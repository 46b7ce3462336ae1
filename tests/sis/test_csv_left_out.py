"""Tests that a stored CSV source can leave out a file, wherever its zip comes from: a path, a folder or an upload."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.core.address import Allowed
from app.core.clock import now
from app.sis.engine.report import Report
from app.sis.runs.pull import inspect_source, run_source
from app.sis.scheduler.execute import SyncScheduler
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.faces.rest_town import caller
from tests.processes import aimline
from tests.sis.roster_zip import STUDENTS, Export, ask
from tests.town import Town

SANDBOX = Allowed(sandbox=True)
ZIP = {"Content-Type": "application/zip"}
HINT = "To go on without demographics.csv: --leave-out demographics."


def _misname(export: Export) -> None:
    export.raw["demographics"] = export.sheet("demographics").replace("sourcedId", "id", 1).encode()


def _encode_otherwise(export: Export) -> None:
    export.raw["demographics"] = export.sheet("demographics").replace("TRUE", "Zoë", 1).encode("latin-1")


def _leave_open(export: Export) -> None:
    export.raw["demographics"] = export.sheet("demographics").rstrip().encode() + b'\r\n"s1,'


def _lose(export: Export) -> None:
    del export.rows["demographics"]
    export.modes["demographics"] = "bulk"


BROKEN: dict[str, Callable[[Export], None]] = {
    "another header": _misname,
    "another encoding": _encode_otherwise,
    "a quote that is never closed": _leave_open,
    "a file that is announced and missing": _lose,
}


async def _demographics(town: Town) -> int:
    rows = await ask(
        town,
        "SELECT count(*) FROM demographics d WHERE d.district_id = :district AND d.removed_at IS NULL "
        "AND d.source_id = (SELECT s.id FROM source s WHERE s.district_id = :district AND s.name = 'nightly')",
    )
    return int(rows[0][0])


@pytest.mark.parametrize("fault", BROKEN)
async def test_the_message_of_a_broken_file_names_the_option_that_leaves_it_out(
    north: Town, tmp_path: Path, fault: str
) -> None:
    """If a file that a sync does not need is broken, the run and the doctor name the option `--leave-out`.

    With this option set by the command line, the rest is synced, and the rows of the file stay as they were.
    """
    path, town = tmp_path / "roster.zip", (north.worker_engine, north.settings.keyring, north.district_id)
    async with north.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(Export().write(path)))
        made = await sources.register_source(work, "nightly", new, SANDBOX, local=True)

    async def run() -> Report:
        return await run_source(*town, made.source.id, lambda _a, _b, _c: None, SANDBOX)

    assert (await run()).exit_code == 0
    export = Export()
    export.row("users", "s3")["familyName"] = "Other"
    BROKEN[fault](export)
    export.write(path)
    findings, failed = await inspect_source(*town, made.source.id, SANDBOX), await run()
    assert (findings["exit_code"], failed.state, failed.exit_code) == (5, "failed", 5)
    for sentence in (" ".join(findings["sentences"]), failed.sentence):
        assert HINT in sentence, sentence
    options = ("--district", north.slug, "--leave-out", "demographics")
    set_ = aimline(north.settings, "sis", "set", "nightly", *options)
    assert set_.returncode == 0, set_.stderr
    assert (await inspect_source(*town, made.source.id, SANDBOX))["exit_code"] == 0
    report = await run()
    assert (report.state, report.exit_code, report.total("changes")) == ("applied", 0, 1), report.as_json()
    assert await _demographics(north) == STUDENTS


async def test_a_folder_leaves_out_a_file_of_bulks_and_of_deltas(north: Town, tmp_path: Path) -> None:
    """A source with a drop folder does not read the file that it leaves out, and still takes each zip once.

    A zip that is a delta except for this file counts as a delta, and does not hide the deltas before it.
    """
    town = (north.worker_engine, north.settings.keyring, north.district_id)
    async with north.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(tmp_path), left_out=("demographics",))
        made = await sources.register_source(work, "nightly", new, SANDBOX, local=True)
    for age, name in ((9000, "bulk"), (6000, "first"), (3000, "second")):
        export = Export()
        if name != "bulk":
            row = export.row("users", "s1" if name == "first" else "s2")
            export.rows["users"] = [row | {"status": "active", "dateLastModified": "2026-11-20T00:00:00Z"}]
            row = export.rows["users"][0]
            row["familyName"] = name
            export.rows = {kind: export.rows[kind] for kind in ("users", "demographics")}
            export.modes = {"users": "delta", "demographics": "bulk"}
        export.rows["demographics"] = export.rows["demographics"][:1]
        path = export.write(tmp_path / f"{name}.zip")
        os.utime(path, (now().timestamp() - age,) * 2)
    ran = [await run_source(*town, made.source.id, lambda _a, _b, _c: None, SANDBOX) for _ in range(4)]
    assert [report.state for report in ran] == ["applied", "applied", "applied", "skipped"], [r.sentence for r in ran]
    assert [report.taken["name"] for report in ran if report.taken] == ["bulk.zip", "first.zip", "second.zip"]
    assert [report.kinds["person"].updated for report in ran[1:3]] == [1, 1]
    assert await _demographics(north) == 0


async def test_an_upload_leaves_out_a_file(app: FastAPI, north: Town) -> None:
    """A source of uploads that leaves out a file accepts and applies a zip in which this file is broken."""
    asks = caller(app, north)
    new = {"name": "sent", "kind": "oneroster-csv", "url": "upload:", "left_out": ["demographics"]}
    made = await asks.post("/v1/sis-sources", new)
    assert made.status_code == 201, made.text
    export = Export()
    _misname(export)
    sent = await asks.ask("POST", f"/v1/sis-sources/{made.json()['id']}/roster", content=export.packed(), headers=ZIP)
    assert sent.status_code == 202, sent.text
    await SyncScheduler(north.worker_engine, north.settings.keyring, SANDBOX)._district(north.district_id)
    run = (await asks.get(sent.headers["location"])).json()
    assert (run["state"], run["counts"]["person"]["created"]) == ("applied", STUDENTS + 2), run["sentence"]
