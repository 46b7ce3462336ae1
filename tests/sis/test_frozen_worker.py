"""Tests that a worker that freezes during a sync does not block the district, and that the status gives the reason."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import orjson

from app.core.address import Allowed
from app.core.clock import now
from app.sis.scheduler.execute import SyncScheduler
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.freezing import Frozen, freeze_in_transaction, gate, process, session_ends
from tests.processes import aimline
from tests.sis.roster_zip import Export, ask
from tests.town import Town

SANDBOX = Allowed(sandbox=True)


@asynccontextmanager
async def frozen_worker(town: Town, folder: Path, idle: str) -> AsyncIterator[tuple[Frozen, asyncpg.Connection, int]]:
    """Yields a worker that is frozen while it applies a sync, after its lease has ended."""
    path = Export().write(folder / "a.zip")
    async with town.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(path), cron="0 2 * * *")
        await sources.register_source(work, "csv", new, SANDBOX, local=True)
    await ask(town, "UPDATE sis_source SET due = :due WHERE district_id = :district", due=now() - timedelta(minutes=1))
    async with gate(town, "enrollment", "worker") as (holder, watcher):
        log = folder / "worker.log"
        with process(["app.worker"], town.settings, log, AIMLINE_SYNC_IDLE_TIMEOUT=idle) as worker:
            pid = await freeze_in_transaction(worker, holder, watcher)
            ended = "UPDATE sis_run SET leased_until = now() - interval '1 s' WHERE district_id = :district"
            await ask(town, ended)
            yield worker, watcher, pid


def status(town: Town) -> tuple[str, str]:
    """Returns the output of `aimline sync status` about the newest run."""
    done = aimline(town.settings, "sync", "status", "--district", town.slug, "--json")
    assert done.returncode == 0, done.stderr
    newest = orjson.loads(done.stdout)[0]
    return newest["state"], newest["sentence"]


async def test_the_status_names_the_frozen_worker(north: Town, tmp_path: Path) -> None:
    """The status of a run names the frozen process that blocks it."""
    async with frozen_worker(north, tmp_path, idle="120"):
        state, sentence = status(north)
        assert state == "running"
        assert "was last heard of at" in sentence
        await SyncScheduler(north.worker_engine, north.settings.keyring, SANDBOX)._district(north.district_id)
        state, sentence = status(north)
        assert state == "pending"
        assert "Another process (aimline worker jobs) holds this district's syncs" in sentence


async def test_a_frozen_worker_does_not_block_the_districts_syncs(north: Town, tmp_path: Path) -> None:
    """If a worker is frozen, the server ends its sessions, and another worker applies the run once."""
    async with frozen_worker(north, tmp_path, idle="1") as (worker, watcher, pid):
        await session_ends(watcher, pid)
        for _ in range(200):
            if not await ask(north, "SELECT FROM sis_lease WHERE district_id = :district AND leased_until > now()"):
                break
            await asyncio.sleep(0.05)
        await SyncScheduler(north.worker_engine, north.settings.keyring, SANDBOX)._district(north.district_id)
        assert status(north)[0] == "applied", status(north)
        worker.thaw()
        rows = await ask(north, "SELECT state, attempts FROM sis_run WHERE district_id = :district")
        assert [tuple(row) for row in rows] == [("applied", 2)]
