"""Tests that the worker runs nightly syncs once each and one per district, and what happens if a run or worker is
lost.
"""

import asyncio
import http.client
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import generate_latest
from sqlalchemy import text

from app import worker
from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.address import Allowed
from app.core.clock import now
from app.core.crypto import Keyring, generate_key
from app.core.errors import Conflict
from app.sis.engine.lease import district_sync_lease
from app.sis.engine.run import RunRequest
from app.sis.runs.pull import request_run, request_undo, run_source
from app.sis.runs.queries import read_report
from app.sis.scheduler.execute import SyncScheduler, schedule_due_runs
from app.sis.scheduler.leases import claim_run, keep_lease
from app.sis.scheduler.metrics import REGISTRY, read_metrics
from app.sis.scheduler.report_text import next_steps, render_report
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.sis.plain_server import Reply, answering
from tests.sis.roster_zip import Export, ask
from tests.town import Town

SANDBOX = Allowed(sandbox=True)


async def _make(town: Town, path: Path | str, name: str = "csv", **more: Any) -> sources.ConfiguredSource:
    async with town.unit() as work:
        new = SourceSettings(kind="oneroster-csv", url=str(path), **more)
        return await sources.register_source(work, name, new, SANDBOX, local=True)


@needs(Can.SYNC_ROSTER)
async def _set(work: Work, sql: str, values: dict[str, Any]) -> None:
    await work.db.execute(text(sql), {"district": work.district_id, **values})


async def _due(town: Town, made: sources.ConfiguredSource, **times: Any) -> None:
    """Sets time columns of a source, such as `due`, to the given values."""
    sets = ", ".join(f"{name} = :{name}" for name in times)
    async with town.house() as work:
        await _set(
            work,
            f"UPDATE sis_source SET {sets} WHERE district_id = :district AND id = :id",
            {"id": made.source.id, **times},
        )


async def _run_due_syncs(town: Town, **more: Any) -> None:
    """Runs the district's due syncs until none is running."""
    scheduler = SyncScheduler(town.worker_engine, town.settings.keyring, SANDBOX, **more)
    await scheduler._district(town.district_id)
    await scheduler.drain()


async def _runs(town: Town) -> list[Any]:
    return await ask(
        town, "SELECT state, asked_by, attempts, sentence, id FROM sis_run WHERE district_id = :district ORDER BY id"
    )


async def _events(town: Town) -> list[str]:
    rows = await ask(town, "SELECT type FROM event WHERE district_id = :district AND type LIKE 'sync.%' ORDER BY seq")
    return [row[0] for row in rows]


async def test_what_the_schedule_asks_for_is_run_once(north: Town, tmp_path: Path) -> None:
    """A scheduled run is executed once, and the time of the next run is set."""
    made = await _make(north, Export().write(tmp_path / "a.zip"), cron="0 2 * * *")
    await _due(north, made, due=now() - timedelta(minutes=1))
    await _run_due_syncs(north)
    ((state, asked_by, attempts, *_),) = await _runs(north)
    assert (state, asked_by, attempts) == ("applied", "schedule", 1)
    await _run_due_syncs(north)
    assert len(await _runs(north)) == 1
    ((due, overdue),) = await ask(north, "SELECT due, overdue_at FROM sis_source WHERE district_id = :district")
    assert due > now()
    assert overdue > now() + timedelta(hours=25)


async def test_what_was_due_before_a_freeze_waits_until_it_is_over(north: Town, tmp_path: Path) -> None:
    """A run that becomes due while the source has a freeze (days without runs) is postponed until after the freeze."""
    first, last = now().date() - timedelta(days=2), now().date() + timedelta(days=2)
    made = await _make(north, Export().write(tmp_path / "a.zip"), cron="0 2 * * *", freeze=((first, last),))
    await _due(north, made, due=now() - timedelta(minutes=1))
    await _run_due_syncs(north)
    assert await _runs(north) == []
    ((due,),) = await ask(north, "SELECT due FROM sis_source WHERE district_id = :district")
    assert due.date() > last


async def test_a_paused_source_is_never_due(north: Town, tmp_path: Path) -> None:
    """A paused source has no scheduled runs, but a run can be requested."""
    made = await _make(north, Export().write(tmp_path / "a.zip"), cron="0 2 * * *")
    async with north.unit() as work:
        await sources.pause_source(work, made.source.id)
    await _run_due_syncs(north)
    assert await _runs(north) == []
    async with north.unit() as work:
        await request_run(work, made.source.id, dry=True)
    await _run_due_syncs(north)
    assert [row[0] for row in await _runs(north)] == ["dry"]


