"""Tests that an agenda lists a matter about a support once. If there are two reasons, one item has both."""

from datetime import date, timedelta
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import today_in
from app.decision.service import NewDecision, decide
from app.evidence.service import NewScore
from app.response.service import plan_support, record_scores
from app.support.service import NewSupport
from tests.faces.rest_town import Caller, caller
from tests.rooms.agenda_town import agenda_of, done, kinds, meeting_team, opened
from tests.rooms.team_town import named
from tests.rooms.test_signals import computed
from tests.town import Town

TODAY = today_in("America/Chicago")


@needs(Can.JUDGE)
async def _put(work: Work, state: str, days: int) -> None:
    statement = text(
        "UPDATE response_state SET state = :state, since = now() - :days * interval '1 day', "
        "since_on = CAST(:today AS date) - CAST(:days AS integer) "
        "FROM support AS s WHERE response_state.district_id = :district AND s.district_id = :district "
        "AND s.id = response_state.support_id"
    )
    values = {"state": state, "days": days, "today": TODAY, "district": work.district_id}
    await work.db.execute(statement, values)


async def _judged(town: Town, *, goal_in: int = 100) -> str:
    """Plans a support of amy with weekly scores, so that it is judged, and returns its id."""
    async with town.unit() as work:
        support = await plan_support(
            work,
            NewSupport(
                student=named("student", town.students["amy"]),
                intervention="Repeated reading",
                level=2,
                measure="orf",
                starts_on=TODAY - timedelta(weeks=9),
                goal=70.0,
                goal_on=TODAY + timedelta(days=goal_in),
                minutes_per_session=30,
                sessions_per_week=3,
                baseline=40.0,
                confirm_rate=True,
            ),
        )
        scores = [
            NewScore(
                student=named("student", town.students["amy"]),
                measure="orf",
                taken_on=TODAY - timedelta(weeks=week),
                value=41.0,
            )
            for week in range(1, 8)
        ]
        await record_scores(work, scores)
    return named("support", support.id)


async def _set(town: Town, state: str, days: int) -> None:
    """Gives the district's only support another verdict, which is `days` days old."""
    async with town.house() as work:
        await _put(work, state, days)


def _codes(item: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in item["reasons"]]


async def test_an_alarm_and_the_decision_about_it_are_one_item(app: FastAPI, north: Town) -> None:
    """If a decision about an alarm is due, the agenda has one item with both reasons.

    The more urgent reason decides where the item is in the order.
    """
    asks = caller(app, north)
    team, support = await meeting_team(north), await _judged(north)
    await _set(north, "off_track", 3)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], _codes(item), item["subject"]) == ("off_track", ["off_track"], support)
    await _set(north, "off_track", 30)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], _codes(item)) == ("decision_due", ["off_track", "decision_due"])
    assert all(reason["records"] == item["reasons"][0]["records"] for reason in item["reasons"])
    await _set(north, "not_responding", 30)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], _codes(item)) == ("not_responding", ["not_responding", "decision_due"])
    await done(asks, "agenda-order", kinds=["decision_due"])
    assert kinds(await agenda_of(asks, team)) == ["decision_due"]
    async with north.unit() as work:
        await decide(work, NewDecision("continue", support))
    assert (await agenda_of(asks, team))["items"] == []


async def test_a_discussed_alarm_returns_when_the_decision_is_due(app: FastAPI, north: Town) -> None:
    """An alarm that a team has discussed returns to the agenda when its decision is due; a dropped one does not."""
    asks = caller(app, north)
    team = await meeting_team(north)
    await _judged(north)
    await _set(north, "not_responding", 3)
    await _settled(asks, team, "discuss")
    assert (await agenda_of(asks, team))["items"] == [], "it was discussed, and rests"
    await _set(north, "not_responding", 30)
    for _ in range(2):
        assert kinds(await _settled(asks, team, "discuss")) == ["not_responding"]
    await _settled(asks, team, "drop", because="Another team has it.")
    assert (await agenda_of(asks, team))["items"] == []


async def test_a_carried_alarm_is_carried_under_its_other_name(app: FastAPI, north: Town) -> None:
    """If a team carries over an item about an alarm, the item is on the next agenda with `times_carried` 1."""
    asks = caller(app, north)
    team = await meeting_team(north)
    await _judged(north)
    await _set(north, "off_track", 13)
    await _settled(asks, team, "carry")
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["times_carried"]) == ("off_track", 1)


