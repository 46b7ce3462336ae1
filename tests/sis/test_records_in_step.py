"""Tests that every row about a student has the student's schools, whatever a sync and a command do concurrently."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.access.work import Work
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core import ids
from app.core.clock import now
from app.decision.service import NewDecision, decide
from app.evidence.service import NewScore
from app.incident.service import NewIncident, record_incidents
from app.response.service import record_scores, start_support
from app.sis.engine.report import Report
from app.support.service import NewSupport, plan_support
from app.support.session import NewSession, record_sessions
from tests.records.copies import rows_out_of_step
from tests.sis.roster_zip import Export, ask, row_id, sync
from tests.town import YEAR_BEGINS, Town

Command = Callable[[Work, str], Awaitable[Any]]
GOAL = {"goal": 90.0, "goal_on": YEAR_BEGINS.replace(year=YEAR_BEGINS.year + 1), "baseline": 40.0, "confirm_rate": True}
DOSAGE = {"minutes_per_session": 30, "sessions_per_week": 3}


async def _concern(work: Work, student: str) -> None:
    await raise_concern(work, NewConcern(student, "ela.fluency", "Reads slowly."))


async def _settled(work: Work, student: str) -> None:
    concern = await raise_concern(work, NewConcern(student, "ela.fluency", "Reads slowly."))
    await accept_concern(work, concern.id)


async def _score(work: Work, student: str) -> None:
    await record_scores(work, [NewScore(student, "orf", YEAR_BEGINS, 41.0)])


async def _incident(work: Work, student: str) -> None:
    await record_incidents(work, [NewIncident(student, now(), "disruption")], positions=[0])


async def _support(work: Work, student: str) -> UUID:
    plan: dict[str, Any] = {"intervention": "Repeated reading", "level": 2, "measure": "orf", "starts_on": YEAR_BEGINS}
    new = NewSupport(student=student, **plan, **GOAL, **DOSAGE)  # type: ignore[arg-type]  # fields by name
    support = await plan_support(work, new)
    await start_support(work, support.id, YEAR_BEGINS)
    return support.id


async def _loop(work: Work, student: str) -> None:
    support_id = await _support(work, student)
    await record_sessions(work, support_id, [NewSession(YEAR_BEGINS, attended=True)])
    await _score(work, student)
    await decide(work, NewDecision("continue", support=ids.format_id("support", support_id)))


COMMANDS = {"concern": _concern, "settled": _settled, "score": _score, "incident": _incident, "loop": _loop}


@asynccontextmanager
async def waiting_for_a_lock(town: Town, sync_: "asyncio.Task[Report]") -> AsyncIterator[None]:
    """Runs the block once the sync waits for a lock, or has ended without waiting."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = :name"
    while not sync_.done():
        ((count,),) = await ask(town, waits, name="aimline tests worker")
        if count:
            break
        await asyncio.sleep(0.01)
    yield


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_a_row_written_before_its_student_moves_goes_along(north: Town, tmp_path: Path, command: Command) -> None:
    """If a sync moves a student before a command has committed, the rows of the command get the new school too."""
    await sync(north, Export(), tmp_path)
    student = ids.format_id("student", await row_id(north, "person", "s0"))
    async with north.unit() as work:
        await command(work, student)
        moves = asyncio.create_task(sync(north, _moved("s0"), tmp_path))
        async with waiting_for_a_lock(north, moves):
            pass
    assert (await moves).state == "applied"
    assert await rows_out_of_step(north) == {}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_a_row_written_while_its_student_moves_waits_for_it(
    north: Town, tmp_path: Path, command: Command
) -> None:
    """A command waits for a sync that is moving its student, and then writes the new school."""
    await sync(north, Export(), tmp_path)
    student = ids.format_id("student", await row_id(north, "person", "s0"))
    written: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()

    async def write() -> None:
        async with north.unit() as work:
            await command(work, student)

    def progress(doing: str, _done: int, _of: int) -> None:
        if doing == "writing enrollments":
            written.append(loop.create_task(write()))

    assert (await sync(north, _moved("s0"), tmp_path, progress=progress)).state == "applied"
    await asyncio.gather(*written)
    assert written
    assert await rows_out_of_step(north) == {}


async def test_a_sync_repairs_what_is_out_of_step_and_counts_it(north: Town, tmp_path: Path) -> None:
    """A sync corrects rows whose schools differ from those of their student.

    It reports the number of corrected rows.
    """
    await sync(north, Export(), tmp_path)
    student = await row_id(north, "person", "s0")
    async with north.unit() as work:
        await _loop(work, ids.format_id("student", student))
        await _concern(work, ids.format_id("student", student))
    other = [await row_id(north, "org", "south")]
    for table in ("concern", "score", "session"):
        sql = f"UPDATE {table} SET school_ids = :schools WHERE district_id = :district AND student_id = :student"
        await ask(north, sql, schools=other, student=student)
    assert await rows_out_of_step(north) == {"concern": 1, "score": 1, "session": 1}
    report = await sync(north, Export(), tmp_path)
    assert report.repaired == {"concern": 1, "score": 1, "session": 1}
    assert "3 records were in another school than their student" in report.sentence
    assert report.as_json()["repaired"] == report.repaired
    assert await rows_out_of_step(north) == {}
    assert (await sync(north, Export(), tmp_path)).repaired == {}


def _moved(*sourced_ids: str) -> Export:
    export = Export()
    for sourced_id in sourced_ids:
        row = export.row("users", sourced_id)
        row["orgSourcedIds"] = "south" if row["orgSourcedIds"] == "north" else "north"
    return export
