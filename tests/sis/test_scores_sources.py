"""Tests where a CSV file of scores comes from (an upload, a folder, an address, the command line), and its judging."""

import contextlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app.core.address import Allowed
from app.core.clock import now
from app.sis.engine.report import Report
from app.sis.runs.pull import inspect_source, run_source
from app.sis.scheduler.execute import SyncScheduler
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.processes import aimline
from tests.rooms.verdict_town import supported
from tests.sis.roster_zip import ask
from tests.sis.score_file import Scores, line, load, scores_of
from tests.town import YEAR_BEGINS, Town, by_four_points

SANDBOX = Allowed(sandbox=True)
SENT = {"Content-Type": "text/csv; charset=utf-8"}


async def _make(town: Town, url: str) -> sources.ConfiguredSource:
    async with town.unit() as work:
        return await sources.register_source(
            work, "vendor", SourceSettings(kind="scores-csv", url=url), SANDBOX, local=True
        )


async def _run(town: Town, made: sources.ConfiguredSource, **more: Any) -> Report:
    keyring = town.settings.keyring
    return await run_source(
        town.worker_engine,
        keyring,
        town.district_id,
        made.source.id,
        lambda _doing, _done, _of: None,
        SANDBOX,
        **more,
    )


def _aged(path: Path, age: float) -> Path:
    os.utime(path, (now().timestamp() - age,) * 2)
    return path


async def test_an_uploaded_file_is_applied_by_the_worker(app: FastAPI, north: Town) -> None:
    """An uploaded file of scores is answered with 202 and the address of its run, and the worker imports the file.

    Three uploads are refused: one with a wrong header, one without the scope `sync:run`, and one of a roster.
    """
    asks = caller(app, north)
    made = await asks.post("/v1/sis-sources", {"name": "vendor", "kind": "scores-csv", "url": "upload:"})
    assert made.status_code == 201, made.text
    path = f"/v1/sis-sources/{made.json()['id']}/scores"
    text = Scores().text().encode()
    bad = await asks.ask("POST", path, content=text.replace(b"value", b"points", 1), headers=SENT)
    assert (bad.status_code, bad.json()["violations"][0]["code"]) == (422, "archive.unfit")
    assert "lacks the column value" in bad.json()["violations"][0]["detail"]
    lacking = caller(app, north, CLIENT_SCOPES - {"sync:run"})
    assert (await lacking.ask("POST", path, content=text, headers=SENT)).status_code == 403
    wrong = await asks.ask("POST", path.replace("/scores", "/roster"), content=text, headers=SENT)
    assert (wrong.status_code, wrong.json()["code"]) == (409, "source.kind")
    dry = await asks.ask("POST", path, content=text, headers=SENT, params={"dry": "true"})
    assert dry.status_code == 202, dry.text
    scheduler = SyncScheduler(north.worker_engine, north.settings.keyring, SANDBOX)
    await scheduler._district(north.district_id)
    assert await scores_of(north) == []
    sent = await asks.ask("POST", path, content=text, headers=SENT)
    await scheduler._district(north.district_id)
    run = (await asks.get(sent.headers["location"])).json()
    assert (run["state"], run["mode"], run["counts"]["score"]["created"]) == ("applied", "scores", 3), run["sentence"]
    assert len(await scores_of(north)) == 3
    assert await ask(north, "SELECT 1 FROM sis_upload WHERE district_id = :district") == []


async def test_a_folders_files_are_taken_in_their_order_and_once(north: Town, tmp_path: Path) -> None:
    """Each file of a folder is imported once. Each run imports one file, the oldest first.

    A file that is still being written, or that is no CSV, is skipped.
    """
    first, second = Scores(), Scores([line("amy-1", "47", "w0"), line("amy-1", "50", "w9", "2026-09-16")])
    _aged(first.write(tmp_path / "window.csv"), 7200)
    _aged(second.write(tmp_path / "late.CSV"), 3600)
    second.write(tmp_path / "now.csv")
    (tmp_path / "notes.txt").write_text("x")
    made = await _make(north, str(tmp_path))
    ran = [await _run(north, made) for _ in range(3)]
    assert [report.state for report in ran] == ["applied", "applied", "skipped"]
    assert [report.taken["name"] for report in ran if report.taken] == ["window.csv", "late.CSV"]
    assert (ran[0].kinds["score"].created, ran[1].kinds["score"].updated) == (3, 1)
    assert [row[2] for row in await scores_of(north)] == [47.0, 41.0, 42.0, 50.0]


async def test_a_file_that_keeps_an_old_time_is_not_forgotten(north: Town, tmp_path: Path) -> None:
    """A new file is imported even if its modification time is older than that of the file before.

    It is imported only once.
    """
    made = await _make(north, str(tmp_path))
    _aged(Scores().write(tmp_path / "new.csv"), 60)
    assert (await _run(north, made)).total("created") == 3
    _aged(Scores([line("amy-1", "50", "w9", "2026-09-16")]).write(tmp_path / "copied.csv"), 90_000)
    assert [(await _run(north, made)).state for _ in range(2)] == ["applied", "skipped"]
    assert len(await scores_of(north)) == 4


