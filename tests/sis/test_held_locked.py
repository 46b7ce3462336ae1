"""Tests that a held run's staging tables are readable by its district only, and are dropped however the run ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.settings import Settings
from app.sis.engine.report import Report
from app.sis.runs.approval import discard, execute_answer
from app.sis.runs.rekey import plan_rekey
from tests.house import catalogue
from tests.sis.roster_zip import Export, ask, sync
from tests.town import Town, maintain


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection to the migrated database."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    yield connection
    await connection.close()


async def _held(town: Town, folder: Path) -> Report:
    """People under new sourcedIds: held, and the map that says who is who is held as well."""
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


async def _tables(town: Town, report: Report) -> list[str]:
    rows = await ask(
        town,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind = 'r' "
        "AND relname LIKE '%' || :run ORDER BY 1",
        run=report.run_id.hex,
    )
    return [row[0] for row in rows]


async def test_another_districts_plan_cannot_be_read(
    north: Town, south: Town, tmp_path: Path, owner: asyncpg.Connection
) -> None:
    """While runs are held the catalogue passes, and the worker, bound to one district, finds no row of another's."""
    held = await _held(north, tmp_path)
    rekey = await plan_rekey(north.worker_engine, north.settings.keyring, north.district_id, held.run_id, "identifier")
    roles = {purpose: north.settings.role_name(purpose) for purpose in ("api", "worker")}
    for check in (catalogue.kept_plans_are_locked, catalogue.every_table_has_a_district):
        assert await check(owner, roles) == []
    tables = [*await _tables(north, held), *await _tables(north, rekey)]
    assert len(tables) == 9
    rows = 0
    for table in tables:
        count = f"SELECT count(*) FROM staging.{table} AS t WHERE t.district_id = t.district_id"
        assert await ask(south, count) == [(0,)], table
        rows += (await ask(north, count))[0][0]
    assert rows > 80
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.fetch(f"SELECT FROM staging.{tables[0]}")


async def test_what_a_crash_left_is_swept(north: Town, south: Town, tmp_path: Path) -> None:
    """A plan whose run has ended goes with the next round of its district; one that waits for an answer stays."""
    left, waits = await _held(north, tmp_path), await _held(south, tmp_path)
    await ask(north, "UPDATE sis_run SET state = 'failed' WHERE district_id = :district AND id = :run", run=left.run_id)
    assert await _tables(north, left)
    for town in (north, south):
        await maintain(town)
    assert await _tables(north, left) == []
    assert len(await _tables(south, waits)) == 7
    async with south.unit() as work:
        await discard(work, waits.run_id)
    await maintain(south)
    assert len(await _tables(south, waits)) == 7, "a worker is to drop them, and to say so on the run"
    keyring = south.settings.keyring
    await execute_answer(south.worker_engine, keyring, south.district_id, waits.run_id, lambda _doing, _done, _of: None)
    assert await _tables(south, waits) == []


@pytest.mark.parametrize("how", ["cancelled", "broken"])
async def test_a_run_that_breaks_off_leaves_no_table(north: Town, tmp_path: Path, how: str) -> None:
    """In the middle of its pipeline, by a cancellation or a fault: its raw tables went with its transaction."""
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