async def test_one_run_a_district_at_a_time(north: Town, tmp_path: Path) -> None:
    """While another sync of the district runs, a run waits, and this does not count as an attempt."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))
    async with north.unit() as work:
        await request_run(work, made.source.id)
    began = now()
    async with district_sync_lease(north.worker_engine, north.settings.keyring, north.district_id):
        await _run_due_syncs(north)
    ((state, _, attempts, *_),) = await _runs(north)
    assert (state, attempts) == ("pending", 0)
    ((due,),) = await ask(north, "SELECT due FROM sis_run WHERE district_id = :district")
    assert began + timedelta(seconds=30) <= due <= now() + timedelta(seconds=30)
    async with north.house() as work:
        await _set(work, "UPDATE sis_run SET due = now() WHERE district_id = :district", {})
    await _run_due_syncs(north)
    assert (await _runs(north))[0][0] == "applied"


async def test_a_lost_workers_run_begins_anew_and_a_late_one_is_fenced_off(north: Town, tmp_path: Path) -> None:
    """If a worker loses its lease, another worker executes the run, and the former worker can no longer write."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))
    async with north.unit() as work:
        run = await request_run(work, made.source.id)
    async with north.house() as work:
        (lost,) = await claim_run(work)
    async with north.house() as work:
        assert await claim_run(work) == [], "the lease holds"
        await keep_lease(work, lost)
    end = "UPDATE sis_run SET state = 'running', leased_until = now() - interval '1 s' WHERE district_id = :district"
    async with north.house() as work:
        await _set(work, end, {})
    await _run_due_syncs(north)
    ((state, _, attempts, *_),) = await _runs(north)
    assert (state, attempts) == ("applied", 2)
    with pytest.raises(Conflict):
        await run_source(
            *(north.worker_engine, north.settings.keyring, north.district_id, made.source.id),
            *(lambda _doing, _done, _of: None, SANDBOX),
            request=RunRequest(run.id, lost.claim_number),
        )
    assert len(await _runs(north)) == 1


async def test_a_run_that_loses_three_workers_has_failed(north: Town, tmp_path: Path) -> None:
    """If three workers are lost while they execute a run, the run fails and the event `sync.failed` is recorded."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))
    async with north.unit() as work:
        await request_run(work, made.source.id)
    lose = (
        "UPDATE sis_run SET state = 'running', attempts = 3, leased_until = now() - interval '1 s' "
        "WHERE district_id = :district"
    )
    async with north.house() as work:
        await _set(work, lose, {})
    await _run_due_syncs(north)
    ((state, _, _, sentence, _),) = await _runs(north)
    assert (state, sentence) == ("failed", "The sync broke off 3 times. Nothing was changed.")
    assert await _events(north) == ["sync.failed"]


async def test_silence_is_told_once_until_a_run_comes(north: Town, tmp_path: Path) -> None:
    """A source without a run for 26 hours causes one event. It causes another event only after it has had a run."""
    path = Export().write(tmp_path / "a.zip")
    made = await _make(north, path, cron="0 2 * * *")
    past = now() - timedelta(minutes=1)
    await _due(north, made, overdue_at=past)
    for _ in range(2):
        async with north.house() as work:
            await schedule_due_runs(work)
    assert await _events(north) == ["sync.overdue"]
    await _due(north, made, due=past)
    await _run_due_syncs(north)
    await _due(north, made, overdue_at=past)
    async with north.house() as work:
        await schedule_due_runs(work)
    assert await _events(north) == ["sync.overdue", "sync.applied", "sync.overdue"]
    ((subject,),) = await ask(
        north, "SELECT DISTINCT subject_id FROM event WHERE district_id = :district AND type = 'sync.overdue'"
    )
    assert subject == made.source.id


async def test_a_look_that_is_asked_for_is_noted(north: Town, tmp_path: Path) -> None:
    """The worker executes an inspection that was requested, and saves its findings."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))
    async with north.unit() as work:
        await sources.request_inspection(work, made.source.id)
    await _run_due_syncs(north)
    async with north.unit() as work:
        settings = (await sources.load_source(work, made.source.id)).settings
    assert settings.findings is not None
    assert (settings.findings["ready"], settings.look_asked_at) == (True, None)
    assert await _runs(north) == []


