"""Tests that rows are locked in one common order, which prevents deadlocks.

This is checked for the commands of both APIs, for judging, for final judging, for reminders and for syncs.
"""

from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.core.clock import now
from app.core.ids import new_id
from app.response.judging.finalize import finalize_district
from app.settings import Settings
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, fill_district
from tests.house.locks import Recorder, Transaction, recording
from tests.house.walk import operations, own_request
from tests.records.races import race
from tests.records.team_writers import TeamWriters
from tests.town import Town, found_town, maintain

COMMANDS = {"concern", "support", "session", "score", "decision"}
"""The tables about students that commands write."""


@pytest.fixture(scope="module")
async def district(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns a district with all kinds of rows."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


async def test_every_command_locks_in_one_order(app: FastAPI, district: FullDistrict) -> None:
    """Every command of the contract, the final judging of weeks and the recurring tasks lock rows in the documented
    order.
    """
    client, town = caller(app, district.town), district.town
    with recording() as recorder:
        for operation in operations(app):
            if not operation.reads:
                request = own_request(operation, district)
                await client.ask(operation.method, request.path, **request.body)
        await finalize_district(town.worker_engine, town.settings.keyring, town.district_id)
        await maintain(town)
    assert not recorder.findings(), "\n".join(recorder.findings())
    assert _written(recorder) >= COMMANDS


async def test_syncs_and_both_faces_lock_in_one_order(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """A sync that moves students, and commands through both APIs at the same time, lock rows in the documented
    order.
    """
    with recording() as recorder:
        await race(north, app, tmp_path, writers=2, moved=6, syncs=1)
    assert not recorder.findings(), "\n".join(recorder.findings())
    assert {"concern", "score", "response_state", "verdict"} <= _written(recorder)
    synced = [one for one in recorder.ended if one.operation == "sync" and "write concern" in one.steps]
    assert all("lock person" in one.steps for one in synced)
    assert synced


async def test_teams_groups_and_syncs_lock_in_one_order(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """Commands on teams, meetings and groups, even several in one document, lock rows in the same order as a sync."""
    with recording() as recorder:
        outcome = await race(north, app, tmp_path, writers=3, moved=4, syncs=2, of=TeamWriters)
    assert not recorder.findings(), "\n".join(recorder.findings())
    assert {"team_scope", "agenda_item", "action_item", "support_group", "meeting"} <= _written(recorder), outcome
    assert not outcome.deadlocks


async def test_a_command_that_forgets_its_student_is_found(north: Town) -> None:
    """Checks that wrong orders of locks are found. A planted command writes a concern without locking its student."""

    @needs(Can.RAISE_CONCERN)
    async def forgetful(work: Work) -> None:
        about = {"district_id": work.district_id, "student_id": north.students["amy"], "school_ids": [north.schools[0]]}
        concern = Concern(**about, id=new_id(), area_id=north.areas["math"], state="raised", description="Planted.")
        concern.raised_on, concern.created_at, concern.version = now().date(), now(), 1
        work.db.add(concern)
        await work.db.flush()

    with recording() as recorder:
        async with north.unit(operation="planted") as work:
            await forgetful(work)
    assert "write concern before any student was locked" in "\n".join(recorder.findings())
    late = Transaction("planted", ["write settlement", "lock person"])
    assert "after it wrote settlement" in "\n".join(late.findings(set()))
    after = Transaction("planted", ["lock person", "write event_counter", "write concern"])
    assert "after the event counter" in "\n".join(after.findings({"concern"}))
    team = Transaction("planted", ["lock person", "lock team"])
    assert "locks a team after students" in "\n".join(team.findings(set()))
    group = Transaction("planted", ["lock support_group", "lock person"])
    assert "locks students after lock support_group" in "\n".join(group.findings(set()))
    waiting = Transaction("planted", ["lock support_group", "try person", "change team_scope"])
    assert not waiting.findings(set())
    unordered, driver = Recorder(), object()
    unordered.begin(driver, "planted")
    unordered.note(driver, "SELECT person.id FROM person WHERE person.id = ANY ($1) FOR NO KEY UPDATE")
    assert "locks students in no order" in "\n".join(unordered.findings())


def _written(recorder: Recorder) -> set[str]:
    return {step.split(" ")[1] for one in recorder.ended for step in one.steps if step.startswith("write ")}
