"""Tests that each overdue matter is reported once, after the number of days in the playbook. Breaks do not count."""

import asyncio
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import ARRAY, ColumnClause, Date, func, literal, literal_column, select, text
from sqlalchemy.dialects.postgresql import UUID as PgUUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core.clock import today_in
from app.core.errors import Invalid
from app.core.ids import format_id
from app.decision.overdue import send_overdue_reminders
from app.decision.service import NewDecision, decide
from app.events.models import Event
from app.evidence.service import NewScore
from app.maintenance.models import TaskKind
from app.playbook.service import publish_reminders, publish_rules
from app.response.service import plan_support, record_scores
from app.roster.calendar import days_of_instruction
from app.support.models import Support
from app.support.service import NewSupport
from tests.town import YEAR_BEGINS, Town, maintain

TODAY = today_in("America/Chicago")


async def _reminders(town: Town) -> list[tuple[str, UUID]]:
    """Returns the reminders about overdue matters in the feed, in order: the type and the subject of each."""

    @needs(Can.READ_EVENTS)
    async def read(work: Work) -> list[tuple[str, UUID]]:
        types = ("concern.unanswered", "support.not_started", "score.overdue", "decision.overdue")
        query = select(Event.type, Event.subject_id).where(Event.district_id == work.district_id)
        rows = await work.db.execute(query.where(Event.type.in_(types)).order_by(Event.seq))
        return [(row.type, row.subject_id) for row in rows]

    async with town.unit() as work:
        return await read(work)


async def _round(town: Town) -> int:
    async with town.house() as work:
        return await send_overdue_reminders(work)


async def _write(town: Town, statement: str, **values: Any) -> None:
    @needs(Can.OPERATE)
    async def run(work: Work) -> None:
        await work.db.execute(text(statement), {"district": work.district_id, **values})

    async with town.house() as work:
        await run(work)


async def _raise(town: Town, days_ago: int, student: str = "amy", area: str = "ela.fluency") -> UUID:
    new = NewConcern(
        format_id("student", town.students[student]), area, "A worry.", raised_on=TODAY - timedelta(days=days_ago)
    )
    async with town.unit() as work:
        return (await raise_concern(work, new)).id


async def _plan(town: Town, starts_on: date, *, start: bool, student: str = "amy") -> Support:
    new = NewSupport(
        student=format_id("student", town.students[student]),
        intervention="Reading",
        level=2,
        measure="orf",
        starts_on=starts_on,
        goal=70.0,
        goal_on=TODAY + timedelta(weeks=8),
        minutes_per_session=30,
        sessions_per_week=3,
        baseline=40.0,
        starts="on_its_day" if start else "manually",
        confirm_rate=True,
    )
    async with town.unit() as work:
        return await plan_support(work, new)


async def _score(town: Town, on: date, value: float = 45.0, student: str = "amy") -> None:
    async with town.unit() as work:
        await record_scores(work, [NewScore(format_id("student", town.students[student]), "orf", on, value)])


async def test_a_concern_that_nobody_answers_is_told_once(north: Town) -> None:
    """A concern without an answer gets one reminder after ten days, and an answered concern gets none."""
    old = await _raise(north, 10)
    await _raise(north, 9, "ben")
    answered = await _raise(north, 30, "cy")
    async with north.unit() as work:
        await accept_concern(work, answered)
    assert await _round(north) == 1
    assert await _round(north) == 0
    assert await _reminders(north) == [("concern.unanswered", old)]


async def test_two_rounds_at_once_tell_once(north: Town) -> None:
    """Two maintenance runs at the same time send one reminder."""
    for _ in range(5):
        await _raise(north, 20)
    assert sum(await asyncio.gather(*(_round(north) for _ in range(4)))) == 5
    assert len(await _reminders(north)) == 5


async def test_a_secured_area_and_the_schools_go_with_it(north: Town) -> None:
    """A reminder about a secured concern has the concern's secured area and schools."""
    await _raise(north, 20, area="sel")
    await _round(north)
    plain = north.client(frozenset({"event:read"}))

    @needs(Can.READ_EVENTS)
    async def seen(work: Work) -> int:
        query = select(func.count()).where(Event.district_id == work.district_id)
        return int((await work.db.execute(query)).scalar_one())

    async with north.unit(plain) as work:
        assert await seen(work) == 0
    assert len(await _reminders(north)) == 1


async def test_a_support_that_did_not_begin_is_told(north: Town) -> None:
    """A support that did not begin gets a reminder a week after its planned day, and another one if this day was
    changed.
    """
    late = await _plan(north, TODAY - timedelta(days=7), start=False)
    await _plan(north, TODAY - timedelta(days=6), start=False, student="ben")
    await _plan(north, TODAY - timedelta(days=7), start=True, student="cy")
    await _round(north)
    assert await _reminders(north) == [("support.not_started", late.id)]
    await _write(
        north,
        "UPDATE support SET version = version + 1 WHERE district_id = :district AND id = :id",
        id=late.id,
    )
    await _round(north)
    assert await _reminders(north) == [("support.not_started", late.id)] * 2


