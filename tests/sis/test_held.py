"""Tests runs that the guard holds for a person's answer.

Their plan is stored, and then applied completely, applied without its removals, or discarded.
"""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.sis.engine.report import Report
from app.sis.runs.approval import approve, discard, execute_answer
from app.sis.scheduler.answers import execute_answered_runs
from tests.sis.roster_zip import STUDENTS, Export, ask, fingerprint, row_id, sync
from tests.town import Town


async def _answer(town: Town, run_id: UUID, plan: str, *, without_removals: bool = False) -> Report:
    async with town.unit() as work:
        await approve(work, run_id, plan, without_removals)
    return await execute_answer(
        town.worker_engine, town.settings.keyring, town.district_id, run_id, lambda _doing, _done, _of: None
    )


async def _held(town: Town, folder: Path) -> tuple[Export, Report]:
    """Runs a sync that is held because a class loses most students. Returns its delivery and its report.

    The delivery also has a new student and a changed name.
    """
    export = Export()
    await sync(town, export, folder)
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    export.row("users", "s3")["givenName"] = "New"
    export.rows["users"].append({**export.row("users", "s1"), "sourcedId": "s99", "identifier": "99", "email": ""})
    report = await sync(town, export, folder)
    assert (report.state, report.exit_code) == ("held", 4)
    assert report.plan is not None
    return export, report


async def _kept_kinds(town: Town) -> list[str]:
    rows = await ask(
        town,
        "SELECT DISTINCT kind FROM staging.kept_plan WHERE district_id = :district AND run_id = :run ORDER BY 1",
        run=(await _state(town))[0][2],
    )
    return [row[0] for row in rows]


async def _state(town: Town) -> list[Any]:
    return await ask(
        town,
        "SELECT state, sentence, id, plan FROM sis_run WHERE district_id = :district ORDER BY id DESC",
    )


async def _living(town: Town, table: str) -> int:
    rows = await ask(
        town,
        f"SELECT count(*) FROM {table} WHERE district_id = :district AND removed_at IS NULL AND arrived_in IS NOT NULL",
    )
    return int(rows[0][0])


async def test_an_approved_plan_is_applied_whole(north: Town, tmp_path: Path) -> None:
    """An approved plan is applied completely, as an unheld sync would apply it."""
    export, report = await _held(north, tmp_path)
    assert report.plan is not None
    assert {"person", "enrollment"} <= set(await _kept_kinds(north)), "the plan is kept"
    done = await _answer(north, report.run_id, report.plan["digest"])
    assert (done.state, done.exit_code, done.sentence) == ("applied", 0, "14 changes were made.")
    assert await _living(north, "enrollment") == STUDENTS + 2 - 12
    assert await row_id(north, "person", "s99") is not None
    assert (await _state(north))[0][3] is None
    assert await _kept_kinds(north) == []
    repeated = await sync(north, export, tmp_path)
    assert (repeated.state, repeated.total("changes")) == ("applied", 0)
    types = await ask(
        north, "SELECT type FROM event WHERE district_id = :district AND subject_kind = 'run' ORDER BY seq"
    )
    assert [row[0] for row in types] == ["sync.applied", "sync.held", "sync.applied"]


async def test_a_plan_can_be_approved_without_its_removals(north: Town, tmp_path: Path) -> None:
    """With `without_removals`, an approved plan creates and changes rows but removes none."""
    _, report = await _held(north, tmp_path)
    assert report.plan is not None
    done = await _answer(north, report.run_id, report.plan["digest"], without_removals=True)
    assert (done.state, done.total("changes"), done.total("absent")) == ("applied", 2, 0)
    assert await _living(north, "enrollment") == STUDENTS + 2
    assert await row_id(north, "person", "s99") is not None


