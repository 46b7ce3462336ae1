"""Tests a configured source from end to end: signing in, a full pull, and then deltas since the last pull."""

from pathlib import Path
from typing import Any

import pytest

from app.core.address import Allowed
from app.core.clock import now
from app.core.errors import Conflict
from app.sis.engine.report import Report
from app.sis.kinds import MAY_BE_LEFT_OUT
from app.sis.models import SisSource
from app.sis.oneroster_rest.collections import COLLECTIONS
from app.sis.port import AlreadyRunning
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.pull import Mode, inspect_source, request_run, run_source
from app.sis.runs.undo import undo
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.sis.roster_zip import Export, ask
from tests.sis.sandbox_sis import V11, running
from tests.town import Town

SANDBOX = Allowed(sandbox=True)
SMALL = ("--students", "60")


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Ignores the progress."""


async def _make(town: Town, address: str, **more: Any) -> sources.ConfiguredSource:
    new = SourceSettings(
        kind="oneroster-1.1",
        url=f"{address}{V11}",
        token_url=f"{address}oauth/token",
        client_id="north",
        client_secret="of-a-test",
        **more,
    )
    async with town.unit() as work:
        return await sources.register_source(work, "rest", new, SANDBOX)


def _port(address: str) -> str:
    """Returns the port of an address. A test uses it to stop a source and to serve it again at the same address.

    After a change of the address, the next run would be a full one instead of a delta.
    """
    return address.rstrip("/").rpartition(":")[2]


async def _run(town: Town, made: sources.ConfiguredSource, mode: Mode | None = None, **more: Any) -> Report:
    keyring = town.settings.keyring
    return await run_source(
        town.worker_engine, keyring, town.district_id, made.source.id, _quiet, SANDBOX, mode=mode, **more
    )


async def _row(town: Town, made: sources.ConfiguredSource) -> SisSource:
    async with town.unit() as work:
        return (await sources.load_source(work, made.source.id)).settings


async def test_a_source_is_pulled_whole_and_then_by_deltas(north: Town) -> None:
    """A source is read completely once, and then by deltas.

    Each delta begins at the time at which the last applied run began to read. An undo sets this time back.
    """
    with running(*SMALL) as address:
        made = await _make(north, address, full_cron="0 3 1 1 *", overlap_hours=24 * 30)
        with pytest.raises(Conflict, match="A delta follows a full run"):
            await _run(north, made, "delta")
        began = now()
        first = await _run(north, made)
        assert (first.state, first.mode) == ("applied", "full"), first.sentence
        assert first.kinds["person"].created > 60
        row = await _row(north, made)
        assert row.pulled_until is not None
        assert began.replace(microsecond=0) <= row.pulled_until <= now(), "a source's clock may show whole seconds"
        assert row.pulled_until == first.pulled_at
        assert row.full_at == row.pulled_until
        dry = await _run(north, made, dry=True)
        assert (dry.state, dry.mode, dry.total("changes")) == ("dry", "delta", 0)
        assert (await _row(north, made)).pulled_until == row.pulled_until
    with running(*SMALL, "--day", "9", "--port", _port(address)):
        second = await _run(north, made)
        assert (second.state, second.mode) == ("applied", "delta"), second.sentence
        assert second.total("changes") > 0
        assert second.total("absent") == 0
        later = await _row(north, made)
        assert later.pulled_until == second.pulled_at, "two pulls may begin within one second of the source's clock"
        assert later.full_at == row.full_at
        whole = await _run(north, made, "full")
        assert whole.mode == "full"
        whole_row = await _row(north, made)
        assert whole_row.full_at == whole_row.pulled_until
    await undo(north.worker_engine, north.settings.keyring, north.district_id, second.run_id, _quiet)
    undone = await _row(north, made)
    assert (undone.pulled_until, undone.full_at) == (None, None)


async def test_a_held_pull_moves_no_watermark_until_it_is_approved(north: Town) -> None:
    """A held run does not change the time at which the next delta begins. The time changes when the run is approved."""
    with running(*SMALL) as address:
        made = await _make(north, address)
        await _run(north, made)
        before = await _row(north, made)
        async with north.unit() as work:
            await sources.change_source(work, made.source.id, {"limits": {"changed": 0.0, "changed_rows": 0}})
    with running(*SMALL, "--day", "9", "--port", _port(address)):
        held = await _run(north, made)
        assert held.state == "held"
        assert (await _row(north, made)).pulled_until == before.pulled_until
        assert any(one["rule"] == "changed" and one["held"] and one["limit"] == 0 for one in held.weighed)
    assert held.plan is not None
    async with north.unit() as work:
        await approve(work, held.run_id, held.plan["digest"], False)
    done = await execute_answer(north.worker_engine, north.settings.keyring, north.district_id, held.run_id, _quiet)
    assert done.state == "applied"
    after = await _row(north, made)
    assert after.pulled_until == held.pulled_at


async def test_a_source_that_refuses_is_a_failed_run(north: Town) -> None:
    """If a source refuses the client's secret, the run fails with exit code 5.

    The roster and the time from which the next delta reads stay as they are.
    """
    with running(*SMALL) as address:
        made = await _make(north, address)
        async with north.unit() as work:
            await sources.change_source(work, made.source.id, {"client_secret": "wrong"}, SANDBOX)
        failed = await _run(north, made)
        assert (failed.state, failed.exit_code) == ("failed", 5)
        assert "wrong" not in failed.sentence
        assert (await _row(north, made)).pulled_until is None
        people = await ask(
            north, "SELECT count(*) FROM person WHERE district_id = :district AND arrived_in IS NOT NULL"
        )
        assert people == [(0,)]


async def test_the_doctor_writes_nothing(north: Town) -> None:
    """`aimline doctor` reports a source as readable and changes nothing in the district."""
    with running(*SMALL) as address:
        made = await _make(north, address)
        tables = "SELECT count(*), max(version) FROM sis_source WHERE district_id = :district"
        before = await ask(north, tables)
        findings = await inspect_source(
            north.worker_engine, north.settings.keyring, north.district_id, made.source.id, SANDBOX
        )
        assert findings["ready"], findings["sentences"]
        assert await ask(north, tables) == before
        assert await ask(north, "SELECT count(*) FROM sis_run WHERE district_id = :district") == [(0,)]


async def test_one_run_a_district_is_asked_for_at_a_time(north: Town) -> None:
    """A second request for a run of a district is refused, and so is a request for a delta that is not possible."""
    made = await _make(north, "http://127.0.0.1:65000/")
    async with north.unit() as work:
        with pytest.raises(Conflict, match="A delta follows"):
            await request_run(work, made.source.id, "delta")
        run = await request_run(work, made.source.id, "full")
    assert (run.state, run.mode, run.asked_by) == ("pending", "full", "test client")
    async with north.unit() as work:
        with pytest.raises(AlreadyRunning):
            await request_run(work, made.source.id)


async def test_what_a_source_leaves_out_is_not_missed(north: Town) -> None:
    """If a source's settings leave out a collection, its rows stay unchanged, and the run is not held for this."""
    with running(*SMALL) as address:
        made = await _make(north, address)
        first = await _run(north, made)
        async with north.unit() as work:
            await sources.change_source(work, made.source.id, {"left_out": ("demographics",)}, SANDBOX)
        repeated = await _run(north, made, "full")
    assert first.kinds["demographics"].created > 0
    assert (repeated.state, repeated.held_because, repeated.total("changes")) == ("applied", [], 0)


