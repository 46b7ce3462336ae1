"""Tests the test clock of a sandbox district: it moves the district's date in every rule, and nothing else."""

from datetime import date, timedelta

import pytest
from fastapi import FastAPI

from app.access import models
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, Invalid
from app.maintenance.models import Task
from app.maintenance.service import create_tasks
from app.requests.caller import describe_caller
from app.response.administration.test_clock import move_test_clock
from app.response.judging.finalize import finalize_district
from app.response.service import record_scores
from tests.faces.rest_town import caller
from tests.rooms.test_verdicts import send
from tests.rooms.verdict_town import BEGINS, classmates, reader, rows, scores, settlements, supported
from tests.town import Town, lay

PLAYED = BEGINS + timedelta(weeks=3, days=2)


@needs(Can.OPERATE)
async def add_clock(work: Work) -> None:
    """Makes the district a sandbox, which has a test clock."""
    await lay(work, models.TestClock(district_id=work.district_id))


async def moved(town: Town, day: date | None) -> None:
    """Moves the district's test clock to a day, or back to the real date if `day` is None."""
    async with town.unit() as work:
        await move_test_clock(work, day)


@pytest.fixture
async def sandbox(north: Town) -> Town:
    """Returns the district North, with a test clock."""
    async with north.house() as work:
        await add_clock(work)
    return north


async def test_the_day_of_the_district_moves(sandbox: Town, south: Town) -> None:
    """A score can be recorded for a day once the test clock has reached it. Another district keeps the real date.

    If the test clock is set back to none, the sandbox has the real date too.
    """
    async with sandbox.unit() as work:
        real = (await describe_caller(work)).today
    await supported(sandbox, "amy")
    await moved(sandbox, PLAYED)
    late = scores(sandbox, "amy", [44.0], since=4)
    async with sandbox.unit() as work:
        assert (await describe_caller(work)).today == PLAYED
        refused = (await record_scores(work, late))[0]
        assert [violation.code for violation in refused.violations] == ["score.in_the_future"]
    await moved(sandbox, late[0].taken_on)
    async with sandbox.unit() as work:
        assert (await record_scores(work, late))[0].outcome == "recorded"
    async with south.unit() as work:
        assert (await describe_caller(work)).today == real
    await moved(sandbox, None)
    async with sandbox.unit() as work:
        assert (await describe_caller(work)).today == real


async def test_a_week_is_finalized_when_the_clock_has_passed_it(sandbox: Town) -> None:
    """A week with missing scores is judged for the last time (finalized) when it has passed.

    In a sandbox district, the district's test clock decides whether it has passed.
    """
    for name in (await classmates(sandbox, 3))[:2]:
        await supported(sandbox, name)
    await moved(sandbox, PLAYED)
    await send(sandbox, scores(sandbox, "mate0", reader(0, 3)))
    assert await finalize_district(sandbox.worker_engine, sandbox.settings.keyring, sandbox.district_id) == 0
    await moved(sandbox, PLAYED + timedelta(weeks=1))
    done = await finalize_district(sandbox.worker_engine, sandbox.settings.keyring, sandbox.district_id)
    assert done == len(await settlements(sandbox)) == 3


async def test_what_depends_on_the_day_is_due_at_once(sandbox: Town) -> None:
    """If the test clock is moved, everything that depends on the date is done at once: reminders, starts, windows,
    signals.
    """
    await create_tasks(sandbox.worker_engine, sandbox.settings.keyring, sandbox.district_id)
    before = {task.kind: task.due for task in await rows(sandbox, Task)}
    await moved(sandbox, PLAYED)
    after = {task.kind: task.due for task in await rows(sandbox, Task)}
    assert {kind for kind in before if before[kind] != after[kind]} == {"reminders", "starts", "screening", "signals"}


async def test_only_a_sandbox_has_a_clock(south: Town) -> None:
    """Only a sandbox has a test clock. Another district cannot set one, and no clock can be set to another century."""
    with pytest.raises(Conflict, match="--sandbox"):
        await moved(south, PLAYED)
    for day in (date(1999, 12, 31), date(2100, 1, 1)):
        with pytest.raises(Invalid):
            await moved(south, day)


async def test_a_partner_moves_it_over_http(app: FastAPI, sandbox: Town, south: Town) -> None:
    """A partner moves the test clock over HTTP (204). `GET /v1/me` and its GraphQL field then return the new date."""
    client = caller(app, sandbox)
    assert (await client.post("/v1/test-clock", {"today": str(PLAYED)})).status_code == 204
    assert (await client.get("/v1/me")).json()["today"] == str(PLAYED)
    document = 'mutation { moveTestClock(input: {today: "2026-01-12"}) { problems { code } } }'
    answer = (await client.post("/graphql", {"query": document})).json()
    assert answer["data"]["moveTestClock"]["problems"] == [], answer
    shown = (await client.post("/graphql", {"query": "{ me { today } }"})).json()
    assert shown["data"]["me"]["today"] == "2026-01-12"
    refused = await caller(app, south).post("/v1/test-clock", {"today": str(PLAYED)})
    assert (refused.status_code, refused.json()["code"]) == (409, "test_clock.missing")