async def test_a_look_stays_asked_for_until_it_is_noted(north: Town, tmp_path: Path) -> None:
    """An inspection whose worker is killed is executed by the next worker."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))
    async with north.unit() as work:
        await sources.request_inspection(work, made.source.id)
    async with north.house() as work:
        assert await schedule_due_runs(work) == [made.source.id]
    async with north.house() as work:
        assert await schedule_due_runs(work) == [made.source.id]


async def test_a_look_that_breaks_off_is_noted_and_holds_nothing_up(
    north: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inspection that fails is recorded, not repeated, and does not delay a run that waits."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))

    async def broken(*_: Any) -> dict[str, Any]:
        raise RuntimeError

    monkeypatch.setattr("app.sis.scheduler.execute.inspect_source", broken)
    async with north.unit() as work:
        await sources.request_inspection(work, made.source.id)
        await request_run(work, made.source.id)
    await _run_due_syncs(north)
    async with north.unit() as work:
        settings = (await sources.load_source(work, made.source.id)).settings
    assert settings.findings is not None
    assert (settings.findings["ready"], settings.look_asked_at) == (False, None)
    assert [row[0] for row in await _runs(north)] == ["applied"]


async def test_an_undo_that_is_asked_for_is_carried_out(north: Town, tmp_path: Path) -> None:
    """A requested undo is executed as a run of its own; a second request is refused."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))
    async with north.unit() as work:
        run = await request_run(work, made.source.id)
    await _run_due_syncs(north)
    async with north.unit() as work:
        await request_undo(work, run.id)
    await _run_due_syncs(north)
    assert [row[0] for row in await _runs(north)] == ["applied", "applied"]
    living = (
        "SELECT count(*) FROM person WHERE district_id = :district AND arrived_in IS NOT NULL AND removed_at IS NULL"
    )
    assert await ask(north, living) == [(0,)]
    async with north.unit() as work:
        with pytest.raises(Conflict, match="undone already"):
            await request_undo(work, run.id)


async def test_the_alarms_say_how_each_source_stands(north: Town, tmp_path: Path) -> None:
    """The metrics show, for each source, the hours since the last run, and its held, failed and missing runs.

    Their labels have the short names of district and source, and no person's name.
    """
    export = Export()
    made = await _make(north, export.write(tmp_path / "a.zip"), cron="0 2 * * *")
    async with north.unit() as work:
        await request_run(work, made.source.id)
    await _run_due_syncs(north)
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    export.write(tmp_path / "a.zip")
    async with north.unit() as work:
        await request_run(work, made.source.id)
    await _run_due_syncs(north)
    await _due(north, made, overdue_at=None)
    assert await read_metrics(north.worker_engine) >= 1
    of = {"district": north.slug, "source": made.source.name}
    values = {
        name: REGISTRY.get_sample_value(f"aimline_sync_{name}", of)
        for name in ("hours_since_applied", "held", "failed", "overdue")
    }
    hours = values.pop("hours_since_applied")
    assert hours is not None
    assert 0 <= hours < 0.5
    assert values == {"held": 1, "failed": 0, "overdue": 1}
    assert north.canary not in generate_latest(REGISTRY).decode()


async def test_a_report_says_what_was_weighed_and_what_to_do_next(north: Town, tmp_path: Path) -> None:
    """The report of a held run shows what the guard compared and what to do next, as text and JSON, without student
    data.
    """
    export = Export()
    made = await _make(north, export.write(tmp_path / "a.zip"))
    run_ids: list[UUID] = []
    for _ in range(2):
        async with north.unit() as work:
            run_ids.append((await request_run(work, made.source.id)).id)
        await _run_due_syncs(north)
        export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
        export.row("enrollments", "e25")["beginDate"] = "soon"
        export.write(tmp_path / "a.zip")
    async with north.unit() as work:
        report = await read_report(work, run_ids[-1])
    text = render_report(report)
    assert report.state == "held"
    assert "HELD shrunk classes: " in text
    assert "limit 50% over 4" in text
    assert "In quarantine: enrollments.csv row" in text
    assert "beginDate: date.malformed" in text
    assert f"aimline sync approve {ids.format_id('run', run_ids[-1])} --district DISTRICT --plan " in text
    for line in text.splitlines():
        assert line.count(": aimline s") == line.count(" --district "), f"no command goes without its district: {line}"
    assert "--without-removals" in " ".join(next_steps(report))
    for canary in ("Synthetic", "Given s", "@example.org", "id-s", "soon"):
        assert canary not in text + str(report.as_json())


