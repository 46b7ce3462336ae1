"""Tests that the runs of different districts, which share the staging tables, do not affect each other."""

from pathlib import Path

import pytest
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.ids import new_id
from app.sis.engine.stage import Stage
from app.sis.service import open_stage
from tests.kept_plans import bound_for_run
from tests.sis.roster_zip import STUDENTS, Export, ask, staged_rows, sync
from tests.town import Town

LOCKS = """SELECT DISTINCT l.mode FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE l.pid = pg_backend_pid() AND n.nspname = 'staging' AND c.relowner <> current_user::regrole"""
ROWS = {
    "staged_person (district_id, run_id, place, row_number, sourced_id)": "1, 1, 's1'",
    "plan_person (district_id, run_id, id, action)": "gen_random_uuid(), 'absent'",
    "key_org (district_id, run_id, sourced_id, id)": "'north', gen_random_uuid()",
    "moved (district_id, run_id, id)": "gen_random_uuid()",
}
"""Rows as another run would stage them, which would do harm if this run used them."""


async def test_a_run_takes_no_lock_that_another_could_wait_for(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync takes only locks that other syncs do not wait for: locks for reading rows and for writing rows.

    It therefore does not analyze, alter or empty the staging tables, to which runs of other districts write.
    """
    modes: list[str] = []
    clear = Stage.clear

    async def watched(stage: Stage) -> None:
        await clear(stage)
        modes.extend(row["mode"] for row in await stage.rows(LOCKS))

    monkeypatch.setattr(Stage, "clear", watched)
    export = Export()
    await sync(north, export, tmp_path)
    export.row("users", "s3")["givenName"] = "New"
    assert (await sync(north, export, tmp_path)).state == "applied"
    assert set(modes) == {"AccessShareLock", "RowExclusiveLock"}


async def test_a_statement_is_prepared_again_for_each_run(north: Town) -> None:
    """Each run prepares its statements again, so that no run uses the query plan of a run of another size.

    The tests change this: in the tests, runs of about the same size share query plans.
    """
    async with north.house() as work:
        stages = [await open_stage(work, new_id(), new_id(), 0) for _ in range(3)]
    stages[2].raw_rows["person"] = 10_000
    assert len({bound_for_run(stage, "SELECT :run")[0] for stage in stages}) == 3
    assert len({stage._bound("SELECT :run")[0] for stage in stages[:2]}) == 1
    assert len({stage._bound("SELECT :run")[0] for stage in stages}) == 2


async def test_a_run_goes_on_beside_that_of_another_district(north: Town, south: Town, tmp_path: Path) -> None:
    """A run is applied without waiting while the run of another district has rows staged that are not committed yet."""
    async with north.house() as work:
        await open_stage(work, new_id(), new_id(), 0)
        await _stage_rows(work, ROWS)
        report = await sync(south, Export(), tmp_path)
        assert (report.state, report.total("created") > STUDENTS) == ("applied", True)
        assert await staged_rows(north) == {}, "nobody else sees what is not committed"


async def test_rows_of_another_run_are_not_ones_own(north: Town, tmp_path: Path) -> None:
    """Staged rows of another run change nothing, because every statement names its run."""
    export = Export()
    await sync(north, export, tmp_path)
    async with north.house() as work:
        await _stage_rows(work, ROWS)
    assert len(await staged_rows(north)) == len(ROWS)
    export.row("users", "s3")["givenName"] = "New"
    report = await sync(north, export, tmp_path)
    assert (report.state, report.total("changes")) == ("applied", 1)
    assert len(await staged_rows(north)) == len(ROWS), "a run deletes its own rows only"
    gone = "SELECT count(*) FROM person WHERE district_id = :district AND removed_at IS NOT NULL"
    assert await ask(north, gone) == [(0,)]


@needs(Can.SYNC_ROSTER)
async def _stage_rows(work: Work, rows: dict[str, str]) -> None:
    for target, values in rows.items():
        statement = f"INSERT INTO staging.{target} VALUES (:district, :run, {values})"
        await work.db.execute(text(statement), {"district": work.district_id, "run": new_id()})
