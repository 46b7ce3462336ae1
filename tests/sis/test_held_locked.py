"""Tests that only its district can read the staged plan of a held run, and that the plan is deleted however the run
ends.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.core.ids import new_id
from app.sis.engine.report import Report
from app.sis.runs.approval import discard, execute_answer
from app.sis.runs.rekey import plan_rekey
from tests.sis.roster_zip import Export, ask, staged_rows, sync
from tests.town import Town, maintain


async def hold_rekeyed(town: Town, folder: Path) -> Report:
    """Runs a sync in which all people have new sourcedIds, and returns its report.

    Checks that the run is held, because it would change too much.
    """
    export = Export()
    await sync(town, export, folder)
    for row in export.rows["users"]:
        row["sourcedId"] = f"new-{row['sourcedId']}"
    for name in ("enrollments", "demographics"):
        column = "userSourcedId" if name == "enrollments" else "sourcedId"
        for row in export.rows[name]:
            row[column] = f"new-{row[column]}"
    report = await sync(town, export, folder)
    assert report.state == "held"
    return report


async def _kept(town: Town, report: Report) -> int:
    """Returns the number of rows that are stored for a run, as its district's worker sees them."""
    rows = await ask(
        town,
        "SELECT (SELECT count(*) FROM staging.kept_plan WHERE district_id = :district AND run_id = :run)"
        " + (SELECT count(*) FROM staging.kept_rekey WHERE district_id = :district AND run_id = :run)",
        run=report.run_id,
    )
    return int(rows[0][0])


async def test_another_districts_plan_cannot_be_read(north: Town, south: Town, tmp_path: Path) -> None:
    """A worker that is bound to one district cannot read the stored plan of another district."""
    held = await hold_rekeyed(north, tmp_path)
    rekey = await plan_rekey(north.worker_engine, north.settings.keyring, north.district_id, held.run_id, "identifier")
    assert await _kept(north, held) > 40
    assert await _kept(north, rekey) > 20
    for table in ("kept_plan", "kept_rekey"):
        count = f"SELECT count(*) FROM staging.{table} AS t WHERE t.district_id = t.district_id"
        assert await ask(south, count) == [(0,)], table
        assert (await ask(north, count))[0][0] > 0


async def test_what_a_crash_left_is_swept(north: Town, south: Town, tmp_path: Path) -> None:
    """Maintenance deletes the stored plan of an ended run.

    It keeps the plan of a held run that nobody has approved or discarded yet.
    """
    left, waits = await hold_rekeyed(north, tmp_path), await hold_rekeyed(south, tmp_path)
    await ask(north, "UPDATE sis_run SET state = 'failed' WHERE district_id = :district AND id = :run", run=left.run_id)
    await ask(north, "INSERT INTO staging.moved (district_id, run_id, id) VALUES (:district, :run, :run)", run=new_id())
    assert await _kept(north, left)
    kept = await _kept(south, waits)
    for town in (north, south):
        await maintain(town)
    assert await _kept(north, left) == 0
    assert await staged_rows(north) == {}
    assert await _kept(south, waits) == kept > 0
    async with south.unit() as work:
        await discard(work, waits.run_id)
    await maintain(south)
    assert await _kept(south, waits) == kept, "a worker is to drop them, and to say so on the run"
    keyring = south.settings.keyring
    await execute_answer(south.worker_engine, keyring, south.district_id, waits.run_id, lambda _doing, _done, _of: None)
    assert await _kept(south, waits) == 0


@pytest.mark.parametrize("how", ["cancelled", "broken"])
async def test_a_run_that_breaks_off_leaves_nothing_staged(north: Town, tmp_path: Path, how: str) -> None:
    """A run that is cancelled or fails leaves no staged rows or raw tables."""
    task: asyncio.Task[Any]

    def break_off(doing: str, _done: int, _of: int) -> None:
        if doing.startswith("writing"):
            if how == "broken":
                raise RuntimeError
            task.cancel()

    task = asyncio.create_task(sync(north, Export(), tmp_path, progress=break_off))
    with pytest.raises((RuntimeError, asyncio.CancelledError)):
        await task
    runs = await ask(north, "SELECT id FROM sis_run WHERE district_id = :district")
    assert len(runs) == 1
    names = await ask(north, "SELECT relname FROM pg_class WHERE relname LIKE '%' || :run", run=runs[0][0].hex)
    assert names == []
    assert await staged_rows(north) == {}
