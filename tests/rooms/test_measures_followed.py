"""Tests that reminders, lists, charts and retractions cover each measure of a support, and not only the first."""

from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import today_in
from app.core.errors import Invalid
from app.events.models import Event
from app.evidence.service import NewScore
from app.group.chart import group_picture
from app.playbook.service import publish_rules
from app.response.service import follow_measure, record_scores
from app.response.upkeep.overdue import remind_goal_dates, remind_overdue_scores
from app.support.measures import NewSupportMeasure
from app.support.models import Support
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import caller
from tests.rooms.test_groups import formed
from tests.rooms.test_support_measures import FLAT, current, followed, maze, taken
from tests.rooms.verdict_town import reader, response_events, rows, scores, state, supported
from tests.sent import statements_sent
from tests.town import Town

TODAY = today_in("America/Chicago")
CHART = """query($measure: String) { groups(first: 5) { edges { node { id
  chart(measure: $measure) { measureId measureName unit others lines { label supportId goal points { takenOn value } } }
} } } }"""
SCORES = "query($id: ID!) { support(id: $id) { scores { measure { code } value } } }"


async def reported(town: Town, *types: str) -> list[tuple[str, str]]:
    """Returns the events of these types, each with its measure."""

    @needs(Can.READ_EVENTS)
    async def read(work: Work) -> list[tuple[str, str]]:
        query = select(Event).where(Event.district_id == work.district_id, Event.type.in_(types)).order_by(Event.seq)
        return [(event.type, str(event.ids["measure"])) for event in await work.db.scalars(query)]

    async with town.unit() as work:
        return await read(work)


async def test_a_score_of_each_measure_can_be_overdue(north: Town) -> None:
    """If a measure has had no score for too long, a reminder is sent once.

    Additional measures have their own reminders.
    """
    support = await supported(north, "amy", TODAY - timedelta(days=80), goal_on=TODAY + timedelta(days=80))
    async with north.unit() as work:
        await follow_measure(work, support.id, NewSupportMeasure(measure="maze", goal=25.0, baseline=10.0))
    later = TODAY + timedelta(days=60)
    student = ids.format_id("student", north.students["amy"])
    async with north.unit() as work:
        await record_scores(work, [NewScore(student, "orf", TODAY, 44.0)])
    for _ in range(3):
        async with north.house() as work:
            await remind_overdue_scores(work, 15, later)
    measures = [measure for _, measure in await reported(north, "score.overdue")]
    assert sorted(measures) == sorted(str(north.measures[code]) for code in ("orf", "maze"))


async def test_each_goals_date_is_reported_and_listed(app: FastAPI, north: Town) -> None:
    """The goal date of each measure is reported and listed, including the earlier date of an additional measure."""
    support = await supported(north, "amy", TODAY - timedelta(weeks=6), goal_on=TODAY + timedelta(weeks=20))
    early = TODAY + timedelta(days=10)
    async with north.unit() as work:
        new = NewSupportMeasure(measure="maze", goal=25.0, baseline=10.0, goal_on=early, confirm_rate=True)
        await follow_measure(work, support.id, new)
    for day in (TODAY, TODAY, early, early + timedelta(days=1)):
        async with north.house() as work:
            await remind_goal_dates(work, day)
    maze_id = str(north.measures["maze"])
    assert await reported(north, "goal.due", "goal.passed") == [("goal.due", maze_id), ("goal.passed", maze_id)]
    listed = (await caller(app, north).get("/v1/supports", goal_date="due")).json()["items"]
    assert [each["id"] for each in listed] == [ids.format_id("support", support.id)]
    assert (await caller(app, north).get("/v1/supports", goal_date="passed")).json()["items"] == []


async def test_a_support_has_the_scores_of_each_measure(app: FastAPI, north: Town) -> None:
    """A support lists the scores of each of its measures, and the student's history shows the verdict on each."""
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 6)), *maze(north, FLAT[:6])])
    data = await query_data(north, SCORES, {"id": ids.format_id("support", support.id)})
    codes = [score["measure"]["code"] for score in data["support"]["scores"]]
    assert (codes.count("orf"), codes.count("maze")) == (6, 6)
    story = (await caller(app, north).get(f"/v1/students/{ids.format_id('student', support.student_id)}/story")).json()
    (shown,) = story["supports"]
    expected = {ids.format_id("measure", north.measures[code]) for code in ("orf", "maze")}
    assert {verdict["measure"] for verdict in shown["measure_verdicts"]} == expected


