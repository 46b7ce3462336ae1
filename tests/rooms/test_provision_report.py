"""Tests the report on how supports reach students: its medians and shares, which are withheld for few students."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.ids import new_id
from app.insight.provision import _days_of, _shares_of
from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import named
from tests.rooms.test_concerns_unserved import planned
from tests.rooms.test_screening_report import screened
from tests.rooms.test_screening_windows import scheduled, window
from tests.rooms.test_signals import NOW, computed, published
from tests.rooms.test_teams import TODAY
from tests.town import Town, lay, person_rows

CHILDREN = 11
QUERY = (
    "{ provisionReport { withheld daysToSession { areaId areaName level levelName students medianDays } "
    "levels { level levelName students } } }"
)


class Row:
    """A row of the result of the query for medians of days: one for each area, and one for each area and level."""

    def __init__(self, area: int, rank: int | None, students: int) -> None:
        self.area_id, self.rank, self.students, self.days = UUID(int=area), rank, students, 5.0


@needs(Can.SYNC_ROSTER)
async def enroll(work: Work, town: Town) -> None:
    """Adds students to the first school."""
    for number in range(CHILDREN):
        town.students[f"child{number}"] = new_id()
        rows = person_rows(town, f"child{number}", "student", town.students[f"child{number}"], town.schools[0])
        await lay(work, *rows)


async def served(asks: Caller, signal: dict[str, Any], days: int) -> None:
    """Plans a support for the concern of an accepted signal, and records its first session `days` days from today."""
    concern = (await asks.get(f"/v1/concerns/{signal['concern']}")).json()
    support = await planned(asks, concern, starts_on=str(TODAY))
    session = {"held_on": str(TODAY + timedelta(days=days)), "attended": True}
    answer = await asks.post(f"/v1/supports/{support}/sessions", {"sessions": [session]})
    assert answer.is_success, answer.text


async def test_the_median_and_the_shares_are_those_of_the_children(app: FastAPI, north: Town) -> None:
    """The report's days are counted from a signal to a session that took place, and not to one that was only
    planned.
    """
    asks = caller(app, north)
    async with north.house() as work:
        await enroll(work, north)
    await scheduled(asks, window(*NOW))
    await screened(asks, north, str(TODAY), **{f"child{number}": 50.0 for number in range(CHILDREN)})
    await published(asks)
    signals = await computed(asks, north)
    items = [{"signal": one["id"]} for one in signals.values()]
    results = (await asks.post("/v1/signals/accept", {"signals": items})).json()["results"]
    assert [one["outcome"] for one in results] == ["recorded"] * CHILDREN
    before = (await asks.get("/v1/reports/provision")).json()
    assert before["days_to_session"] == []
    for one in results:
        await served(asks, one["signal"], 0)
    shown = (await asks.get("/v1/reports/provision")).json()
    assert {(one["level"], one["students"], one["median_days"]) for one in shown["days_to_session"]} == {
        (None, CHILDREN, 0.0),
        (2, CHILDREN, 0.0),
    }
    areas = {one["id"]: one["name"] for one in await asks.items("/v1/areas")}
    levels = {one["rank"]: one["name"] for one in await asks.items("/v1/levels")} | {None: None}
    for one in shown["days_to_session"]:
        assert (one["area_name"], one["level_name"]) == (areas[one["area"]], levels[one["level"]])
    # Three children are at the first level, so that the others are withheld with them.
    assert (shown["levels"], shown["withheld"]) == ([], True)
    data = (await asks.post("/graphql", {"query": QUERY})).json()["data"]["provisionReport"]
    assert {(one["areaName"], one["levelName"]) for one in data["daysToSession"]} == {
        (one["area_name"], one["level_name"]) for one in shown["days_to_session"]
    }
    teacher = (await caller(app, north, act_for="sis:sis:teacher-1").get("/v1/reports/provision")).json()
    assert (teacher["days_to_session"], teacher["levels"]) == ([], [])


async def test_a_support_of_the_first_level_is_counted_with_the_others_of_it(app: FastAPI, north: Town) -> None:
    """A student with a support of the first level is counted at this level, like a student without a support."""
    asks = caller(app, north)
    async with north.house() as work:
        await enroll(work, north)
    before = (await asks.get("/v1/reports/provision")).json()["levels"]
    assert {one["level_name"] for one in before} == {"Core"}
    for number in range(2):
        body = {"student": named("student", north.students[f"child{number}"]), "area": "ela.fluency"}
        concern = (await asks.post("/v1/concerns", body | {"description": "Slow."})).json()
        await asks.post(f"/v1/concerns/{concern['id']}/accept", {"because": "The team agrees."})
        await planned(asks, concern, level=1)
    assert (await asks.get("/v1/reports/provision")).json()["levels"] == before


def test_no_median_and_no_share_of_few_children_can_be_found() -> None:
    """Counts and medians about fewer than 10 children are withheld.

    Another count is withheld too if the small count could be computed from it and a total.
    """
    rows = [Row(1, None, 15), Row(1, 2, 12), Row(1, 3, 3), Row(2, None, 9), Row(2, 2, 9), Row(3, None, 30)]
    rows += [Row(3, 2, 14), Row(3, 3, 16)]
    listed, withheld = _days_of(rows)
    assert [(one.area_id.int, one.level, one.students) for one in listed] == [
        (1, None, 15),
        (3, None, 30),
        (3, 2, 14),
        (3, 3, 16),
    ]
    assert withheld
    shares, withheld = _shares_of({("", "03", "1", ""): 40, ("", "03", "2", ""): 12, ("", "04", "1", ""): 50})
    assert all(share.students >= 10 for share in shares)
    assert ("03", 1) in {(share.grade, share.level) for share in shares}
    assert _shares_of({("", "03", "1", ""): 9}) == ([], True)