async def test_the_worker_runs_the_night_and_serves_the_alarms(north: Town, tmp_path: Path) -> None:
    """The worker process runs a due sync, serves metrics, and stops when it gets a signal."""
    made = await _make(north, Export().write(tmp_path / "a.zip"))
    async with north.unit() as work:
        await request_run(work, made.source.id)
    settings = north.settings.model_copy(update={"metrics_port": 0})
    stop = asyncio.Event()
    working = asyncio.create_task(worker.work(settings, stop))
    async with asyncio.timeout(120):
        while (await _runs(north))[0][0] != "applied":  # noqa: ASYNC110  # no event reports the row
            await asyncio.sleep(0.1)
        stop.set()
        await working


async def test_prometheus_is_answered(north: Town) -> None:
    """The gauges can be read over HTTP in Prometheus's own text format."""
    with worker._metrics(north.settings.model_copy(update={"metrics_port": 0})) as port:
        assert port is not None

        def read() -> str:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("GET", "/metrics")
            body = connection.getresponse().read().decode()
            connection.close()
            return body

        assert "# TYPE aimline_sync_hours_since_applied gauge" in await asyncio.to_thread(read)


async def test_a_dry_run_that_fails_tells_nobody(north: Town, tmp_path: Path) -> None:
    """A dry run that fails emits no event, and does not change the time of the last run."""
    made = await _make(north, tmp_path / "gone.zip", cron="0 2 * * *")
    soon = now() + timedelta(minutes=5)
    await _due(north, made, overdue_at=soon)
    async with north.unit() as work:
        await request_run(work, made.source.id, dry=True)
    await _run_due_syncs(north)
    ((state, _, _, sentence, _),) = await _runs(north)
    assert (state, "no such file" in sentence) == ("failed", True)
    assert await _events(north) == []
    assert await ask(north, "SELECT overdue_at FROM sis_source WHERE district_id = :district") == [(soon,)]
    of = {"district": north.slug, "source": made.source.name}
    await read_metrics(north.worker_engine)
    assert REGISTRY.get_sample_value("aimline_sync_failed", of) == 0
    async with north.unit() as work:
        await request_run(work, made.source.id)
    await _run_due_syncs(north)
    assert await _events(north) == ["sync.failed"], "the same, not dry, is news"
    await read_metrics(north.worker_engine)
    assert REGISTRY.get_sample_value("aimline_sync_failed", of) == 1


async def test_a_secret_that_no_key_opens_is_a_failed_run_with_its_reason(north: Town) -> None:
    """If no key can decrypt the source's secret, the run fails at once with the reason."""
    new = SourceSettings(kind="oneroster-1.2", url="https://sis.example.org/v1p2", client_id="a", client_secret="b")
    async with north.unit() as work:
        made = await sources.register_source(work, "rest", new)
    async with north.unit() as work:
        await request_run(work, made.source.id)
    await SyncScheduler(north.worker_engine, Keyring.parse(generate_key("k9")), SANDBOX)._district(north.district_id)
    ((state, _, _, sentence, _),) = await _runs(north)
    assert state == "failed"
    assert sentence == "The key 'k1' is not in the key file. Nothing was changed."
    assert await _events(north) == ["sync.failed"]


async def test_a_worker_that_ends_leaves_its_run_to_another(north: Town) -> None:
    """If a worker stops, another worker takes over its run without counting another attempt."""
    came, go = Event(), Event()

    def silent(_: object) -> Reply:
        came.set()
        go.wait(60)
        return Reply(404)

    with answering(silent) as (address, _):
        made = await _make(north, f"{address}roster.zip")
        async with north.unit() as work:
            await request_run(work, made.source.id)
        scheduler = SyncScheduler(north.worker_engine, north.settings.keyring, SANDBOX)
        scheduler.running[north.district_id] = asyncio.create_task(scheduler._district(north.district_id))
        await asyncio.to_thread(came.wait, 60)
        await scheduler.drain(0.05)
        ((state, _, attempts, *_),) = await _runs(north)
        assert (state, attempts) == ("pending", 0)
        go.set()
        await _run_due_syncs(north)
    ((state, _, attempts, *_),) = await _runs(north)
    assert (state, attempts) == ("failed", 1)
