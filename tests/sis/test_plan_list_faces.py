"""Tests the list of planned changes in both APIs: filters, pages, CSV, scopes, and the approval of a part."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from app.access.admission import Admission
from app.core.ids import format_id
from app.sis.engine.report import Report
from app.sis.scheduler.answers import execute_answered_runs
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.town import Town

QUERY = """query($run: ID!, $after: String) { syncRun(id: $run) { listed
  plannedChanges(first: 5, after: $after, kind: ENROLLMENT, action: ABSENT) {
    edges { node { kind action sourcedId schools fields { field before after digest } } }
    pageInfo { hasNextPage endCursor } } } }"""


async def _held(town: Town, folder: Path) -> Report:
    export = Export()
    await sync(town, export, folder)
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    export.row("users", "s3")["givenName"] = "=New"
    report = await sync(town, export, folder)
    assert report.state == "held"
    return report


async def test_rest_lists_a_held_plan(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """REST lists the planned changes of a held run in pages, filtered by kind, action and school.

    A CSV has the same rows, and none of its values is a formula.
    """
    report = await _held(north, tmp_path)
    asks, run = caller(app, north), f"/v1/sync-runs/{format_id('run', report.run_id)}"
    path = f"{run}/planned-changes"
    items = await asks.items(path, limit=5)
    assert len(items) == report.listed == (await asks.get(run)).json()["listed"] == 13
    school = format_id("org", await row_id(north, "org", "north"))
    gone = await asks.items(path, kind="enrollment", action="absent", school="sis:csv:north", limit=5)
    assert {item["sourced_id"] for item in gone} == {f"e{n}" for n in range(0, 24, 2)}
    assert {tuple(item["schools"]) for item in gone} == {(school,)}
    (person,) = await asks.items(path, kind="person")
    assert person["fields"] == [{"field": "givenName", "before": "Given s3", "after": "=New", "digest": False}]
    sheet = await asks.get(f"{path}.csv", kind="person")
    assert sheet.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(sheet.text)))
    assert rows[1] == ["person", "update", "s3", "School south", "givenName", "Given s3", "'=New", "false"]


async def test_the_csv_file_is_read_in_turn(
    app: FastAPI, north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch of a CSV download waits for its turn among the requests of the process.

    Sixteen downloads of one district once made another district wait for two seconds.
    """
    report = await sync(north, Export(), tmp_path, dry=True)
    monkeypatch.setattr("app.sis.runs.plans.changes.BATCH", 20)
    turns = 0
    run_in_turn = Admission.run_in_turn

    async def counted(self: Admission, *given: Any) -> Any:
        nonlocal turns
        turns += 1
        return await run_in_turn(self, *given)

    monkeypatch.setattr(Admission, "run_in_turn", counted)
    answer = await caller(app, north).get(f"/v1/sync-runs/{format_id('run', report.run_id)}/planned-changes.csv")
    assert answer.status_code == 200
    assert turns > 1


async def test_what_is_no_filter_is_refused_at_its_place(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """An unknown kind, action or school in a filter is refused with its name, and an unknown run gives 404."""
    report = await _held(north, tmp_path)
    asks = caller(app, north)
    path = f"/v1/sync-runs/{format_id('run', report.run_id)}/planned-changes"
    for ending in ("", ".csv"):
        for name, value in (("kind", "people"), ("action", "delete"), ("school", "sis:csv:west")):
            refused = await asks.get(f"{path}{ending}", **{name: value})
            assert refused.status_code in (400, 422), (ending, name)
            assert [one["pointer"] for one in refused.json()["violations"]] == [f"/{name}"]
    for gone in ("run_01jq4n6d9zf3vbs0x5k2m7e8tc", "west"):
        assert (await asks.get(f"/v1/sync-runs/{gone}/planned-changes.csv")).status_code == 404


async def test_digests_without_the_scope_and_a_logged_disclosure(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """With the scope `sync:read` alone, the list of changes shows no names, neither as JSON nor as CSV.

    Reading the list in either form is recorded in the disclosure log.
    """
    report = await _held(north, tmp_path)
    path = f"/v1/sync-runs/{format_id('run', report.run_id)}/planned-changes"
    blind = caller(app, north, frozenset({"sync:read"}))
    assert (await caller(app, north, CLIENT_SCOPES - {"sync:read"}).get(path)).status_code == 403
    (person,) = await blind.items(path, kind="person")
    assert person["fields"][0]["digest"] is True
    assert "New" not in (await blind.get(f"{path}.csv")).text
    rows = await ask(
        north,
        "SELECT operation FROM disclosure WHERE district_id = :district AND :id = ANY (student_ids) ORDER BY id",
        id=await row_id(north, "person", "s3"),
    )
    assert [row[0] for row in rows] == [
        "GET /v1/sync-runs/{run}/planned-changes",
        "GET /v1/sync-runs/{run}/planned-changes.csv",
    ]


async def test_graphql_lists_the_same(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """GraphQL returns the same list of planned changes as REST, with enums and as a connection."""
    report = await _held(north, tmp_path)
    asks, run, after, sourced_ids = caller(app, north), format_id("run", report.run_id), None, set()
    while True:
        answer = await asks.post("/graphql", {"query": QUERY, "variables": {"run": run, "after": after}})
        run_shown = answer.json()["data"]["syncRun"]
        page = run_shown["plannedChanges"]
        sourced_ids |= {edge["node"]["sourcedId"] for edge in page["edges"]}
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert (run_shown["listed"], sourced_ids) == (13, {f"e{n}" for n in range(0, 24, 2)})
    node = page["edges"][0]["node"]
    assert (node["kind"].upper(), node["action"]) == ("ENROLLMENT", "ABSENT")
    assert {"field": "classSourcedId", "before": "class-north", "after": None, "digest": False} in node["fields"]


async def test_a_part_is_approved_over_rest(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """Over REST, a plan is approved for some kinds and schools. The worker applies this part.

    The report says what is left out, and why.
    """
    report = await _held(north, tmp_path)
    assert report.plan is not None
    asks, run = caller(app, north), f"/v1/sync-runs/{format_id('run', report.run_id)}"
    body = {"plan": report.plan["digest"], "kinds": ["person"], "schools": ["sis:csv:west"]}
    refused = await asks.post(f"{run}/approve", body)
    assert [one["pointer"] for one in refused.json()["violations"]] == ["/schools/0"]
    approved = await asks.post(f"{run}/approve", body | {"schools": ["sis:csv:south"]})
    assert (approved.status_code, approved.json()["state"]) == (200, "approved"), approved.text
    await execute_answered_runs(north.worker_engine, north.settings.keyring, north.district_id)
    done = (await asks.get(f"{run}/report")).json()
    assert (done["state"], done["counts"]["enrollment"]["left_out"]) == ("applied", 12)
    assert any("this kind was not approved" in warning for warning in done["warnings"])
    names = await ask(
        north,
        "SELECT given_name FROM person WHERE district_id = :district AND id = :id",
        id=await row_id(north, "person", "s3"),
    )
    assert names == [("=New",)]