async def test_a_goal_whose_day_is_past_is_one_item(app: FastAPI, north: Town) -> None:
    """If a goal date has passed, the agenda has one item for it and for the signal that the goal was not met."""
    asks = caller(app, north)
    team = await meeting_team(north)
    await _judged(north, goal_in=-10)
    await _set(north, "responding", 3)
    assert (await asks.post("/v1/signal-rules", {"code": "goal", "kind": "unmet_goal"})).status_code == 201
    assert (await computed(asks, north))["amy"]["kind"] == "unmet_goal"
    assert kinds(await agenda_of(asks, team)) == ["goal_passed"]


async def test_a_goal_date_of_a_further_measure_is_on_the_agenda(app: FastAPI, north: Town) -> None:
    """If the measures of a support have different goal dates, the support is on the agenda because of the earliest one,
    in one item. It is off the agenda once this measure is not followed any more.
    """
    asks = caller(app, north)
    team, support = await meeting_team(north), await _judged(north)
    await _set(north, "responding", 3)
    day, maze = TODAY + timedelta(days=10), {"measure": "maze", "goal": 20.0, "baseline": 8.0, "confirm_rate": True}
    await done(asks, f"supports/{support}/measures", goal_on=str(day), **maze)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["subject"], item["since"], _codes(item)) == ("goal_due", support, str(day), ["goal_due"])
    day = TODAY - timedelta(days=1)
    async with north.house() as work:
        await _end_measures(work, day)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["since"], _codes(item)) == ("goal_passed", str(day), ["goal_passed"])
    await done(asks, f"supports/{support}/measures/stop", measure="maze")
    assert kinds(await agenda_of(asks, team)) == []


async def test_a_met_goal_and_the_signal_to_fade_are_one_item(app: FastAPI, north: Town) -> None:
    """If a goal is met and a signal suggests fading the support, the agenda has only the item about the signal."""
    asks = caller(app, north)
    team = await meeting_team(north)
    await _judged(north)
    await _set(north, "goal_met", 50)
    assert kinds(await agenda_of(asks, team)) == ["goal_met"]
    assert (await asks.post("/v1/signal-rules", {"code": "fade", "kind": "ready_to_fade"})).status_code == 201
    signal = (await computed(asks, north))["amy"]
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["subject"]) == ("ready_to_fade", signal["id"])
    await done(asks, f"signals/{signal['id']}/dismiss", because="It goes on until June.")
    assert kinds(await agenda_of(asks, team)) == ["goal_met"]


async def test_a_further_measure_without_scores_is_on_the_agenda(app: FastAPI, north: Town) -> None:
    """If an additional measure has had no score for too long, this is on the agenda, in one item for all measures."""
    asks = caller(app, north)
    team, support = await meeting_team(north), await _judged(north)
    await _set(north, "responding", 3)
    begins = TODAY - timedelta(weeks=9)
    await done(asks, f"supports/{support}/measures", measure="maze", goal=20.0, baseline=8.0)
    await _since(north, begins)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["subject"], item["since"]) == ("check_overdue", support, str(begins))
    async with north.house() as work:
        await _forget_scores(work)
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["subject"], item["since"]) == ("check_overdue", support, str(begins))


async def _since(town: Town, begins: date) -> None:
    async with town.house() as work:
        await _begin_measures(work, begins)


@needs(Can.JUDGE)
async def _begin_measures(work: Work, begins: date) -> None:
    statement = text("UPDATE phase_goal SET begins_on = :begins WHERE district_id = :district")
    await work.db.execute(statement, {"begins": begins, "district": work.district_id})


@needs(Can.JUDGE)
async def _forget_scores(work: Work) -> None:
    statement = text("UPDATE score SET removed_at = now() WHERE district_id = :district")
    await work.db.execute(statement, {"district": work.district_id})


async def _settled(asks: Caller, team: str, command: str, **body: Any) -> dict[str, Any]:
    """Opens a meeting with one item, applies a command to the item, closes the meeting, and returns its agenda."""
    meeting = await opened(asks, team)
    agenda = await agenda_of(asks, team)
    (item,) = agenda["items"]
    await done(asks, f"agenda-items/{item['item']}/{command}", **body)
    await done(asks, f"meetings/{meeting['id']}/close")
    return agenda


@needs(Can.JUDGE)
async def _end_measures(work: Work, goal_on: date) -> None:
    """Changes the goal dates of additional measures, so that the test need not wait for them."""
    statement = text("UPDATE phase_goal SET goal_on = :goal_on WHERE district_id = :district")
    await work.db.execute(statement, {"goal_on": goal_on, "district": work.district_id})