async def test_a_groups_chart_has_each_measure_in_both_apis(app: FastAPI, north: Town) -> None:
    """In both APIs, the chart of a group can show each measure of its members."""
    group = await formed(north, "amy", "ben")
    supports = {support.student_id: support for support in await rows(north, Support)}
    amy = supports[north.students["amy"]]
    begins = max(amy.starts_on, TODAY)
    async with north.unit() as work:
        new = NewSupportMeasure(measure="maze", goal=25.0, baseline=10.0, confirm_rate=True)
        await follow_measure(work, amy.id, new)
        student = ids.format_id("student", amy.student_id)
        await record_scores(work, [NewScore(student, "maze", begins, 11.0), NewScore(student, "orf", begins, 44.0)])
    path, both = f"/v1/groups/{ids.format_id('group', group.id)}/chart", []
    for measure, lines in ((None, 2), ("maze", 1)):
        parameters = {} if measure is None else {"measure": measure}
        rest = (await caller(app, north).get(path, **parameters)).json()
        data = await query_data(north, CHART, {"measure": measure})
        (graphql,) = [edge["node"]["chart"] for edge in data["groups"]["edges"]]
        assert len(rest["lines"]) == len(graphql["lines"]) == lines
        assert [line["label"] for line in rest["lines"]] == [line["label"] for line in graphql["lines"]]
        assert rest["measure"] == graphql["measureId"]
        both.append(graphql)
    assert both[1]["lines"][0]["goal"] == 25.0
    assert [point["value"] for point in both[1]["lines"][0]["points"]] == [11.0]
    picture = await caller(app, north).get(f"{path}.svg", measure="maze")
    assert picture.status_code == 200
    with pytest.raises(Invalid):
        async with north.unit() as work:
            await group_picture(work, group.id, "computation")
    data = await query_data(north, CHART, {"measure": "computation"})
    assert [edge["node"]["chart"] for edge in data["groups"]["edges"]] == [None]


async def test_other_rules_state_the_rate_of_all_measures(north: Town) -> None:
    """With two measures, the four-point rule states the sum of the false-alarm rates of both.

    This rule cannot be made stricter to lower the sum.
    """
    async with north.unit() as work:
        await publish_rules(work, {"*": {"rule": "four-point", "parameters": {}}})
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 6)), *maze(north, FLAT[:6])])
    _, by_measure = await current(north, support)
    assert {row.stated_far for row in by_measure.values()} == {0.592}


@pytest.mark.parametrize("is_justified", [True, False])
async def test_an_alert_that_another_measure_justifies_is_not_retracted(north: Town, is_justified: bool) -> None:
    """A correction of one measure's scores does not retract an alert that another measure would have opened too.

    Here the maze test opened the alert, and the other measure is reading.
    """
    support = await followed(north)
    reading = [40.0, 41.0, 40.0, 39.0, 41.0, 40.0, 39.0, 40.0] if is_justified else reader(3, 8)
    await taken(north, maze(north, FLAT[:8]))
    opened = (await state(north, support)).alert_id
    await taken(north, scores(north, "amy", reading))
    _, by_measure = await current(north, support)
    assert (by_measure["orf"].state in ("off_track", "not_responding")) == is_justified
    assert by_measure["maze"].state in ("off_track", "not_responding")
    assert (await state(north, support)).alert_id == opened is not None
    await taken(north, scores(north, "amy", [95.0, 96.0, 97.0], since=9))
    async with north.unit() as work:
        grown = [12.0, 14.0, 16.0, 18.0, 20.0, 21.0, 23.0, 24.0, 26.0, 27.0, 28.0]
        results = await record_scores(work, maze(north, grown))
    assert {result.outcome for result in results} == {"amended", "recorded"}
    assert ("response.retracted" in await response_events(north)) != is_justified


async def test_the_charts_of_more_groups_take_no_more_statements(app: FastAPI, north: Town) -> None:
    """Reading the charts of several groups needs as many statements as reading one."""
    counts, engine = list[int](), app.state.services.engine
    for name in ("amy", "ben", "amy"):
        await formed(north, name)
        with statements_sent(engine) as statements:
            answer = await caller(app, north).post("/graphql", {"query": CHART, "variables": {"measure": None}})
        assert len(answer.json()["data"]["groups"]["edges"]) == len(counts) + 1
        counts.append(len(statements))
    assert counts[1] == counts[2]