async def test_a_file_that_is_left_out_is_neither_taken_nor_missed(north: Town, tmp_path: Path) -> None:
    """A CSV file that the source is set to leave out is neither read nor reported as missing."""
    export = Export()
    new = SourceSettings(kind="oneroster-csv", url=str(export.write(tmp_path / "a.zip")))
    async with north.unit() as work:
        made = await sources.register_source(work, "csv", new, local=True)
    await _run(north, made)
    async with north.unit() as work:
        await sources.change_source(work, made.source.id, {"left_out": ("demographics",)}, local=True)
    export.row("demographics", "s1")["sex"] = "male"
    export.write(tmp_path / "a.zip")
    assert (await _run(north, made)).total("changes") == 0
    del export.rows["demographics"]
    export.write(tmp_path / "a.zip")
    run = await _run(north, made)
    assert (run.state, run.total("changes")) == ("applied", 0)
    stamped = {"sourcedId": "s1", "status": "active", "dateLastModified": "2026-11-20T06:00:00Z", "sex": "male"}
    only = Export(rows={"demographics": [stamped]}, modes={"demographics": "delta"})
    only.write(tmp_path / "a.zip")
    run = await _run(north, made)
    assert (run.state, run.mode, run.total("changes")) == ("applied", "delta", 0), "nothing else is missed either"


def test_what_may_be_left_out_is_what_a_pull_can_do_without() -> None:
    """`MAY_BE_LEFT_OUT` has exactly the optional collections of a source, each with its kind of record."""
    assert {one.name: one.kind for one in COLLECTIONS if one.optional} == MAY_BE_LEFT_OUT