async def test_only_the_plan_that_was_read_is_approved(north: Town, tmp_path: Path) -> None:
    """An approval is refused if it has another digest, if the run is unknown, or if the run was approved before."""
    _, report = await _held(north, tmp_path)
    assert report.plan is not None
    before = await fingerprint(north)
    with pytest.raises(Conflict) as refused:
        await _answer(north, report.run_id, "0" * 16)
    assert refused.value.code == "run.plan_changed"
    with pytest.raises(NotFound):
        await _answer(north, new_id(), report.plan["digest"])
    assert (await _state(north))[0][0] == "held"
    assert await fingerprint(north) == before
    await _answer(north, report.run_id, report.plan["digest"])
    with pytest.raises(Conflict) as repeated:
        await _answer(north, report.run_id, report.plan["digest"])
    assert repeated.value.code == "run.not_held"


@pytest.mark.parametrize("change", ["roster", "plan", "gone"])
async def test_a_plan_that_no_longer_fits_is_refused(north: Town, tmp_path: Path, change: str) -> None:
    """A plan that no longer matches the roster is not applied, and its run is discarded."""
    _, report = await _held(north, tmp_path)
    assert report.plan is not None
    of_run = "district_id = :district AND run_id = :run AND kind = 'person' AND id = :id"
    other = """planned || '{"family_name": "Other"}'"""
    sql = {
        "roster": "UPDATE person SET pinned = '{given_name}' WHERE district_id = :district AND id = :id",
        "plan": f"UPDATE staging.kept_plan SET planned = {other} WHERE {of_run}",
        "gone": f"DELETE FROM staging.kept_plan WHERE {of_run}",
    }[change]
    run = {} if change == "roster" else {"run": report.run_id}
    await ask(north, sql, id=await row_id(north, "person", "s3"), **run)
    before = await fingerprint(north)
    done = await _answer(north, report.run_id, report.plan["digest"])
    assert (done.state, done.exit_code) == ("discarded", 6)
    assert "The roster has changed since the plan was made" in done.sentence
    assert await fingerprint(north) == before
    assert await _kept_kinds(north) == []


async def test_the_worker_carries_out_what_a_face_answered(north: Town, south: Town, tmp_path: Path) -> None:
    """The worker carries out the approvals and discards of two districts in one call, and the next call finds none."""
    _, approved = await _held(north, tmp_path)
    _, discarded = await _held(south, tmp_path)
    assert approved.plan is not None
    async with north.unit() as work:
        await approve(work, approved.run_id, approved.plan["digest"], False)
    async with south.unit() as work:
        await discard(work, discarded.run_id)
    assert len(await _kept_kinds(south)) >= 2
    for town in (north, south):
        assert await execute_answered_runs(town.worker_engine, town.settings.keyring, town.district_id) == 1
    assert [(await _state(town))[0][0] for town in (north, south)] == ["applied", "discarded"]
    assert await _kept_kinds(south) == []
    assert await execute_answered_runs(north.worker_engine, north.settings.keyring, north.district_id) == 0


async def test_a_later_sync_takes_the_place_of_a_held_one(north: Town, tmp_path: Path) -> None:
    """If a later run is applied or held, the plan of a run that waits for approval is discarded. A dry run discards no
    plan.
    """
    export, report = await _held(north, tmp_path)
    assert (await sync(north, export, tmp_path, dry=True)).state == "dry"
    assert [row[0] for row in await _state(north)] == ["dry", "held", "applied"]
    later = await sync(north, export, tmp_path)
    states = await _state(north)
    assert [row[0] for row in states] == ["held", "dry", "discarded", "applied"]
    assert "A later sync replaced it: nothing of it was applied." in states[2][1]
    left = await ask(north, "SELECT count(*) FROM pg_class WHERE relname LIKE '%' || :run", run=report.run_id.hex)
    assert left == [(0,)]
    assert later.plan is not None
    assert (await _answer(north, later.run_id, later.plan["digest"])).state == "applied"


async def test_the_worker_carries_out_what_was_approved(north: Town, tmp_path: Path) -> None:
    """The worker applies an approved plan, whatever other work is due."""
    _, report = await _held(north, tmp_path)
    assert report.plan is not None
    async with north.unit() as work:
        await approve(work, report.run_id, report.plan["digest"], False)
    async with asyncio.timeout(120):
        while (await _state(north))[0][0] != "applied":
            await execute_answered_runs(north.worker_engine, north.settings.keyring, north.district_id)
            await asyncio.sleep(0.05)
