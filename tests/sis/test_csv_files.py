"""Tests the CSV files that people open in a spreadsheet: programs recognize the encoding, and ids stay unchanged."""

import csv
import io
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.cli.scope_options import read_users
from app.core.csv_file import BOM
from app.core.ids import format_id
from app.sis.engine.report import Report
from app.sis.runs.rekey import read_pairs
from tests.faces.rest_town import caller
from tests.processes import environment, warm
from tests.sis.roster_zip import Export, sync
from tests.town import Town

MARK = BOM.encode()


async def _held(town: Town, folder: Path) -> Report:
    """Runs a sync that is held, that is, waits for approval. Returns its report.

    The sync changes a name, and puts a row whose id begins with a hyphen into quarantine.
    """
    await sync(town, Export(), folder)
    export = Export()
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    export.row("users", "s3")["givenName"] = "Jörg-Łukasz"
    export.row("users", "s5").update(sourcedId="-Ärger,5", enabledUser="perhaps")
    export.row("enrollments", "e5")["userSourcedId"] = "-Ärger,5"
    report = await sync(town, export, folder)
    assert report.state == "held"
    return report


def _run(town: Town, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return warm().run(["aimline", "sync", *arguments], environment(town.settings, **variables))


async def test_each_csv_file_of_rest_begins_with_the_mark_of_utf_8(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """Each CSV file of REST begins with a byte order mark, so that Excel shows umlauts. Readers that skip the mark get
    the right first column.
    """
    asks, run = caller(app, north), f"/v1/sync-runs/{format_id('run', (await _held(north, tmp_path)).run_id)}"
    for path, first, text in (
        (f"{run}/quarantine.csv", "file", "Ärger"),
        (f"{run}/planned-changes.csv", "kind", "Jörg-Łukasz"),
        ("/v1/interventions.csv", "code", "name"),
    ):
        answer = await asks.get(path)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8", path
        assert answer.content.startswith(MARK), path
        assert answer.content.count(MARK) == 1, path
        rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert rows[0][0] == first
        assert text in answer.text, path


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_the_command_line_writes_the_same_files(north: Town, tmp_path: Path, encoding: str) -> None:
    """Output that is redirected to a file is UTF-8 with a byte order mark, whatever the encoding of the machine. An id
    that begins with a hyphen can be read back from the file.
    """
    run = format_id("run", (await _held(north, tmp_path)).run_id)
    shown = _run(north, "quarantine", run, "--district", north.slug, PYTHONIOENCODING=encoding)
    assert (shown.returncode, shown.stdout.startswith(f"{BOM}file,row,sourcedId")) == (0, True), shown.stderr
    file = tmp_path / "rows.csv"
    file.write_text(shown.stdout, newline="")
    assert "-Ärger,5" in read_users(str(file)), "the file is one of users to exclude, too"
    listed = _run(north, "diff", run, "--district", north.slug, "--csv", PYTHONIOENCODING=encoding).stdout
    assert listed.startswith(f"{BOM}kind,action,sourcedId")
    assert "Jörg-Łukasz" in listed


async def test_a_map_of_new_ids_is_read_as_it_was_written(north: Town, tmp_path: Path) -> None:
    """A map of sourcedIds with commas, quotes and leading hyphens is the same after `--out` writes it and `--match
    FILE` reads it.
    """
    await sync(north, Export(), tmp_path)
    export = Export()
    for person in export.rows["users"]:
        person["sourcedId"] = f'-{person["sourcedId"]},"ä"'
    for name, column in (("demographics", "sourcedId"), ("enrollments", "userSourcedId")):
        for row in export.rows[name]:
            row[column] = f'-{row[column]},"ä"'
    held = await sync(north, export, tmp_path)
    assert held.state == "held"
    file = tmp_path / "map.csv"
    named = ("rekey", format_id("run", held.run_id), "--district", north.slug, "--match", "identifier", "--out")
    refused = _run(north, *named, str(tmp_path / "no-folder" / "map.csv"))
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr
    held = await sync(north, export, tmp_path)
    done = _run(north, *("rekey", format_id("run", held.run_id), *named[2:]), str(file))
    assert done.returncode == 4, done.stderr
    assert file.read_bytes().startswith(MARK)
    pairs = dict(read_pairs(file))
    assert pairs["s3"] == '-s3,"ä"'
    assert len(pairs) == len(export.rows["users"])
