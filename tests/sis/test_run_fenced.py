"""Tests that a killed run delays no other run, and that a run that lost its lock does not overwrite a later one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from app.core.address import Allowed
from app.core.clock import now
from app.core.ids import new_id
from app.sis.engine.lease import district_sync_lease
from app.sis.engine.report import Counts, Report
from app.sis.engine.run import begin, end
from app.sis.oneroster_csv.archive import open_zip
from app.sis.port import AlreadyRunning, OpenedSource, Superseded
from app.sis.rules import RunState
from app.sis.runs.pull import request_run
from app.sis.scheduler.execute import SyncScheduler
from app.sis.service import sync
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.sis.roster_zip import Export, ask
from tests.sis.roster_zip import sync as sync_zip
from tests.town import Town

SANDBOX = Allowed(sandbox=True)
LOST = "UPDATE sis_lease SET leased_until = now() - interval '1 s' WHERE district_id = :district"


async def _killed(town: Town, folder: Path, source: str = "csv") -> UUID:
    """Leaves a run of a scheduled source behind, as if its process had been killed. Returns the id of the source."""
    path = Export().write(folder / "a.zip")
    async with town.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(path), cron="0 2 * * *")
        made = await sources.register_source(work, source, new, SANDBOX, local=True)
    async with town.house() as work:
        await begin(work, Report(new_id(), began_at=now()), made.source.id, dry=False)
    return made.source.id


async def _run_due_syncs(town: Town) -> None:
    due = now() - timedelta(minutes=1)
    await ask(town, "UPDATE sis_source SET due = :due WHERE district_id = :district", due=due)
    scheduler = SyncScheduler(town.worker_engine, town.settings.keyring, SANDBOX)
    await scheduler._district(town.district_id)


async def _runs(town: Town) -> list[tuple[str, str]]:
    rows = await ask(town, "SELECT state, sentence FROM sis_run WHERE district_id = :district ORDER BY began_at, id")
    return [(row[0], row[1]) for row in rows]


@pytest.mark.parametrize("lease", ["NULL", "now() - interval '1 s'"])
async def test_a_killed_run_by_hand_is_ended_by_the_night(north: Town, tmp_path: Path, lease: str) -> None:
    """If the process of a manually started run is killed, the next scheduled run ends that run as failed."""
    await _killed(north, tmp_path)
    await ask(north, f"UPDATE sis_run SET leased_until = {lease} WHERE district_id = :district")
    await _run_due_syncs(north)
    first, second = await _runs(north)
    assert first == ("failed", "The sync broke off. Nothing was changed.")
    assert second[0] == "applied"


async def test_a_killed_run_is_told_of_by_whoever_runs_next(north: Town, tmp_path: Path) -> None:
    """The next run marks a killed run as failed and records its event, even before the lease of the killed run has
    ended.
    """
    await _killed(north, tmp_path)
    assert (await sync_zip(north, Export(), tmp_path)).state == "applied"
    assert [state for state, _ in await _runs(north)] == ["failed", "applied"]
    query = "SELECT type FROM event WHERE district_id = :district AND type LIKE 'sync.%' ORDER BY seq"
    assert [row[0] for row in await ask(north, query)] == ["sync.failed", "sync.applied"]


async def test_a_killed_run_by_hand_keeps_nobody_from_asking(north: Town, tmp_path: Path) -> None:
    """If a sync that was started by hand is killed, another one can be requested after a while.

    The lease of the killed run, its exclusive right to sync the district, must have ended.
    """
    source_id = await _killed(north, tmp_path)
    await ask(north, "UPDATE sis_run SET leased_until = NULL WHERE district_id = :district")
    async with district_sync_lease(north.worker_engine, north.settings.keyring, north.district_id):
        with pytest.raises(AlreadyRunning):
            async with north.unit() as work:
                await request_run(work, source_id)
        await _run_due_syncs(north)
        assert [state for state, _ in await _runs(north)] == ["running"]
        rows = await ask(north, "SELECT leased_until > now() FROM sis_run WHERE district_id = :district")
        assert [row[0] for row in rows] == [True]
    async with north.unit() as work:
        await request_run(work, source_id)


async def test_a_run_that_lost_its_lock_applies_nothing(north: Town, tmp_path: Path) -> None:
    """A run that lost its lock applies nothing. It could otherwise overwrite the changes of a later sync."""
    older, newer = Export(), Export()
    older.rows["orgs"][0]["name"] = "Older"
    newer.rows["orgs"][0]["name"] = "Newer"
    path = older.write(tmp_path / "older.zip")

    @asynccontextmanager
    async def slowly() -> AsyncIterator[OpenedSource]:
        with open_zip(path) as source:
            await ask(north, LOST)
            second = await sync_zip(north, newer, tmp_path)
            assert second.state == "applied", second.sentence
            yield source

    with pytest.raises(Superseded):
        await sync(
            north.worker_engine,
            north.settings.keyring,
            north.district_id,
            slowly,
            "csv",
            False,
            lambda _doing, _done, _of: None,
        )
    assert [state for state, _ in await _runs(north)] == ["failed", "applied"]
    names = await ask(north, "SELECT name FROM org WHERE district_id = :district AND name IN ('Older', 'Newer')")
    assert [row[0] for row in names] == ["Newer"]


@pytest.mark.parametrize(("mode", "refused", "moves"), [("delta", 1, False), ("delta", 0, True), ("full", 1, True)])
async def test_a_delta_with_rows_in_quarantine_moves_no_watermark(
    north: Town, tmp_path: Path, mode: str, refused: int, moves: bool
) -> None:
    """A delta with quarantined rows does not change the time from which the next delta asks for changes.

    The next delta therefore requests the quarantined rows again.
    """
    source_id = await _killed(north, tmp_path)
    before, at = now() - timedelta(days=2), now() - timedelta(days=1)
    await ask(north, "UPDATE sis_source SET pulled_until = :at WHERE district_id = :district", at=before)
    report = Report(new_id(), began_at=at, mode=mode, state=RunState.APPLIED, pulled_at=at)
    report.kinds["person"] = Counts("users", quarantined=refused)
    async with north.house() as work:
        await begin(work, report, source_id, dry=False)
        await end(work, report)
    ((until,),) = await ask(north, "SELECT pulled_until FROM sis_source WHERE district_id = :district")
    assert until == (at if moves else before)
