"""Tests sync runs and approvals that fail: the worker is killed, a deadlock occurs, or every attempt fails.

Also tests what the log contains in these cases.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.access.directory import JobKind, districts_due
from app.core.address import Allowed
from app.core.errors import Conflict
from app.settings import Settings
from app.sis.engine.report import Report
from app.sis.runs.approval import approve, discard
from app.sis.runs.pull import request_run
from app.sis.scheduler.answers import attempt_answer, execute_answered_runs
from app.sis.scheduler.execute import SyncScheduler
from app.sis.scheduler.leases import claim_answer
from app.sis.scheduler.metrics import REGISTRY, read_metrics
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.sis.roster_zip import Export, ask, fingerprint, sync
from tests.town import Town

SANDBOX = Allowed(sandbox=True)
DEADLOCK, BUG = "40P01", "22012"
LEASE_ENDED = "UPDATE sis_run SET leased_until = now() - interval '1 s' WHERE district_id = :district"
DUE = "UPDATE sis_run SET due = now() WHERE district_id = :district"
RUN = """SELECT state, attempts, claim_number, worker IS NOT NULL AS claimed, fault, fault_place, due > now() AS waits,
                sentence
         FROM sis_run WHERE district_id = :district ORDER BY id DESC LIMIT 1"""
ROSTER = ["person", "enrollment"]


@asynccontextmanager
async def failing(settings: Settings, town: Town, state: str) -> AsyncIterator[Callable[[], Any]]:
    """Makes every insertion of an enrollment in a district fail with this SQLSTATE, until a function is called.

    Yields that function.
    """
    owner = await asyncpg.connect(settings.url_of("owner"))
    name = f"fail_{town.district_id.hex}"

    async def end() -> None:
        await owner.execute(f"DROP FUNCTION IF EXISTS public.{name}() CASCADE")

    try:
        await owner.execute(
            f"CREATE FUNCTION public.{name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'Synthetic Given s3' USING ERRCODE = '{state}'; END $$"
        )
        await owner.execute(
            f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON enrollment FOR EACH ROW "
            f"WHEN (new.district_id = '{town.district_id}') EXECUTE FUNCTION public.{name}()"
        )
        yield end
    finally:
        await end()
        await owner.close()


async def _requested_run(town: Town, path: Path) -> None:
    """Creates a source with a requested run."""
    async with town.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(path))
        made = await sources.register_source(work, "csv", new, SANDBOX, local=True)
    async with town.unit() as work:
        await request_run(work, made.source.id)


async def _work(town: Town) -> None:
    """Lets a worker poll the district's syncs once."""
    await SyncScheduler(town.worker_engine, town.settings.keyring, SANDBOX)._district(town.district_id)


async def _run(town: Town) -> Any:
    return (await ask(town, RUN))[0]


async def _events(town: Town) -> list[str]:
    rows = await ask(town, "SELECT type FROM event WHERE district_id = :district AND type LIKE 'sync.%' ORDER BY seq")
    return [row[0] for row in rows]


async def _held(town: Town, folder: Path) -> tuple[Report, str]:
    """Creates a held run that would remove half of the enrollments; returns it with the digest of its plan."""
    export = Export()
    await sync(town, export, folder)
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    report = await sync(town, export, folder)
    assert report.plan is not None
    return report, report.plan["digest"]


def _logged_runs(logged: list[Any], *events: str) -> list[tuple[Any, ...]]:
    return [(one["event"], one["attempt"], one.get("sqlstate")) for one in logged if one["event"] in events]


async def test_a_deadlocked_run_is_attempted_again(north: Town, settings: Settings, tmp_path: Path) -> None:
    """A run that meets a deadlock waits and is then attempted again.

    Meanwhile, its row has the error, and the place in the code where it occurred.
    """
    await _requested_run(north, Export().write(tmp_path / "a.zip"))
    with capture_logs() as logged:
        async with failing(settings, north, DEADLOCK) as end:
            await _work(north)
            run = await _run(north)
            assert (run.state, run.attempts, run.claim_number, run.claimed, run.waits) == ("pending", 1, 1, True, True)
            assert run.fault == "DeadlockDetectedError 40P01"
            assert run.fault_place.startswith("app/sis/engine/")
            await _work(north)
            assert (await _run(north)).claim_number == 1, "it waits until its time has come"
            await end()
        await ask(north, DUE)
        await _work(north)
    run = await _run(north)
    assert (run.state, run.attempts, run.fault) == ("applied", 2, None)
    events = ("syncs.begun", "syncs.retried", "syncs.ended")
    assert _logged_runs(logged, *events) == [
        ("syncs.begun", 1, None),
        ("syncs.retried", 1, DEADLOCK),
        ("syncs.begun", 2, None),
        ("syncs.ended", 2, None),
    ]
    assert await _events(north) == ["sync.applied"]


async def test_a_run_that_only_meets_deadlocks_has_failed(north: Town, settings: Settings, tmp_path: Path) -> None:
    """A run that meets a deadlock in each of three attempts fails, with one event. Each wait is longer than the
    last.
    """
    await _requested_run(north, Export().write(tmp_path / "a.zip"))
    with capture_logs() as logged:
        async with failing(settings, north, DEADLOCK):
            for _ in range(4):
                await _work(north)
                await ask(north, DUE)
    waits = [one["wait"] for one in logged if one["event"] == "syncs.retried"]
    assert len(waits) == 2
    assert 30 <= waits[0] < 40 < 120 <= waits[1]
    run = await _run(north)
    assert (run.state, run.attempts, run.fault) == ("failed", 3, "DeadlockDetectedError 40P01")
    assert await _events(north) == ["sync.failed"]
    assert "Synthetic" not in str(logged) + str(run)


