"""Tests that one command restores people that a sync has removed and created again under a new sourcedId.

They get their former rows back.
"""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.core import ids
from app.core.errors import Conflict
from app.evidence.service import NewScore
from app.response.service import record_scores
from app.sis.engine.report import Report
from app.sis.runs.approval import approve, execute_answer
from app.sis.runs.rekey import LIKELY, plan_rekey
from app.sis.runs.undo import undo
from app.sis.scheduler.report_text import render_rekeys
from tests.sis.case_zip import CaseZip
from tests.sis.roster_zip import ask, fingerprint, row_id, sync
from tests.sis.test_contradictions import _present, _rekeyed
from tests.town import Town


def _quiet(_doing: str, _done: int, _of: int) -> None:
    """Shows no progress."""


async def _rekeyed_run(town: Town, folder: Path) -> tuple[Report, Any]:
    """Imports two students without records, and imports them again under new sourcedIds.

    Returns the report of the second sync, and the id that the first student's row had before the second sync.
    """
    await sync(town, CaseZip().write(folder / "a.zip"), folder)
    former = await row_id(town, "person", "U001")
    report = await sync(town, _rekeyed(CaseZip(), 1, 2).write(folder / "b.zip"), folder)
    assert (report.state, [pair["set_aside"] for pair in report.rekeys]) == ("applied", [False, False])
    return report, former


async def _plan(town: Town, report: Report) -> Report:
    return await plan_rekey(town.worker_engine, town.settings.keyring, town.district_id, report.run_id, LIKELY)


async def _apply(town: Town, planned: Report) -> Report:
    assert planned.plan is not None
    async with town.unit() as work:
        await approve(work, planned.run_id, planned.plan["digest"])
    return await execute_answer(town.worker_engine, town.settings.keyring, town.district_id, planned.run_id, _quiet)


async def _memberships(town: Town, person: Any) -> list[Any]:
    return await ask(
        town,
        "SELECT count(*) FROM school_membership WHERE district_id = :district AND person_id = :id AND ends_on IS NULL",
        id=person,
    )


async def test_the_report_has_one_command_for_all(north: Town, tmp_path: Path) -> None:
    """The report has one command for all people with a likely new sourcedId, whether they have records or not."""
    report, _ = await _rekeyed_run(north, tmp_path)
    lines = render_rekeys(report)
    run = ids.format_id("run", report.run_id)
    assert lines[-1] == f"If they are the same people: aimline sync rekey {run} --district DISTRICT --match likely"
    assert not any("undo" in line for line in lines)


async def test_people_get_their_rows_back(north: Town, tmp_path: Path) -> None:
    """A person who was removed and created again gets the former row back, with the new sourcedId.

    The next run assigns the person's enrollments to this row. The run after that changes nothing.
    """
    report, former = await _rekeyed_run(north, tmp_path)
    assert await row_id(north, "person", "01") != former
    planned = await _plan(north, report)
    assert planned.plan is not None
    assert (planned.plan["rekey"]["matched"], planned.listed) == (2, 2)
    done = await _apply(north, planned)
    assert (done.state, done.sentence) == ("applied", "2 people have their new sourcedId. Run the sync again.")
    assert await row_id(north, "person", "01") == former
    assert await _memberships(north, former) == [(1,)]
    repeated = await sync(north, _rekeyed(CaseZip(), 1, 2).write(tmp_path / "b.zip"), tmp_path)
    assert (repeated.state, repeated.kinds["person"].changes) == ("applied", 0), repeated.sentence
    assert repeated.kinds["enrollment"].updated == 2
    last = await sync(north, _rekeyed(CaseZip(), 1, 2).write(tmp_path / "b.zip"), tmp_path)
    assert (last.state, last.total("changes")) == ("applied", 0)
    assert {"01", "02"} <= await _present(north)
    assert not {"U001", "U002"} & await _present(north)
    enrolled = await ask(
        north,
        "SELECT person_id FROM enrollment WHERE district_id = :district AND sourced_id = 'E001' AND removed_at IS NULL",
    )
    assert enrolled == [(former,)]


async def test_it_can_be_undone(north: Town, tmp_path: Path) -> None:
    """After an undo, the people are as before the map of sourcedIds was applied. A further sync of the same file
    changes nothing.
    """
    report, former = await _rekeyed_run(north, tmp_path)
    new = await row_id(north, "person", "01")
    done = await _apply(north, await _plan(north, report))
    undone = await undo(north.worker_engine, north.settings.keyring, north.district_id, done.run_id, _quiet)
    assert undone.state == "applied"
    assert (await row_id(north, "person", "01"), await row_id(north, "person", "U001")) == (new, former)
    assert (await _memberships(north, former), await _memberships(north, new)) == ([(0,)], [(1,)])
    repeated = await sync(north, _rekeyed(CaseZip(), 1, 2).write(tmp_path / "b.zip"), tmp_path)
    assert (repeated.state, repeated.total("changes")) == ("applied", 0)


async def test_who_has_records_under_the_new_id_is_left(north: Town, tmp_path: Path) -> None:
    """A student who has records under the new sourcedId is left out of the map of sourcedIds. Otherwise these records
    would be lost.

    If a score is recorded after the map was planned, the plan is discarded.
    """
    report, _ = await _rekeyed_run(north, tmp_path)
    planned = await _plan(north, report)
    student = ids.format_id("student", await row_id(north, "person", "01"))
    async with north.unit() as work:
        await record_scores(work, [NewScore(student, "orf", date(2026, 9, 9), 60.0)])
    before = await fingerprint(north)
    done = await _apply(north, planned)
    assert (done.state, done.exit_code) == ("discarded", 6)
    assert await fingerprint(north) == before
    fewer = await _plan(north, report)
    assert fewer.plan is not None
    assert (fewer.plan["rekey"]["matched"], fewer.plan["rekey"]["unmatched"]) == (1, 1)


async def test_a_run_that_names_nobody_has_no_map(north: Town, tmp_path: Path) -> None:
    """A change of sourcedIds is refused for a run that has found nobody with a new sourcedId."""
    report = await sync(north, CaseZip().write(tmp_path / "a.zip"), tmp_path)
    with pytest.raises(Conflict):
        await _plan(north, report)
