"""Tests where a CSV zip comes from (a file, a drop folder, an address), and what is imported, skipped or refused."""

import contextlib
import http.server
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.core.address import Allowed
from app.core.clock import now
from app.core.ids import new_id
from app.core.outbound import parse_http_date
from app.sis.engine.report import Report
from app.sis.oneroster_csv.fetch import open_path, open_url
from app.sis.port import NothingNew, SourceRefused
from app.sis.runs.pull import Mode, inspect_source, run_source
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.sis.plain_server import LOOKS
from tests.sis.roster_zip import Export, ask
from tests.town import Town

OLD = 3600.0
SANDBOX = Allowed(sandbox=True)


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Ignores the progress."""


def _drop(folder: Path, name: str, export: Export, age: float = OLD) -> Path:
    path = export.write(folder / name)
    os.utime(path, (now().timestamp() - age,) * 2)
    return path


async def _make(town: Town, url: str, **more: Any) -> sources.ConfiguredSource:
    async with town.unit() as work:
        return await sources.register_source(
            work, "csv", SourceSettings(kind="oneroster-csv", url=url, **more), SANDBOX, local=True
        )


async def _inspect(town: Town, made: sources.ConfiguredSource) -> dict[str, Any]:
    return await inspect_source(town.worker_engine, town.settings.keyring, town.district_id, made.source.id, SANDBOX)


async def _run(town: Town, made: sources.ConfiguredSource, mode: Mode | None = None, *, dry: bool = False) -> Report:
    keyring = town.settings.keyring
    return await run_source(
        town.worker_engine, keyring, town.district_id, made.source.id, _quiet, SANDBOX, mode=mode, dry=dry
    )


async def _chosen(folder: Path, taken: list[dict[str, Any]], *, repeated: bool = False) -> str | None:
    try:
        async with open_path(folder, taken, reimport=repeated) as opened:
            taken.append(opened.taken)
            return str(opened.taken["name"])
    except NothingNew:
        return None


async def test_a_file_is_taken_once_unless_it_is_asked_for_again(north: Town, tmp_path: Path) -> None:
    """A file is imported once. A second run skips it, but a dry run or `--full` reads it again."""
    made = await _make(north, str(_drop(tmp_path, "roster.zip", Export())))
    assert (await _run(north, made, dry=True)).state == "dry"
    first = await _run(north, made)
    assert (first.state, first.exit_code, first.mode) == ("applied", 0, "full")
    assert first.taken is not None
    assert first.taken["name"] == "roster.zip"
    repeated = await _run(north, made)
    assert (repeated.state, repeated.exit_code) == ("skipped", 0)
    assert "There is nothing new in roster.zip" in repeated.sentence
    assert (await _run(north, made, "full")).state == "applied"
    types = await ask(north, "SELECT type FROM event WHERE district_id = :district AND subject_kind = 'run'")
    assert types == [("sync.applied",)]


async def test_the_same_bytes_under_another_time_are_the_same_file(tmp_path: Path) -> None:
    """A zip that was imported is skipped if only its time has changed, and imported again if its bytes have changed."""
    path = _drop(tmp_path, "a.zip", Export())
    taken: list[dict[str, Any]] = []
    assert await _chosen(path, taken) == "a.zip"
    os.utime(path, (now().timestamp() - 100,) * 2)
    assert await _chosen(path, taken) is None
    export = Export()
    export.row("users", "s1")["givenName"] = "Other"
    _drop(tmp_path, "a.zip", export, 50)
    assert await _chosen(path, taken) == "a.zip"


async def test_the_doctor_and_a_dry_run_read_what_the_next_run_would(north: Town, tmp_path: Path) -> None:
    """An inspection and a dry run read the same file of a folder as the next run would.

    If this file is broken, all three fail and name it. If nothing is new, they read the newest file.
    """
    made = await _make(north, str(tmp_path))
    _drop(tmp_path, "bulk.zip", Export(), 300)
    assert (await _run(north, made)).state == "applied"
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as archive:
        archive.writestr("notes.txt", "no roster")
    os.utime(tmp_path / "broken.zip", (now().timestamp() - 200,) * 2)
    inspection = await _inspect(north, made)
    runs = [await _run(north, made, dry=dry) for dry in (True, False)]
    assert [inspection["exit_code"], *(run.exit_code for run in runs)] == [5, 5, 5]
    assert all("broken.zip: " in text for text in (inspection["sentences"][0], *(run.sentence for run in runs)))
    (tmp_path / "broken.zip").unlink()
    assert (await _inspect(north, made))["exit_code"] == 0
    assert [(await _run(north, made, dry=dry)).state for dry in (True, False)] == ["dry", "skipped"]


async def test_of_a_drop_folder_the_newest_whole_zip_is_taken(tmp_path: Path) -> None:
    """The newest complete zip of a folder is imported once, and the older zips are never imported.

    If the import is to be repeated, the newest zip is imported again.
    """
    taken: list[dict[str, Any]] = []
    assert await _chosen(tmp_path, taken) is None
    for age, name in ((300, "a.zip"), (200, "b.zip"), (100, "c.ZIP")):
        export = Export()
        export.row("users", "s1")["givenName"] = name
        _drop(tmp_path, name, export, age)
    assert await _chosen(tmp_path, taken) == "c.ZIP"
    assert await _chosen(tmp_path, taken) is None
    assert await _chosen(tmp_path, taken, repeated=True) == "c.ZIP"


async def test_deltas_in_a_drop_folder_are_taken_each_in_turn(tmp_path: Path) -> None:
    """The deltas of a folder are imported one after the other; a newer bulk zip replaces older deltas."""
    taken: list[dict[str, Any]] = []
    export = Export()
    for age, name, mode in ((400, "a.zip", "delta"), (300, "b.zip", "bulk"), (200, "c.zip", "delta")):
        export = Export(modes={"users": mode}, rows={"users": [{**Export().row("users", "s1"), "givenName": name}]})
        if mode == "delta":
            export.rows["users"][0] |= {"status": "active", "dateLastModified": "2026-11-20T00:00:00Z"}
        _drop(tmp_path, name, export, age)
    _drop(tmp_path, "d.zip", export, 100)
    export.rows["users"][0]["givenName"] = "last"
    _drop(tmp_path, "d.zip", export, 100)
    assert [await _chosen(tmp_path, taken) for _ in range(4)] == ["b.zip", "c.zip", "d.zip", None]


async def test_a_file_that_is_still_written_is_left(tmp_path: Path) -> None:
    """A file in a folder that is incomplete, hidden, a link, or was changed just now is not imported."""
    whole = _drop(tmp_path / "..", f"{new_id()}.zip", Export())
    _drop(tmp_path, "fresh.zip", Export(), 1)
    (tmp_path / "half.zip").write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "text.zip").write_text("no zip")
    shutil.copy(whole, tmp_path / "whole.zip.part")
    shutil.copy(whole, tmp_path / ".hidden.zip")
    (tmp_path / "link.zip").symlink_to(whole)
    (tmp_path / "folder.zip").mkdir()
    for name in os.listdir(tmp_path):
        path = tmp_path / name
        if path.name != "fresh.zip" and not path.is_symlink():
            os.utime(path, (now().timestamp() - OLD,) * 2)
    assert await _chosen(tmp_path, []) is None
    os.utime(tmp_path / "fresh.zip", (now().timestamp() - OLD,) * 2)
    assert await _chosen(tmp_path, []) == "fresh.zip"


async def test_a_bad_zip_is_refused_each_night_until_it_is_replaced(north: Town, tmp_path: Path) -> None:
    """A bad zip is refused at each run; a good zip with the same name and time of change is then read."""
    path = tmp_path / "roster.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("orgs.csv", "sourcedId")
    made = await _make(north, str(tmp_path))
    os.utime(path, (now().timestamp() - OLD,) * 2)
    for _ in range(2):
        failed = await _run(north, made)
        assert (failed.state, failed.exit_code, "manifest.csv is missing" in failed.sentence) == ("failed", 5, True)
    run = await _inspect(north, made)
    assert (run["ready"], run["sentences"][-1]) == (False, "A sync cannot read this source as it is set.")
    _drop(tmp_path, "roster.zip", Export())
    run = await _inspect(north, made)
    assert (run["ready"], run["facts"]["files"]["users.csv"]) == (True, "bulk")
    assert (await _run(north, made)).state == "applied"


@contextlib.contextmanager
def _served(body: bytes, status: int = 200, **headers: str) -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_served = self.path in ("/roster.zip", "/roster.zip?sig=whole")
            self.send_response(status if is_served else 403)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Logs nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(LOOKS,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/roster.zip"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_zip_is_downloaded_and_dated_by_the_source(north: Town, tmp_path: Path) -> None:
    """A zip at an address is downloaded in every run, because the roster may have changed.

    The run stores the time of the download by the source's clock. The request has the complete address, including the
    signature that the APIs hide.
    """
    with _served(Export().write(tmp_path / "a.zip").read_bytes()) as url:
        made = await _make(north, f"{url}?sig=whole")
        assert made.settings.url == f"{url}?sig=..."
        began = now().replace(microsecond=0)  # the source's clock shows whole seconds
        first = await _run(north, made)
        assert first.state == "applied"
        assert first.pulled_at is not None
        assert began <= first.pulled_at <= now()
        assert ((await _run(north, made)).state, first.total("created") > 100) == ("applied", True)


@pytest.mark.parametrize("date_header", ["Sat, 22 Nov 2098 03:00:00 GMT", "yesterday", "Sat, 22 Nov 2025 03:00:00 GMT"])
def test_a_sources_clock_never_moves_a_watermark_ahead_of_ours(date_header: str) -> None:
    """If the clock of a source is ahead, the time from which the next delta is read is not ahead of our clock."""
    instant = parse_http_date(date_header)
    assert instant is None if date_header == "yesterday" else instant is not None and instant <= now()
    assert parse_http_date(None) is None
    assert parse_http_date("Sat, 22 Nov 2025 03:00:00 GMT") == datetime(2025, 11, 22, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (404, {}, "answers 404"),
        (302, {"Location": "http://169.254.169.254/"}, "redirects the zip"),
        (200, {}, "no zip"),
    ],
)
async def test_what_is_no_zip_is_refused(status: int, headers: dict[str, str], words: str) -> None:
    """A download that is no zip is refused: an error page, a redirect, or a text."""
    with _served(b"<html>", status, **headers) as url:
        with pytest.raises(SourceRefused, match=words):
            async with open_url(url, SANDBOX, _quiet):
                pytest.fail("it was opened")


async def test_a_zip_within_the_house_is_not_fetched(tmp_path: Path) -> None:
    """A zip at an address in a private network is not fetched unless the operator allows this network."""
    with _served(b"secret") as url:
        for allowed, address in ((Allowed(), url), (SANDBOX, "https://10.0.0.1/roster.zip")):
            with pytest.raises(SourceRefused, match="url cannot be used"):
                async with open_url(address, allowed, _quiet):
                    pytest.fail("it was opened")
