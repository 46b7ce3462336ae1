"""Tests that every reported alert is later closed by an event with the alert's id, whatever happens to the support."""

from datetime import date, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from app.core import ids
from app.core.page import keyset
from app.decision.service import NewDecision, decide
from app.events.feed import events_after
from app.events.render import body
from app.response.administration.playbook import NewRule, publish_rules
from app.response.service import change_support, end_support, record_scores
from app.response.upkeep.expiry import expire_alerts
from app.support.models import Support
from app.support.service import SupportChange
from tests.rooms.verdict_town import BEGINS, response_events, scores, state, supported, verdicts
from tests.town import Town

FLAT = [40.0, 39.0, 41.0, 38.0, 40.0, 37.0, 39.0, 38.0, 36.0, 37.0]
OPENED, CLOSED = "response.off_track", ("recovered", "retracted", "superseded", "ended", "expired")


async def flagged(town: Town, name: str = "amy") -> tuple[Support, UUID]:
    """Returns a support with an open alert, and the alert's id."""
    support = await supported(town, name)
    async with town.unit() as work:
        await record_scores(work, scores(town, name, FLAT))
    alert = (await state(town, support)).alert_id
    assert alert is not None
    return support, alert


async def payloads(town: Town) -> list[dict[str, Any]]:
    """Returns the feed's events whose type begins with `response.`, in order, each as its type and ids."""
    async with town.unit() as work:
        feed = await events_after(work, keyset(town.district_id, "events", {}, None, 200))
    return [{"type": row.type, **row.ids} for row in feed.rows if row.type.startswith("response.")]


def open_alerts(events: list[dict[str, Any]]) -> dict[str, str]:
    """Reads the whole feed, and returns the open alert of each support."""
    alerts: dict[str, str] = {}
    for event in events:
        support, kind = event["support"], event["type"].removeprefix("response.")
        if event["type"] == OPENED:
            assert support not in alerts
            alerts[support] = event["alert"]
        elif kind in ("never", "stopped"):
            assert alerts[support] == event["alert"]
        elif kind in CLOSED:
            assert alerts.pop(support) == event["alert"]
    return alerts


async def test_nobody_recovers_whose_label_is_below_pace(north: Town) -> None:
    """No recovery is reported while the label is "No alarm, below pace", which a rule of the field can give for weeks.

    By the 4-point rule, one high score among low ones ends the alarm for four scores, although the chance of sufficient
    growth is small then. The alert stays open, so that it is not reported again as a new one.
    """
    async with north.unit() as work:
        await publish_rules(work, [NewRule("four-point")])
    support = await supported(north, "amy", BEGINS + timedelta(weeks=2))
    for score in scores(north, "amy", [38.0, 36.0, 35.0, 34.0, 33.0, 32.0, 51.0, 33.0, 32.0, 31.0], since=3):
        async with north.unit() as work:
            await record_scores(work, [score])
    last = (await verdicts(north, support))[-1]
    assert (last.state, last.label) == ("responding", "No alarm, below pace")
    assert [event["type"] for event in await payloads(north)] == ["response.off_track"]
    assert (await state(north, support)).alert_id is not None


async def test_a_phase_line_closes_the_alert(north: Town) -> None:
    """When a support is intensified, its open alert is closed by an event."""
    support, alert = await flagged(north)
    async with north.unit() as work:
        change = SupportChange(because="More minutes", goal=70.0, minutes_per_session=45, confirm_rate=True)
        await change_support(work, support.id, change)
    events = await payloads(north)
    assert [event["type"] for event in events] == [OPENED, "response.never", "response.superseded"]
    assert {event["alert"] for event in events} == {str(alert)}
    assert (await state(north, support)).alert_id is None
    assert open_alerts(events) == {}


@pytest.mark.parametrize("by_decision", [False, True])
async def test_the_end_of_the_support_closes_the_alert(north: Town, by_decision: bool) -> None:
    """Whether a support ends by itself or by a team's decision, its open alert is closed."""
    support, _ = await flagged(north)
    async with north.unit() as work:
        if by_decision:
            await decide(work, NewDecision("exit", ids.format_id("support", support.id), note="Another school"))
        else:
            await end_support(work, support.id, "The family moved.")
    assert (await response_events(north))[-1] == "response.ended"
    assert open_alerts(await payloads(north)) == {}
    assert (await state(north, support)).alert_id is None


async def test_the_goals_date_closes_the_alert_once(north: Town, south: Town) -> None:
    """An alert is closed once, on the day after the goal date. Scores that are recorded later open no other alert."""
    support, _ = await flagged(north)
    day = BEGINS + timedelta(weeks=20)
    for today, closed in ((day, 0), (day + timedelta(days=1), 1), (day + timedelta(days=2), 0)):
        async with north.house() as work:
            assert await expire_alerts(work, today) == closed
    assert (await response_events(north))[-1] == "response.expired"
    async with north.unit() as work:
        await record_scores(work, scores(north, "amy", [37.0, 36.0], since=11))
    assert (await state(north, support)).alert_id is None
    assert open_alerts(await payloads(north)) == {}
    assert await response_events(south) == []


async def test_the_payload_names_the_alert_and_nothing_of_the_child(north: Town) -> None:
    """The event that closes an alert has the alert's id, and no data about the child.

    Version 1 of this event does not have the alert's id.
    """
    _, alert = await flagged(north)
    async with north.unit() as work:
        feed = await events_after(work, keyset(north.district_id, "events", {}, None, 200))
    named = next(row for row in feed.rows if row.type == "response.never")
    assert named.version == 2
    newest, first = (body(named, "http://aimline.test", {named.type: version})["data"] for version in (2, 1))
    assert ids.parse_id("verdict", newest["alert"]) == alert
    assert (set(newest) - set(first), first["version"]) == ({"alert"}, 1)


async def test_the_feed_of_a_played_year_leaves_no_alert_open_that_no_state_shows(north: Town) -> None:
    """In each week of a simulated year, the feed has exactly those open alerts that the states of the supports show.

    The students of that year stall, recover and change supports.
    """
    rng, supports = Random(7), {}
    for name in ("amy", "ben", "cy"):
        supports[name] = await supported(north, name)
    series = {
        "amy": [*([40.0] * 6), 52.0, 56.0, 60.0, 62.0, 66.0],
        "ben": [*([40.0] * 8), 42.0, 44.0, 45.0],
        "cy": [41.0, 43.0, 44.0, 46.0, *([44.0] * 7)],
    }
    for week in range(11):
        for name, values in series.items():
            async with north.unit() as work:
                new = scores(north, name, [values[week] + rng.choice((-1, 0, 1))], since=week + 1)
                assert {one.outcome for one in await record_scores(work, new)} == {"recorded"}
        if week == 8:
            async with north.unit() as work:
                change = SupportChange("A smaller group", day_of(week), goal=70.0, confirm_rate=True)
                await change_support(work, supports["ben"].id, change)
        shown = {str(one.id): str((await state(north, one)).alert_id) for one in supports.values()}
        assert open_alerts(await payloads(north)) == {one: alert for one, alert in shown.items() if alert != "None"}
    events = [event["type"] for event in await payloads(north)]
    assert OPENED in events
    assert "response.superseded" in events
    for support in supports.values():
        for row in await verdicts(north, support):
            assert (row.state == "not_responding") <= ((row.slow or 0) >= 0.5)


def day_of(week: int) -> date:
    """Returns the day after the scores of this week were taken."""
    return BEGINS + timedelta(weeks=week + 1, days=1)
