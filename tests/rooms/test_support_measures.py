"""Tests supports with several measures: the support's verdict and alert, and what each measure shows."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import today_in
from app.core.errors import Invalid
from app.evidence.service import NewScore
from app.playbook.models import Measure
from app.response.judging.finalize import finalize_district
from app.response.models import VerdictRow
from app.response.rules.monitor.calibration import PUBLISHED
from app.response.service import change_support, end_support, follow_measure, record_scores, stop_measure
from app.support.measures import NewSupportMeasure
from app.support.models import PhaseGoal, Support, SupportMeasure
from app.support.service import SupportChange
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import caller
from tests.rooms.verdict_town import BEGINS, reader, response_events, rows, scores, state, supported, verdicts
from tests.town import Town

TODAY = today_in("America/Chicago")
READ = """query($id: ID!) { support(id: $id) {
  measure { code } verdict { state measures measure { code } }
  measures { measure { code } followedFrom followedUntil goals { goal baseline beginsOn } }
  measureVerdicts { state measure { code } }
} }"""
FOLLOW = """mutation($input: FollowMeasureInput!) { followMeasure(input: $input) {
  support { id measures { measure { code } } } problems { code pointer }
} }"""


@needs(Can.JUDGE)
async def _begin_earlier(work: Work, support: Support) -> None:
    """Makes the goals of additional measures begin with the first phase, as if the measures had been followed since
    then.
    """
    of_support = (PhaseGoal.district_id == work.district_id, PhaseGoal.support_id == support.id)
    await work.db.execute(update(PhaseGoal).where(*of_support).values(begins_on=BEGINS))


async def followed(town: Town, name: str = "amy", **more: Any) -> Support:
    """Returns a support for reading that is also monitored by a second measure (maze), since its first day."""
    support = await supported(town, name)
    plan: dict[str, Any] = {"measure": "maze", "goal": 25.0, "baseline": 10.0, "confirm_rate": True}
    async with town.unit() as work:
        await follow_measure(work, support.id, NewSupportMeasure(**(plan | more)))
    async with town.house() as work:
        await _begin_earlier(work, support)
    return support


async def taken(town: Town, new: list[NewScore]) -> None:
    async with town.unit() as work:
        results = await record_scores(work, new)
    assert {result.outcome for result in results} == {"recorded"}


def maze(town: Town, values: list[float], name: str = "amy", since: int = 1) -> list[NewScore]:
    """Returns scores of the measure `maze` with these values, one for each week of the phase from week `since` on."""
    student = ids.format_id("student", town.students[name])
    return [
        NewScore(student, "maze", BEGINS + timedelta(weeks=week), value) for week, value in enumerate(values, since)
    ]


async def current(town: Town, support: Support) -> tuple[VerdictRow, dict[str, VerdictRow]]:
    """Returns the verdict of a support, and the verdict on each of its measures by the code of the measure."""
    now = await state(town, support)
    by_id = {row.id: row for row in await rows(town, VerdictRow)}
    codes = {measure_id: code for code, measure_id in town.measures.items()}
    return by_id[now.verdict_id], {codes[by_id[each].measure_id]: by_id[each] for each in now.verdict_ids}


FLAT = [10.0, 10.0, 11.0, 10.0, 10.0, 11.0, 10.0, 10.0, 10.0, 11.0]


async def test_the_verdict_of_a_support_is_the_most_serious_of_its_measures(app: FastAPI, north: Town) -> None:
    """The verdict of a support is the most serious one of its measures, and both APIs name that measure."""
    support = await followed(north)
    await taken(north, scores(north, "amy", reader(3, 10)))
    worst, by_measure = await current(north, support)
    assert (worst.measure_id, by_measure["maze"].state) == (north.measures["maze"], "insufficient_data")
    await taken(north, maze(north, FLAT))
    worst, by_measure = await current(north, support)
    assert by_measure["orf"].state in ("responding", "below_pace", "uncertain")
    assert worst.id == by_measure["maze"].id
    assert worst.state in ("off_track", "not_responding")
    data = (await query_data(north, READ, {"id": ids.format_id("support", support.id)}))["support"]
    assert data["measure"]["code"] == "orf"
    assert data["verdict"] == {"state": worst.state.upper(), "measures": 2, "measure": {"code": "maze"}}
    assert {each["measure"]["code"] for each in data["measureVerdicts"]} == {"orf", "maze"}
    (further,) = data["measures"]
    assert further["goals"] == [{"goal": 25.0, "baseline": 10.0, "beginsOn": str(BEGINS)}]
    asks = caller(app, north)
    shown = (await asks.get(f"/v1/supports/{ids.format_id('support', support.id)}")).json()
    assert shown["verdict"]["measure"] == ids.format_id("measure", north.measures["maze"])
    assert [each["measure"] for each in shown["measures"]] == [ids.format_id("measure", north.measures["maze"])]


async def test_a_sentence_names_its_measure_if_there_are_several(north: Town) -> None:
    """The sentence about a support with several measures begins with the name of the measure that it is about.

    Read alone, it once left open which measure was off track. With one measure, no name is needed.
    """
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 8)), *maze(north, FLAT[:8])])
    worst, by_measure = await current(north, support)
    names = {row.id: row.name for row in await rows(north, Measure)}
    for row in by_measure.values():
        assert row.sentence.startswith(f"{names[row.measure_id]}: Given these scores")
    assert worst.sentence.startswith(f"{names[north.measures['maze']]}: ")
    async with north.unit() as work:
        await stop_measure(work, support.id, "maze")
    alone, _ = await current(north, support)
    assert alone.sentence.startswith("Given these scores")


async def test_an_alert_is_the_supports_and_opens_once(north: Town) -> None:
    """A support has one alert: a second measure that is off track does not open another one."""
    support = await followed(north)
    await taken(north, maze(north, FLAT[:8]))
    assert (await response_events(north)).count("response.off_track") == 1
    opened = (await state(north, support)).alert_id
    await taken(north, scores(north, "amy", [40.0, 41.0, 40.0, 39.0, 41.0, 40.0, 39.0, 40.0]))
    _, by_measure = await current(north, support)
    assert {row.state for row in by_measure.values()} <= {"off_track", "not_responding"}
    events = await response_events(north)
    assert events.count("response.off_track") == 1
    assert len([each for each in events if each in ("response.never", "response.stopped")]) <= 1
    assert (await state(north, support)).alert_id == opened
    async with north.unit() as work:
        await end_support(work, support.id, "It ends.")
    assert (await response_events(north))[-1] == "response.ended"


async def test_measures_share_the_stated_false_alarm_rate(north: Town) -> None:
    """If a support has two measures, each is judged at half of the stated false-alarm rate.

    A single measure is judged at the whole rate.
    """
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 6)), *maze(north, FLAT[:6])])
    _, by_measure = await current(north, support)
    assert {row.measures for row in by_measure.values()} == {2}
    assert {row.threshold for row in by_measure.values()} == {PUBLISHED.threshold_at(0.05)}
    assert {row.stated_far for row in by_measure.values()} == {0.1}
    async with north.unit() as work:
        await stop_measure(work, support.id, "maze")
    worst, by_measure = await current(north, support)
    assert set(by_measure) == {"orf"}
    assert (worst.measures, worst.threshold) == (1, PUBLISHED.threshold_at(0.1))
    numbers = [row.number for row in await verdicts(north, support)]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_stopping_a_measure_closes_the_alert_that_it_opened(north: Town) -> None:
    """If a measure is removed from a support, the alert that it opened is closed, and another measure may open one."""
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 8)), *maze(north, FLAT[:8])])
    assert (await state(north, support)).alert_id is not None
    async with north.unit() as work:
        await stop_measure(work, support.id, "maze")
    assert (await state(north, support)).alert_id is None
    assert (await response_events(north))[-1] == "response.superseded"
    await taken(north, scores(north, "amy", [41.0, 40.0, 41.0], since=9))
    await taken(north, maze(north, [10.0], since=9))
    (row,) = await rows(north, SupportMeasure)
    assert row.followed_until is not None
    worst, by_measure = await current(north, support)
    assert set(by_measure) == {"orf"}
    assert worst.last_on == BEGINS + timedelta(weeks=11)


async def test_a_new_phase_keeps_the_goals_of_further_measures(north: Town) -> None:
    """In a new phase, additional measures keep their goals.

    A measure whose goal is met has no goal in the new phase until somebody sets one.
    """
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 8)), *maze(north, FLAT[:8])])
    change = SupportChange(because="More.", begins_on=TODAY, sessions_per_week=4, confirm_rate=True)
    async with north.unit() as work:
        phase = await change_support(work, support.id, change)
    goals = [row for row in await rows(north, PhaseGoal) if row.phase_id == phase.id]
    assert [(row.goal, row.baseline, row.begins_on) for row in goals] == [(25.0, 10.0, TODAY)]
    _, by_measure = await current(north, support)
    assert {row.phase_id for row in by_measure.values()} == {phase.id}
    assert set(by_measure) == {"orf", "maze"}


async def test_a_further_measure_that_cannot_be_is_refused_with_every_reason(app: FastAPI, north: Town) -> None:
    """An additional measure of a support is refused with every reason if it is invalid.

    It must not be a measure of the support already, and its goal must be better than its baseline. Its goal date may
    not be after that of the phase.
    """
    support = await followed(north)
    named = ids.format_id("support", support.id)
    asks = caller(app, north)
    wrong = {"measure": "computation", "goal": 5.0, "baseline": 9.0, "goal_on": str(BEGINS + timedelta(weeks=30))}
    answer = await asks.post(f"/v1/supports/{named}/measures", wrong)
    codes = {(each["pointer"], each["code"]) for each in answer.json()["violations"]}
    assert codes == {("/goal", "support.goal"), ("/goal_on", "support.goal_on")}
    again = {"supportId": named, "measure": "maze", "goal": 30.0, "baseline": 10.0}
    payload = (await query_data(north, FOLLOW, {"input": again}))["followMeasure"]
    assert [each["code"] for each in payload["problems"]] == ["support.measure_followed"]
    async with north.unit() as work:
        with pytest.raises(Invalid):
            await follow_measure(work, support.id, NewSupportMeasure(measure="sel-screener", goal=60.0, baseline=40.0))
        with pytest.raises(Invalid):
            await stop_measure(work, support.id, "orf")


async def test_each_measure_has_its_chart(app: FastAPI, north: Town) -> None:
    """The chart shows the scores, the aimline and the verdict of the measure for which it was requested."""
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 8)), *maze(north, FLAT[:8])])
    asks, named = caller(app, north), ids.format_id("support", support.id)
    first = (await asks.get(f"/v1/supports/{named}/chart")).json()
    further = (await asks.get(f"/v1/supports/{named}/chart", measure="maze")).json()
    assert (first["phases"][0]["goal"], further["phases"][0]["goal"]) == (70.0, 25.0)
    assert [point["value"] for point in further["points"]] == FLAT[:8]
    assert first["verdict"]["id"] != further["verdict"]["id"]
    assert further["verdict"]["state"] in ("off_track", "not_responding")
    picture = await asks.get(f"/v1/supports/{named}/chart.svg", measure="maze")
    assert picture.status_code == 200
    assert (await asks.get(f"/v1/supports/{named}/chart", measure="computation")).status_code == 422


async def test_a_complete_week_finalizes_each_measure(north: Town) -> None:
    """When a week is complete, the worker judges each measure of a support finally for this week."""
    support = await followed(north)
    await taken(north, [*scores(north, "amy", reader(3, 6)), *maze(north, FLAT[:6])])
    assert await finalize_district(north.worker_engine, north.settings.keyring, north.district_id) > 6
    assert (await state(north, support)).settled_on is not None