async def test_a_score_that_is_overdue_is_told_until_one_comes(north: Town) -> None:
    """If a support has no score for three weeks, one reminder is sent.

    After a new score, three weeks are counted again.
    """
    support = await _plan(north, TODAY - timedelta(days=60), start=True)
    await _plan(north, TODAY - timedelta(days=20), start=True, student="ben")
    await _round(north)
    assert await _reminders(north) == [("score.overdue", support.id)]
    await _score(north, TODAY - timedelta(days=30))
    await _round(north)
    assert await _reminders(north) == [("score.overdue", support.id)] * 2
    await _score(north, TODAY - timedelta(days=5))
    await _round(north)
    assert len(await _reminders(north)) == 2


async def test_a_decision_that_nobody_made_is_told(north: Town) -> None:
    """A reminder is sent about a student who has not responded for two weeks, unless a decision was recorded since."""
    support = await _plan(north, YEAR_BEGINS, start=True)
    for week in range(1, 11):
        await _score(north, YEAR_BEGINS + timedelta(weeks=week), 41.0)
    state = (
        "UPDATE response_state SET state = 'not_responding', since = now() - :days * interval '1 day', "
        "since_on = (now() - :days * interval '1 day')::date "
    )
    of = "WHERE district_id = :district AND support_id = :id"
    await _write(north, state + of, days=13, id=support.id)
    await _round(north)
    assert "decision.overdue" not in dict(await _reminders(north))
    await _write(north, state + of, days=15, id=support.id)
    await _round(north)
    assert ("decision.overdue", support.id) in await _reminders(north)
    before = len(await _reminders(north))
    async with north.unit() as work:
        await decide(work, NewDecision("continue", format_id("support", support.id)))
    await _write(
        north, "UPDATE event_told SET told_of = '' WHERE district_id = :district AND type = 'decision.overdue'"
    )
    await _round(north)
    assert len(await _reminders(north)) == before


async def test_weeks_without_instruction_do_not_count(north: Town) -> None:
    """Days of a break do not count. If a school's weeks are unknown, every day counts."""
    await _raise(north, 20)
    await _write(
        north,
        "UPDATE school_week SET instructional = false WHERE district_id = :district AND monday > :since",
        since=TODAY - timedelta(days=21),
    )
    await _round(north)
    assert await _reminders(north) == []
    await _write(north, "UPDATE school_week SET instructional = true WHERE district_id = :district")
    await _round(north)
    assert len(await _reminders(north)) == 1


@pytest.mark.parametrize(("days_ago", "counted"), [(0, 0), (1, 1), (28, 28)])
async def test_days_of_instruction_are_days(north: Town, days_ago: int, counted: int) -> None:
    """The days of instruction equal the calendar days if all weeks are instructional, or if the school is unknown."""

    @needs(Can.OPERATE)
    async def count(work: Work) -> list[int]:
        of = f"ARRAY['{north.schools[0]}']::uuid[]"
        numbers = []
        for schools in (of, "ARRAY[]::uuid[]"):
            column: ColumnClause[list[UUID]] = literal_column(f"({schools})", ARRAY(PgUUID))  # type: ignore[arg-type]  # its values are lists
            since = literal(TODAY - timedelta(days=days_ago), Date)
            days = days_of_instruction(work.district_id, column, since, TODAY)
            numbers.append(await work.db.scalar(select(days)))
        return [int(one or 0) for one in numbers]

    async with north.house() as work:
        assert await count(work) == [counted, counted]


async def test_the_playbook_sets_the_days(north: Town) -> None:
    """The playbook sets after how many days reminders are sent; 0 turns one off, and invalid numbers are refused.

    Changes of other settings keep these days.
    """
    old = await _raise(north, 3)
    async with north.house() as work:
        await publish_reminders(work, {"concern_unanswered": 0})
    await _round(north)
    assert await _reminders(north) == []
    async with north.house() as work:
        await publish_reminders(work, {"concern_unanswered": 3})
    async with north.house() as work:
        await publish_rules(work, {"*": {"rule": "four-point", "parameters": {}}})
    await _round(north)
    assert await _reminders(north) == [("concern.unanswered", old)]
    for wrong in ({"concern_unanswered": 366}, {"concern_unanswered": -1}, {"concern.unanswered": 3}):
        async with north.house() as work:
            with pytest.raises(Invalid):
                await publish_reminders(work, wrong)


async def test_who_left_is_not_nagged_about(north: Town) -> None:
    """No reminder is sent about a student who has left."""
    await _raise(north, 30)
    await _write(
        north,
        "UPDATE person SET removed_at = now() WHERE district_id = :district AND id = :id",
        id=north.students["amy"],
    )
    await _round(north)
    assert await _reminders(north) == []


async def test_a_round_visits_a_district(north: Town, south: Town) -> None:
    """One maintenance run sends reminders and deletes expired rows, in each district."""
    old = await _raise(north, 20)
    done = await maintain(north)
    assert done[TaskKind.REMINDERS] == 1
    assert await _reminders(north) == [("concern.unanswered", old)]
    assert await _reminders(south) == []
