"""Tests what happens near a goal date and after it."""

from datetime import date, timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import today_in
from app.events.models import Event
from app.evidence.service import NewScore
from app.response.service import change_support, judge_many, record_scores
from app.response.upkeep.overdue import remind_goal_dates
from app.support.models import Support
from app.support.service import SupportChange
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import caller
from tests.rooms.verdict_town import supported, verdicts
from tests.town import TIME_ZONE, Town, maintain

TODAY = today_in(TIME_ZONE)
DUE = "{ supports(first: 10, goalDate: DUE) { edges { node { id } } } }"


@needs(Can.READ_EVENTS)
async def _goal_events(work: Work) -> list[tuple[str, dict[str, Any]]]:
    events = await work.db.scalars(
        select(Event).where(Event.district_id == work.district_id, Event.type.startswith("goal.")).order_by(Event.seq)
    )
    return [(event.type, event.ids) for event in events]


async def reported(town: Town) -> list[str]:
    """Returns the types of the events about goals, in order."""
    async with town.unit() as work:
        return [type_ for type_, _ in await _goal_events(work)]


async def reader(town: Town, goal_on: date, name: str = "amy") -> Support:
    """Returns an active support that began twelve weeks before the goal's date."""
    return await supported(town, name, goal_on - timedelta(weeks=12), goal_on=goal_on)


async def score(town: Town, on: date, value: float) -> str:
    """Records a score of amy, and returns the outcome."""
    async with town.unit() as work:
        new = NewScore(ids.format_id("student", town.students["amy"]), "orf", on, value)
        (result,) = await record_scores(work, [new])
        return result.outcome


async def remind(town: Town, today: date) -> int:
    """Sends the reminders about goal dates for the day `today`, and returns the number of reminders."""
    async with town.house() as work:
        return await remind_goal_dates(work, today)


async def test_a_goal_is_reported_two_weeks_before_its_date_and_on_the_day(north: Town) -> None:
    """A goal is reported two weeks before its date and on the day, once each; a new goal is reported again."""
    goal_on = TODAY + timedelta(weeks=4)
    support = await reader(north, goal_on)
    assert await remind(north, goal_on - timedelta(days=15)) == 0
    assert [await remind(north, goal_on - timedelta(days=days)) for days in (14, 13, 1)] == [1, 0, 0]
    assert await reported(north) == ["goal.due"]
    assert [await remind(north, goal_on + timedelta(days=days)) for days in (0, 1)] == [1, 0]
    assert await reported(north) == ["goal.due", "goal.passed"]
    async with north.unit() as work:
        later = goal_on + timedelta(weeks=6)
        change = SupportChange("A new goal.", goal=75.0, goal_on=later, baseline=60.0, confirm_rate=True)
        await change_support(work, support.id, change)
    assert await remind(north, goal_on + timedelta(days=2)) == 0
    assert await remind(north, later) == 1


async def test_the_worker_reports_by_the_districts_own_day(north: Town) -> None:
    """The worker's hourly task sends the reports of goals by the district's own date, with the support's and phase's
    ids.
    """
    await reader(north, TODAY - timedelta(days=2))
    await maintain(north)
    await maintain(north)
    async with north.unit() as work:
        ((type_, payload),) = await _goal_events(work)
    assert type_ == "goal.passed"
    assert payload.keys() >= {"support", "student", "phase"}


async def test_supports_about_which_a_decision_is_due_are_listed(app: FastAPI, north: Town) -> None:
    """Both APIs list the supports that need a decision because their goal date is near or has passed."""
    passed = ids.format_id("support", (await reader(north, TODAY - timedelta(days=3))).id)
    due = ids.format_id("support", (await reader(north, TODAY + timedelta(days=10), "ben")).id)
    await reader(north, TODAY + timedelta(days=20), "cy")
    asks = caller(app, north)
    listed = {
        each: [row["id"] for row in await asks.items("/v1/supports", goal_date=each)] for each in ("due", "passed")
    }
    assert listed == {"due": [passed, due], "passed": [passed]}
    edges = (await query_data(north, DUE))["supports"]["edges"]
    assert [edge["node"]["id"] for edge in edges] == [passed, due]


async def test_the_last_verdict_stays_after_the_goals_date_until_there_is_a_new_goal(north: Town) -> None:
    """After the goal date, scores are still recorded, but nothing is judged until there is a new goal.

    Until then, the last verdict stays.
    """
    goal_on = TODAY - timedelta(weeks=5)
    support = await reader(north, goal_on)
    for week in range(10):
        await score(north, goal_on - timedelta(weeks=10 - week), 42.0 + 2 * week)
    await score(north, goal_on, 62.0)
    (*_, last) = await verdicts(north, support)
    assert last.last_on == goal_on
    for week in range(1, 5):
        assert await score(north, goal_on + timedelta(weeks=week), 20.0) == "recorded"
    async with north.house() as work:
        await judge_many(work)
    (*_, kept) = await verdicts(north, support)
    assert (kept.state, kept.last_on, kept.score_ids) == (last.state, goal_on, last.score_ids)
    async with north.unit() as work:
        change = SupportChange(
            "A new goal.",
            begins_on=goal_on + timedelta(days=1),
            baseline=20.0,
            goal=70.0,
            goal_on=TODAY + timedelta(weeks=10),
            confirm_rate=True,
        )
        await change_support(work, support.id, change)
    (*_, resumed) = await verdicts(north, support)
    assert len(resumed.score_ids) == 4
    assert resumed.phase_id != last.phase_id
