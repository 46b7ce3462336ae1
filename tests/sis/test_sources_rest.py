"""Tests sources and runs over REST: they are created, changed, requested and approved.

Secrets can be written, but not read.
"""

from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app.core.address import Allowed
from app.core.ids import format_id
from app.sis.scheduler.execute import SyncScheduler
from app.sis.sources.service import register_source
from app.sis.sources.settings import SourceSettings
from tests.faces.rest_town import caller
from tests.sis.roster_zip import Export
from tests.sis.test_sources_fetch import _served
from tests.town import Town

SECRET = "s3cret-of-a-test"
REST: dict[str, Any] = {
    "name": "main",
    "kind": "oneroster-1.2",
    "url": "https://sis.example.org/ims/oneroster/rostering/v1p2",
    "client_id": "north",
    "client_secret": SECRET,
    "limits": {"removed": 0.2, "removed_rows": 50},
    "freeze": [["2026-12-21", "2027-01-01"]],
}


async def _run_due_syncs(town: Town) -> None:
    scheduler = SyncScheduler(town.worker_engine, town.settings.keyring, Allowed(sandbox=True))
    await scheduler._district(town.district_id)


async def test_a_source_is_made_changed_and_never_tells_its_secret(app: FastAPI, north: Town, south: Town) -> None:
    """No answer about a source contains its secret, and other districts' sources are not found."""
    asks = caller(app, north)
    made = await asks.post("/v1/sis-sources", REST)
    assert made.status_code == 201, made.text
    path = f"/v1/sis-sources/{made.json()['id']}"
    changed = await asks.patch(path, {"page_size": 500, "rollover": None})
    assert (changed.status_code, changed.json()["page_size"], changed.json()["version"]) == (200, 500, 2)
    assert changed.json()["limits"] == REST["limits"]
    paused = await asks.post(f"{path}/pause", None)
    assert paused.json()["paused_at"] is not None
    looked = await asks.post(f"{path}/doctor", None)
    assert (looked.status_code, looked.headers["location"]) == (202, path)
    listed = await asks.get("/v1/sis-sources")
    for one in (made, changed, paused, looked, listed):
        assert SECRET not in one.text
    assert (await caller(app, south).get(path)).status_code == 404
    assert (await asks.post("/v1/sis-sources", REST)).json()["code"] == "source.taken"


async def test_what_is_wrong_is_named_by_its_pointer(app: FastAPI, north: Town) -> None:
    """All violations of a source are reported at once, each with its JSON pointer.

    A client cannot register a file of the server as a source. If the host of a source changes, the client must send the
    secret again.
    """
    asks = caller(app, north)
    bad = await asks.post("/v1/sis-sources", {**REST, "url": "http://10.0.0.1/", "limits": {"removed": 2}})
    assert bad.status_code == 422
    assert {one["pointer"] for one in bad.json()["violations"]} == {"/url", "/limits/removed"}
    local = {"name": "drop", "kind": "oneroster-csv", "url": "/etc"}
    assert (await asks.post("/v1/sis-sources", local)).json()["violations"][0]["code"] == "url.local"
    made = (await asks.post("/v1/sis-sources", REST)).json()
    moved = await asks.patch(f"/v1/sis-sources/{made['id']}", {"url": "https://other.example.net/v1p2"})
    assert [one["code"] for one in moved.json()["violations"]] == ["secret.again"]


async def test_a_run_is_asked_for_and_carried_out_by_the_worker(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """A requested run gives 202 with its address, and 409 for another request while it waits.

    The worker then applies it. The report can be read as JSON and as text, and the run can be undone.
    """
    asks = caller(app, north)
    with _served(Export().write(tmp_path / "a.zip").read_bytes()) as url:
        made = await asks.post("/v1/sis-sources", {"name": "web", "kind": "oneroster-csv", "url": url})
        assert made.status_code == 201, made.text
        body = {"source": made.json()["id"]}
        answer = await asks.post("/v1/sync-runs", body)
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        run = answer.headers["location"]
        twice = await asks.post("/v1/sync-runs", body)
        assert (twice.status_code, twice.json()["code"]) == (409, "sis.already_running")
        await _run_due_syncs(north)
    done = (await asks.get(run)).json()
    assert (done["state"], done["mode"], done["asked_by"]) == ("applied", "full", "test client")
    report = await asks.ask("GET", f"{run}/report", headers={"Accept": "text/plain"})
    assert report.headers["content-type"].startswith("text/plain")
    assert "What to do next:" in report.text
    assert (await asks.get(f"{run}/report")).json()["next"][0].startswith("Nothing.")
    undone = await asks.post(f"{run}/undo", None)
    assert undone.status_code == 202
    await _run_due_syncs(north)
    assert (await asks.get(undone.headers["location"])).json()["state"] == "applied"
    changes = await asks.items(f"{undone.headers['location']}/changes")
    assert {(one["kind"], one["action"]) for one in changes} >= {("org", "remove"), ("enrollment", "remove")}
    assert all(
        one["row"].startswith("stu_") or one["row"].startswith("per_") for one in changes if one["kind"] == "person"
    )
    assert (await asks.post(f"{run}/undo", None)).json()["code"] == "run.undone"


async def test_each_verb_asks_for_its_own_scope(app: FastAPI, north: Town) -> None:
    """Reading needs the scope for reading runs. Creating a source, running it and undoing a run each need another
    scope.
    """
    made = (await caller(app, north).post("/v1/sis-sources", REST)).json()
    reader = caller(app, north, frozenset({"sync:read"}))
    assert (await reader.get(f"/v1/sis-sources/{made['id']}")).status_code == 200
    for method, path, body in (
        ("PATCH", f"/v1/sis-sources/{made['id']}", {"page_size": 5}),
        ("POST", f"/v1/sis-sources/{made['id']}/doctor", None),
        ("POST", "/v1/sync-runs", {"source": made["id"]}),
    ):
        assert (await reader.ask(method, path, json=body)).status_code == 403, path


async def test_a_local_source_does_not_tell_where_it_lies(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """A REST client sees only the last part of a local source's path, because the path shows the folders of the
    operator.
    """
    new = SourceSettings(kind="oneroster-csv", url=str(tmp_path / "drop" / "nightly.zip"))
    async with north.unit() as work:
        made = await register_source(work, "drop", new, local=True)
    asks = caller(app, north)
    listed = await asks.get("/v1/sis-sources")
    one = await asks.get(f"/v1/sis-sources/{format_id('source', made.source.id)}")
    assert one.json()["url"] == listed.json()["items"][0]["url"] == "file:nightly.zip"
    assert str(tmp_path) not in listed.text + one.text
