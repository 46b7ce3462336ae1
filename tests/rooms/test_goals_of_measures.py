"""Tests that signals and agendas look at the goal of each measure of a support, and not only at the first one."""

from datetime import date, timedelta

from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import today_in
from app.evidence.service import NewScore
from app.response.service import follow_measure, plan_support, record_scores
from app.support.measures import NewSupportMeasure
from app.support.service import NewSupport
from tests.faces.rest_town import Caller, caller
from tests.rooms.agenda_town import agenda_of, meeting_team
from tests.rooms.team_town import named
from tests.rooms.test_signals import computed
from tests.town import Town

TODAY = today_in("America/Chicago")
MET, UNMET = 60.0, 12.0
"""Scores of the further measure, whose goal is 20."""


@needs(Can.JUDGE)
async def _move(work: Work, goal_on: date) -> None:
    """Moves the goal of the further measure, and the beginning of its aimline, so that the test need not wait."""
    statement = text(
        "UPDATE phase_goal SET begins_on = CAST(:goal_on AS date) - 40, goal_on = CAST(:goal_on AS date) "
        "WHERE district_id = :district"
    )
    await work.db.execute(statement, {"goal_on": goal_on, "district": work.district_id})


async def followed(town: Town, goal_on: date, value: float) -> str:
    """Plans a support of amy by two measures, and returns its id.

    The goal of the first measure is 60 days ahead, and its scores do not reach it. The goal of the further measure is
    on `goal_on`, and all its scores are `value`.
    """
    amy = named("student", town.students["amy"])
    async with town.unit() as work:
        support = await plan_support(
            work,
            NewSupport(
                student=amy,
                intervention="Repeated reading",
                level=2,
                measure="orf",
                starts_on=TODAY - timedelta(weeks=9),
                goal=70.0,
                goal_on=TODAY + timedelta(days=60),
                minutes_per_session=30,
                sessions_per_week=3,
                baseline=40.0,
                confirm_rate=True,
            ),
        )
        await follow_measure(
            work, support.id, NewSupportMeasure(measure="maze", goal=20.0, baseline=8.0, confirm_rate=True)
        )
    async with town.house() as work:
        await _move(work, goal_on)
    async with town.unit() as work:
        days = [goal_on - timedelta(days=days) for days in (20, 15, 10, 5, 1)]
        scores = [NewScore(student=amy, measure="maze", taken_on=day, value=value) for day in days]
        scores += [NewScore(student=amy, measure="orf", taken_on=TODAY - timedelta(days=1), value=52.0)]
        await record_scores(work, scores)
    return named("support", support.id)


async def published(asks: Caller) -> None:
    """Publishes a rule about goals that were not met."""
    answer = await asks.post("/v1/signal-rules", {"code": "goal", "kind": "unmet_goal"})
    assert answer.status_code == 201, answer.text


async def test_an_unmet_goal_of_a_further_measure_is_suggested(app: FastAPI, north: Town) -> None:
    """A signal is suggested if the goal date of any measure is past and this goal was not met.

    It lapses when the measure is not followed any more.
    """
    asks = caller(app, north)
    team, support = await meeting_team(north), await followed(north, TODAY - timedelta(days=10), UNMET)
    await published(asks)
    signal = (await computed(asks, north))["amy"]
    assert (signal["kind"], signal["support"]) == ("unmet_goal", support)
    items = (await agenda_of(asks, team))["items"]
    assert [(item["kind"], item["since"]) for item in items if item["kind"].startswith("goal_")] == [
        ("goal_passed", str(TODAY - timedelta(days=10)))
    ]
    assert (await asks.post(f"/v1/supports/{support}/measures/stop", {"measure": "maze"})).is_success
    assert (await computed(asks, north)) == {}


async def test_a_goal_that_a_further_measure_has_met_is_no_reason(app: FastAPI, north: Town) -> None:
    """If a further measure has met its goal, the day of this goal is on no agenda, and no signal says that it was not
    met, while the first measure still works towards its own goal.
    """
    asks = caller(app, north)
    team, _ = await meeting_team(north), await followed(north, TODAY - timedelta(days=10), MET)
    await published(asks)
    assert (await computed(asks, north)) == {}
    items = (await agenda_of(asks, team))["items"]
    assert [item["kind"] for item in items if item["kind"].startswith("goal_")] == []


async def test_a_dismissed_goal_of_one_measure_hides_no_other(app: FastAPI, north: Town) -> None:
    """If a team dismisses the signal about one measure's goal, another one is suggested when the next goal is past."""
    asks = caller(app, north)
    await followed(north, TODAY - timedelta(days=10), UNMET)
    await published(asks)
    signal = (await computed(asks, north))["amy"]
    answer = await asks.post(f"/v1/signals/{signal['id']}/dismiss", {"because": "The first measure decides."})
    assert answer.is_success, answer.text
    async with north.house() as work:
        await _pass(work, TODAY - timedelta(days=8))
    other = (await computed(asks, north))["amy"]
    assert (other["kind"], other["id"] != signal["id"]) == ("unmet_goal", True)


@needs(Can.JUDGE)
async def _pass(work: Work, goal_on: date) -> None:
    """Moves the goal date of the first measure to the past, and marks the support as changed."""
    values = {"goal_on": goal_on, "district": work.district_id}
    await work.db.execute(text("UPDATE phase SET goal_on = :goal_on WHERE district_id = :district"), values)
    await work.db.execute(text("UPDATE support SET updated_at = now() WHERE district_id = :district"), values)
