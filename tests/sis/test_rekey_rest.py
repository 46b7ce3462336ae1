"""Tests changing sourcedIds by a map over REST: it is requested, planned by the worker, read and approved."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.address import Allowed
from app.core.ids import format_id, new_id
from app.sis.engine.report import Report
from app.sis.runs.rekey import MAX_GIVEN
from app.sis.scheduler.answers import execute_answered_runs
from app.sis.scheduler.execute import SyncScheduler
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.sis.roster_zip import Export, ask, fingerprint, lose_a_worker, row_id, sync
from tests.sis.test_rekey import PEOPLE, _held, _plan, _rekeyed
from tests.town import Town

MATCH = {"match": "identifier"}


async def _run_due_syncs(town: Town) -> None:
    scheduler = SyncScheduler(town.worker_engine, town.settings.keyring, Allowed(sandbox=True))
    await scheduler._district(town.district_id)


def _path(held: Report) -> str:
    return f"/v1/sync-runs/{format_id('run', held.run_id)}/rekey"


def _map(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"map": [{"old": old, "new": new} for old, new in pairs]}


async def _planned(asks: Caller, town: Town, held: Report, body: dict[str, Any] = MATCH) -> tuple[str, Any]:
    """Requests new sourcedIds for a held run, and has the worker plan them.

    Returns the path of the run that plans the change, and its report.
    """
    answer = await asks.post(_path(held), body)
    assert (answer.status_code, answer.json()["state"], answer.json()["mode"]) == (202, "pending", "rekey"), answer.text
    run = answer.headers["location"]
    assert run == f"/v1/sync-runs/{answer.json()['id']}"
    waiting = (await asks.get(f"{run}/report")).json()
    assert (waiting["plan"], waiting["rekey"]) == (None, None), "nothing can be approved before it is planned"
    await _run_due_syncs(town)
    return run, (await asks.get(f"{run}/report")).json()


def _codes(answer: httpx.Response) -> set[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return {(one["pointer"], one["code"]) for one in answer.json()["violations"]}


async def test_people_go_on_under_their_new_ids(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """Changing people's sourcedIds can be requested, planned, approved and applied over REST; the next run changes
    nothing.
    """
    export, held = await _held(north, tmp_path)
    before, roster = await row_id(north, "person", "s3"), await fingerprint(north)
    asks = caller(app, north)
    run, report = await _planned(asks, north, held)
    counts = {"gone": PEOPLE, "came": PEOPLE, "matched": PEOPLE, "ambiguous": 0, "unmatched": 0, "roles": 0}
    assert report["rekey"] == {"of": format_id("run", held.run_id), "by": "identifier", **counts}
    assert (report["state"], report["asked_by"], report["counts"]["person"]["updated"]) == (
        "held",
        "test client",
        PEOPLE,
    )
    assert await fingerprint(north) == roster, "nothing is changed before it is approved"
    assert (await asks.get(f"/v1/sync-runs/{format_id('run', held.run_id)}")).json()["state"] == "held"
    approved = await asks.post(f"{run}/approve", {"plan": report["plan"]})
    assert approved.status_code == 200, approved.text
    await execute_answered_runs(north.worker_engine, north.settings.keyring, north.district_id)
    done = (await asks.get(f"{run}/report")).json()
    assert (done["state"], done["plan"], done["rekey"]) == ("applied", None, None), done["sentence"]
    assert await row_id(north, "person", "new-s3") == before
    repeated = await sync(north, export, tmp_path)
    assert (repeated.state, repeated.total("changes")) == ("applied", 0)


async def test_it_is_the_plan_of_the_command_line(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """A request over REST gives the same plan of new sourcedIds as the command line: numbers, sentence and digest.

    In this plan, some people match several rows of the delivery, and some match none.
    """
    export = _rekeyed(Export())
    export.row("users", "new-s1")["identifier"] = "id-s2"
    export.row("users", "new-s5")["identifier"] = ""
    _, held = await _held(north, tmp_path, export)
    by_hand = await _plan(north, held.run_id)
    run, report = await _planned(caller(app, north), north, held)
    assert by_hand.plan is not None
    assert report["sentence"] == by_hand.sentence
    assert report["plan"] == by_hand.plan["digest"]
    expected = {**by_hand.plan["rekey"], "of": format_id("run", held.run_id), "roles": 0}
    assert report["rekey"] == expected
    assert (expected["matched"], expected["ambiguous"], expected["unmatched"]) == (PEOPLE - 3, 1, 2)
    text = await caller(app, north).ask("GET", f"{run}/report", headers={"Accept": "text/plain"})
    assert f"{expected['ambiguous']} are ambiguous and {expected['unmatched']} unmatched" in text.text


async def test_a_map_of_ones_own_says_who_is_who(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """If a caller sends a map from old to new sourcedIds, only the pairs that fit the held run are applied."""
    _, held = await _held(north, tmp_path)
    asks, before = caller(app, north), await row_id(north, "person", "s1")
    given = _map(("s1", "new-s2"), ("s2", "new-s1"), ("s3", "nobody"), (" s5 ", "new-s5"))
    run, report = await _planned(asks, north, held, given)
    expected = {"gone": 4, "came": 3, "matched": 3, "ambiguous": 0, "unmatched": 1, "roles": 0}
    assert report["rekey"] == {"of": format_id("run", held.run_id), "by": "map", **expected}
    assert "by the map that was given" in report["sentence"]
    approved = await asks.post(f"{run}/approve", {"plan": report["plan"]})
    assert approved.status_code == 200, approved.text
    await execute_answered_runs(north.worker_engine, north.settings.keyring, north.district_id)
    assert await row_id(north, "person", "new-s2") == before
    assert await row_id(north, "person", "new-s3") is None


async def test_what_is_wrong_with_a_map_is_said_at_once(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """A faulty map is refused with the position of each repeated id, and no run is created."""
    _, held = await _held(north, tmp_path)
    asks, path = caller(app, north), _path(held)
    twice = await asks.post(path, _map(("s1", "new-s1"), ("s1", "new-s2"), ("s3", "new-s1"), ("s1", "new-s2")))
    assert _codes(twice) == {
        ("/map/1/old", "rekey.old_twice"),
        ("/map/2/new", "rekey.new_twice"),
        ("/map/3/old", "rekey.old_twice"),
        ("/map/3/new", "rekey.new_twice"),
    }
    assert "s1" not in twice.text
    for body in ({}, {**MATCH, **_map(("s1", "new-s1"))}):
        assert _codes(await asks.post(path, body)) == {("", "rekey.which")}
    assert _codes(await asks.post(path, {"match": "birth_date"})) == {("/match", "shape.literal_error")}
    assert _codes(await asks.post(path, _map(("", "a"), ("b", " ")))) == {
        ("/map/0/old", "shape.string_too_short"),
        ("/map/1/new", "shape.string_too_short"),
    }
    assert _codes(await asks.post(path, {"map": []})) == {("/map", "shape.too_short")}
    many = [(f"s{n}", f"n{n}") for n in range(MAX_GIVEN + 1)]
    assert _codes(await asks.post(path, _map(*many))) == {("/map", "shape.too_long")}
    runs = (await asks.get("/v1/sync-runs")).json()["items"]
    assert [one["state"] for one in runs] == ["held", "applied"]
    largest = await asks.post(path, _map(*many[:-1]))
    assert largest.status_code == 202, largest.text


async def test_only_a_held_run_with_people_can_be_rekeyed(
    app: FastAPI, north: Town, south: Town, tmp_path: Path
) -> None:
    """REST refuses to plan new sourcedIds with 404 if the run is unknown.

    It refuses with 409 if the run is not held, or if its files lack the field by which people are matched.
    """
    applied = await sync(north, Export(), tmp_path)
    asks = caller(app, north)
    refused = await asks.post(_path(applied), MATCH)
    assert (refused.status_code, refused.json()["code"]) == (409, "run.not_held")
    for path in (f"/v1/sync-runs/{format_id('run', new_id())}/rekey", "/v1/sync-runs/none/rekey"):
        assert (await asks.post(path, MATCH)).status_code == 404
    held = await sync(north, _rekeyed(Export()), tmp_path)
    assert (await caller(app, south).post(_path(held), MATCH)).status_code == 404
    lacking = await caller(app, north, CLIENT_SCOPES - {"sync:approve"}).post(_path(held), MATCH)
    assert (lacking.status_code, lacking.json()["code"]) == (403, "permission.missing")
    await ask(
        north,
        "UPDATE sis_run SET plan = jsonb_set(plan, '{files,person,header}', '[\"email\"]') "
        "WHERE district_id = :district AND id = :run",
        run=held.run_id,
    )
    silent = await asks.post(_path(held), MATCH)
    assert (silent.status_code, silent.json()["code"]) == (409, "rekey.match")


async def test_one_waits_at_a_time_and_outlives_its_worker(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """A second request for new sourcedIds is refused while one waits. If a worker is lost, another one executes the
    request.
    """
    _, held = await _held(north, tmp_path)
    asks = caller(app, north)
    answer = await asks.post(_path(held), _map(("s1", "new-s1")))
    twice = await asks.post(_path(held), MATCH)
    assert (twice.status_code, twice.json()["code"]) == (409, "sis.already_running")
    await lose_a_worker(north)
    await _run_due_syncs(north)
    report = (await asks.get(f"{answer.headers['location']}/report")).json()
    assert (report["state"], report["rekey"]["matched"]) == ("held", 1), report["sentence"]


@pytest.mark.parametrize("answer", ["discard", "sync"])
async def test_what_was_answered_meanwhile_has_no_map(app: FastAPI, north: Town, tmp_path: Path, answer: str) -> None:
    """A request to plan new sourcedIds fails if the held run is discarded or replaced before the worker acts on it.

    The run of the failed request states the reason.
    """
    export, held = await _held(north, tmp_path)
    asks = caller(app, north)
    second_answer = await asks.post(_path(held), MATCH)
    if answer == "discard":
        await asks.post(_path(held).replace("rekey", "discard"), None)
    else:
        await sync(north, export, tmp_path)
    before = await fingerprint(north)
    await _run_due_syncs(north)
    run = (await asks.get(second_answer.headers["location"])).json()
    assert (run["state"], "Only a run that is held" in run["sentence"]) == ("failed", True), run
    assert await fingerprint(north) == before