async def test_a_killed_worker_is_named(north: Town, tmp_path: Path) -> None:
    """After a worker is killed, another one executes the run, and the log and the row name the lost worker."""
    await _requested_run(north, Export().write(tmp_path / "a.zip"))
    killed = "UPDATE sis_run SET state = 'running', worker = 'school-1:77', attempts = 1, claim_number = 1 "
    await ask(north, f"{killed} WHERE district_id = :district")
    await ask(north, LEASE_ENDED)
    with capture_logs() as logged:
        await _work(north)
    lost = next(one for one in logged if one["event"] == "syncs.worker_lost")
    assert (lost["attempt"], lost["worker"]) == (1, "school-1:77")
    run = await _run(north)
    assert (run.state, run.attempts, run.claim_number) == ("applied", 2, 2)


@pytest.mark.parametrize("then", ["approve", "discard"])
async def test_a_plan_that_cannot_be_applied_waits_for_another_answer(
    north: Town, settings: Settings, tmp_path: Path, then: str
) -> None:
    """If a plan cannot be applied in three attempts, its run gets the state `failed_to_apply`, and an event is
    recorded.

    The run can then be approved again or discarded.
    """
    report, plan = await _held(north, tmp_path)
    before = await fingerprint(north, ROSTER)
    async with north.unit() as work:
        await approve(work, report.run_id, plan, False)
    worker = (north.worker_engine, north.settings.keyring, north.district_id)
    run = await _run(north)
    with capture_logs() as logged:
        async with failing(settings, north, BUG):
            for number in range(1, 4):
                assert await execute_answered_runs(*worker) == 0
                run = await _run(north)
                assert (run.attempts, run.fault) == (number, "DivisionByZeroError 22012")
                assert await execute_answered_runs(*worker) == 0, "not before its wait is over"
                await ask(north, DUE)
            assert await execute_answered_runs(*worker) == 0, "nobody asks for it any more"
    events = ("answers.retried", "answers.failed")
    assert _logged_runs(logged, *events) == [(name, n, BUG) for n, name in enumerate([events[0], *events], 1)]
    assert run.state == "failed_to_apply"
    assert run.sentence.startswith("The plan could not be applied in 3 attempts (DivisionByZeroError 22012).")
    assert (await _events(north))[-1] == "sync.failed_to_apply"
    assert await fingerprint(north, ROSTER) == before
    if await read_metrics(north.worker_engine):
        of = {"district": north.slug, "source": "csv"}
        assert REGISTRY.get_sample_value("aimline_sync_failed_to_apply", of) in (None, 1)
    async with north.unit() as work:
        if then == "discard":
            await discard(work, report.run_id)
        else:
            with pytest.raises(Conflict):
                await approve(work, report.run_id, "0" * 16, False)
            await approve(work, report.run_id, plan, False)
    assert await execute_answered_runs(*worker) == 1
    run = await _run(north)
    assert (run.state, run.attempts) == ("applied" if then == "approve" else "discarded", 1)
    assert await ask(north, "SELECT count(*) FROM sis_run WHERE district_id = :district AND plan IS NOT NULL") == [(0,)]


async def test_an_answer_over_which_workers_are_lost_is_given_up(north: Town, tmp_path: Path) -> None:
    """If three workers have died while they applied an approved run, the run is not attempted again.

    Its state is then `failed_to_apply`, and the run names the last of these workers.
    """
    report, plan = await _held(north, tmp_path)
    async with north.unit() as work:
        await approve(work, report.run_id, plan, False)
    await ask(north, "UPDATE sis_run SET attempts = 3, worker = 'school-1:77' WHERE district_id = :district")
    await ask(north, f"{LEASE_ENDED} AND state = 'approved'")
    assert await execute_answered_runs(north.worker_engine, north.settings.keyring, north.district_id) == 0
    run = await _run(north)
    assert (run.state, run.fault, run.fault_place) == ("failed_to_apply", "WorkerLost", "school-1:77")


async def test_a_failing_answer_is_not_due_while_it_waits(
    north: Town, south: Town, settings: Settings, tmp_path: Path
) -> None:
    """If an approved run could not be applied and waits for its next attempt, its district is not listed as due."""
    for town in (north, south):
        report, plan = await _held(town, tmp_path)
        async with town.unit() as work:
            await approve(work, report.run_id, plan, False)
    async with failing(settings, north, BUG):
        await execute_answered_runs(north.worker_engine, north.settings.keyring, north.district_id)
    due = (await districts_due(north.worker_engine, 1000))[JobKind.ANSWERS]
    assert north.district_id not in due
    assert south.district_id in due


async def test_no_worker_takes_an_answer_from_the_command_line(north: Town, tmp_path: Path) -> None:
    """If the command line approves a run and applies it itself, no worker claims this run."""
    report, plan = await _held(north, tmp_path)
    async with north.house() as work:
        await approve(work, report.run_id, plan, False)
        job = await claim_answer(work, report.run_id)
    worker = (north.worker_engine, north.settings.keyring, north.district_id)
    assert await execute_answered_runs(*worker) == 0
    done = await attempt_answer(*worker, job)
    assert done is not None
    assert done.state == "applied"