async def test_the_doctor_reads_the_file_that_the_next_run_takes(north: Town, tmp_path: Path) -> None:
    """An inspection of a folder reads the same file as the next run. If this file is broken, both report its name."""
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    _aged(tmp_path / "broken.csv", 7200)
    _aged(Scores().write(tmp_path / "window.csv"), 3600)
    made = await _make(north, str(tmp_path))
    town = (north.worker_engine, north.settings.keyring, north.district_id)
    inspection, failed = await inspect_source(*town, made.source.id, SANDBOX), await _run(north, made)
    assert (inspection["exit_code"], failed.exit_code) == (5, 5)
    for text in (inspection["sentences"][0], failed.sentence):
        assert text.startswith("broken.csv: scores.csv lacks the columns studentSourcedId"), text
    (tmp_path / "broken.csv").unlink()
    shown = aimline(north.settings, "sync", "run", "vendor", "--district", north.slug)
    assert "Read from the file window.csv." in shown.stdout


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            """Logs nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def test_a_file_at_an_address_is_read(north: Town, tmp_path: Path) -> None:
    """A file of scores at an address can be inspected and imported, and a second run changes nothing.

    If the file is not UTF-8, the run fails with a sentence that names the row.
    """
    Scores().write(tmp_path / "scores.csv")
    with _served(tmp_path) as address:
        made = await _make(north, f"{address}/scores.csv")
        inspection = await inspect_source(
            north.worker_engine, north.settings.keyring, north.district_id, made.source.id, SANDBOX
        )
        assert (inspection["ready"], inspection["exit_code"]) == (True, 0), inspection
        assert (await _run(north, made)).kinds["score"].created == 3
        assert (await _run(north, made)).total("changes") == 0
        text = Scores([line("amy-1", "40", "né")]).text()
        (tmp_path / "scores.csv").write_bytes(text.encode("latin-1"))
        failed = await _run(north, made)
        assert (failed.state, failed.exit_code) == ("failed", 5)
        assert "row 2 looks like Windows-1252" in failed.sentence
        (tmp_path / "scores.csv").write_text(Scores().text().replace(",", ";"))
        assert "separated by semicolons" in (await _run(north, made)).sentence


async def test_the_command_imports_a_file(north: Town, tmp_path: Path) -> None:
    """`aimline sync scores` exits with 0 for a good file, 3 for a file with a bad row, and 5 for a missing file.

    The report states the place of the bad row. With `--json`, the report is one JSON object.
    """
    scores = Scores()
    scores.columns = [column.upper() for column in scores.columns]
    scores.rows = [{name.upper(): cell for name, cell in row.items()} for row in scores.rows]
    path = str(scores.write(tmp_path / "window.csv"))
    arguments = (path, "--district", north.slug, "--source", "vendor")
    done = aimline(north.settings, "sync", "scores", *arguments)
    assert (done.returncode, "scores.csv" in done.stdout, done.stderr) == (0, True, ""), done.stdout
    scores.rows[1]["VALUE"] = "x"
    scores.write(tmp_path / "window.csv")
    report = aimline(north.settings, "sync", "scores", *arguments, "--json")
    assert report.returncode == 3
    (refusal,) = json.loads(report.stdout)["refusals"]
    assert (refusal["file"], refusal["row"], refusal["sourced_id"], refusal["field"], refusal["code"]) == (
        *("scores.csv", 3, "w1"),
        *("value", "number.malformed"),
    )
    missing = aimline(north.settings, "sync", "scores", "gone.csv", *arguments[1:])
    assert (missing.returncode, "There is no file gone.csv." in missing.stdout) == (5, True)


async def test_scores_of_a_file_are_judged_once(north: Town, tmp_path: Path) -> None:
    """The scores of a file are judged like scores that are sent over the API.

    A student who gains nothing in eleven weeks is first reported as off track and then as not responding. Importing the
    file again adds no event.
    """
    await by_four_points(north)
    begins = YEAR_BEGINS + timedelta(weeks=1)
    support = await supported(north, "amy", begins, goal_on=begins + timedelta(weeks=26))
    weeks = [begins + timedelta(weeks=week, days=2) for week in range(11)]
    rows = [line("amy-1", "40", f"p{n}", str(day), purpose="progress") for n, day in enumerate(weeks)]
    assert all(day <= date.today() for day in weeks)
    report = await load(north, Scores(rows), tmp_path)
    assert (report.state, report.kinds["score"].created) == ("applied", 11), report.sentence
    statement = (
        "SELECT type FROM event WHERE district_id = :district "
        "AND subject_id = :id AND type LIKE 'response.%' ORDER BY seq"
    )
    first = await ask(north, statement, id=support.id)
    assert [row[0] for row in first] == ["response.off_track", "response.never"]
    assert (await load(north, Scores(rows), tmp_path)).total("changes") == 0
    assert await ask(north, statement, id=support.id) == first
