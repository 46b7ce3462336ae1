"""Tests breaks: they can be saved, listed and removed, their weeks do not count, and verdicts change accordingly."""

from datetime import date, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.response.models import FinalizationJob
from app.roster.models import SchoolWeek
from app.support.session import NewSession, record_sessions
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.rooms.test_verdicts import RISES, STALLS, send, settle_all
from tests.rooms.verdict_town import BEGINS, response_events, rows, scores, supported, verdicts
from tests.town import YEAR_BEGINS, Town

FRIDAY = timedelta(days=4)
FALLS = [48.0, 47.0, 46.0, 45.0, 45.0]


def of_weeks(first: date, number: int = 1, **more: Any) -> dict[str, Any]:
    """Returns the input for a break over whole weeks, from Monday to Friday."""
    return {"begins_on": str(first), "ends_on": str(first + timedelta(weeks=number - 1) + FRIDAY), **more}


def week(number: int) -> date:
    """Returns the Monday of a week of the phase. The phase begins in week 0."""
    return BEGINS + timedelta(weeks=number)


async def off(town: Town, school: int = 0) -> list[date]:
    """Returns the Mondays of a school's weeks without instruction, in order."""

    @needs(Can.READ_ROSTER)
    async def read(work: Work) -> list[date]:
        mine = (SchoolWeek.district_id == work.district_id, SchoolWeek.school_id == town.schools[school])
        return list(await work.db.scalars(select(SchoolWeek.monday).where(*mine, ~SchoolWeek.instructional)))

    async with town.unit() as work:
        return sorted(await read(work))


async def save_a_break(app: FastAPI, town: Town, **body: Any) -> str:
    """Saves a break and returns its id."""
    answer = await caller(app, town).post("/v1/breaks", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_break_is_said_listed_and_taken_back(app: FastAPI, north: Town) -> None:
    """A break of the district or of a school is saved and deleted, and the weeks change with it.

    Saving the same break twice creates one break.
    """
    asks, south = caller(app, north), ids.format_id("org", north.schools[1])
    winter = await save_a_break(app, north, **of_weeks(week(3), 2, name="Winter"))
    snow = await save_a_break(app, north, **of_weeks(week(6), school=south))
    assert (await off(north), await off(north, 1)) == ([week(3), week(4)], [week(3), week(4), week(6)])
    repeated = await asks.post("/v1/breaks", of_weeks(week(3), 2, name="Winter holidays"))
    assert (repeated.status_code, repeated.json()["id"], repeated.json()["name"]) == (200, winter, "Winter holidays")
    listed = await asks.items("/v1/breaks", limit=1)
    assert [(one["id"], one["school"], one["begins_on"]) for one in listed] == [
        (winter, None, str(week(3))),
        (snow, south, str(week(6))),
    ]
    first = ids.format_id("org", north.schools[0])
    assert [one["id"] for one in await asks.items("/v1/breaks", school=first)] == [winter]
    assert [one["id"] for one in await asks.items("/v1/breaks", school=south)] == [winter, snow]
    assert (await asks.ask("DELETE", f"/v1/breaks/{winter}")).status_code == 204
    assert (await off(north), await off(north, 1)) == ([], [week(6)])
    assert (await asks.ask("DELETE", f"/v1/breaks/{winter}")).status_code == 404
    assert [one["id"] for one in await asks.items("/v1/breaks")] == [snow]


async def test_a_week_is_a_break_when_all_its_weekdays_are(app: FastAPI, north: Town) -> None:
    """A week becomes a break only if all its weekdays are covered, by one break or by two breaks together.

    If a break is deleted, the week has instruction again unless other breaks still cover all its weekdays.
    """
    monday, school = week(3), ids.format_id("org", north.schools[0])
    days = {"begins_on": str(monday - timedelta(days=3)), "ends_on": str(monday + timedelta(days=2))}
    await save_a_break(app, north, **days)
    assert await off(north) == []
    rest = {"begins_on": str(monday + timedelta(days=3)), "ends_on": str(monday + FRIDAY), "school": school}
    snow = await save_a_break(app, north, **rest)
    assert (await off(north), await off(north, 1)) == ([monday], [])
    whole = await save_a_break(app, north, **of_weeks(monday))
    assert (await off(north), await off(north, 1)) == ([monday], [monday])
    for gone, left in ((snow, ([monday], [monday])), (whole, ([], []))):
        assert (await caller(app, north).ask("DELETE", f"/v1/breaks/{gone}")).status_code == 204
        assert (await off(north), await off(north, 1)) == left


async def test_what_is_wrong_with_a_break_is_said_at_once(app: FastAPI, north: Town, south: Town) -> None:
    """An invalid break is refused with every violation and its pointer, and nothing is saved."""
    asks, theirs = caller(app, north), ids.format_id("org", south.schools[0])
    answer = await asks.post("/v1/breaks", {"begins_on": "2001-12-24", "ends_on": "2001-12-20", "school": theirs})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [(one["pointer"], one["code"]) for one in answer.json()["violations"]] == [
        ("/begins_on", "break.far_off"),
        ("/ends_on", "break.ends_before_it_begins"),
        ("/school", "org.unknown"),
    ]
    answer = await asks.post("/v1/breaks", of_weeks(week(1), 54, school="sis:sis:nowhere"))
    assert [one["code"] for one in answer.json()["violations"]] == ["break.too_long", "org.unknown"]
    answer = await asks.post("/v1/breaks", {"begins_on": "soon", "name": "", "days": 3})
    pointers = {one["pointer"] for one in answer.json()["violations"]}
    assert pointers == {"/begins_on", "/ends_on", "/name", "/days"}
    assert await asks.items("/v1/breaks") == []


async def test_another_district_neither_sees_nor_takes_back(app: FastAPI, north: Town, south: Town) -> None:
    """A client of another district can neither see nor delete a break, and its own weeks stay unchanged."""
    winter = await save_a_break(app, north, **of_weeks(week(3)))
    asks = caller(app, south)
    assert await asks.items("/v1/breaks") == []
    assert (await asks.ask("DELETE", f"/v1/breaks/{winter}")).status_code == 404
    assert (await off(south), await off(north)) == ([], [week(3)])


async def test_who_may_say_breaks(app: FastAPI, north: Town) -> None:
    """A teacher cannot save a break, and a client of some schools can save and remove breaks of these schools only."""
    winter = await save_a_break(app, north, **of_weeks(week(3)))
    teacher = caller(app, north, CLIENT_SCOPES, act_for="sis:sis:teacher-1")
    assert (await teacher.post("/v1/breaks", of_weeks(week(5)))).status_code == 403
    assert [one["id"] for one in await teacher.items("/v1/breaks")] == [winter]
    bound = caller(app, north, schools=(north.schools[0],))
    for school in (None, ids.format_id("org", north.schools[1])):
        answer = await bound.post("/v1/breaks", of_weeks(week(5), school=school))
        assert [one["code"] for one in answer.json()["violations"]] == ["break.out_of_reach"], answer.text
    mine = await bound.post("/v1/breaks", of_weeks(week(5), school=ids.format_id("org", north.schools[0])))
    assert mine.status_code == 201, mine.text
    assert (await bound.ask("DELETE", f"/v1/breaks/{winter}")).status_code == 403
    assert (await bound.ask("DELETE", f"/v1/breaks/{mine.json()['id']}")).status_code == 204
    assert (await off(north), await off(north, 1)) == ([week(3)], [week(3)])


async def test_verdicts_count_no_week_of_a_break_and_are_judged_anew_quietly(app: FastAPI, north: Town) -> None:
    """After a break is saved, a new verdict no longer counts the weeks of the break, and no alert is raised.

    The scores are chosen so that the series is off track with the break and without it.
    """
    support, other = await supported(north, "amy"), await supported(north, "cy")
    for name in ("amy", "cy"):
        # The fifth week has no score: there was no school.
        await send(north, [*scores(north, name, RISES[:4]), *scores(north, name, FALLS, since=6)])
    await settle_all(north)
    before, events_before = (await verdicts(north, support))[-1], await response_events(north)
    assert (before.last_week, before.state) == (10, "off_track")
    snow = await save_a_break(app, north, **of_weeks(week(5), school=ids.format_id("org", north.schools[0])))
    (scheduled,) = [row for row in await rows(north, FinalizationJob) if row.kind == "rules"]
    assert (scheduled.school_id, scheduled.quiet, scheduled.state) == (north.schools[0], True, "pending")
    assert await settle_all(north)
    after = (await verdicts(north, support))[-1]
    assert (after.number, after.last_week, after.last_on) == (before.number + 1, 9, before.last_on)
    assert after.state == before.state
    assert after.required_rate > before.required_rate
    assert (await verdicts(north, other))[-1].last_week == 10, "another school's week is another's"
    assert await response_events(north) == events_before
    assert (await caller(app, north).ask("DELETE", f"/v1/breaks/{snow}")).status_code == 204
    await settle_all(north)
    assert (await verdicts(north, support))[-1].last_week == 10
    assert await response_events(north) == events_before


async def test_an_alert_that_rests_on_a_break_is_judged_without_alarm(app: FastAPI, north: Town) -> None:
    """If a verdict changes because a break was saved, no alert is raised or ended."""
    support = await supported(north, "amy")
    await send(north, scores(north, "amy", [*RISES, *STALLS]), backfill=True)
    await settle_all(north)
    assert await response_events(north) == []
    await save_a_break(app, north, **of_weeks(week(1), 3))
    assert await settle_all(north)
    assert (await verdicts(north, support))[-1].last_week == 6
    assert await response_events(north) == []


async def test_days_that_change_no_week_ask_for_nothing(app: FastAPI, north: Town) -> None:
    """A break of one day, or outside the school year, changes no week. It is saved, and nothing is judged again."""
    await supported(north, "amy")
    await save_a_break(app, north, begins_on=str(week(2)), ends_on=str(week(2)))
    await save_a_break(app, north, **of_weeks(YEAR_BEGINS - timedelta(weeks=9), 5))
    assert not [row for row in await rows(north, FinalizationJob) if row.kind == "rules"]


async def test_no_session_is_expected_in_a_break(app: FastAPI, north: Town) -> None:
    """In a week without instruction no session counts as planned."""
    support = await supported(north, "amy")
    async with north.unit() as work:
        await record_sessions(work, support.id, [NewSession(week(0), attended=True)])
    path, span = (
        f"/v1/supports/{ids.format_id('support', support.id)}/dosage",
        {"since": week(0), "until": week(3) + FRIDAY},
    )
    planned = (await caller(app, north).get(path, **span)).json()["planned_sessions"]
    await save_a_break(app, north, **of_weeks(week(1), 2))
    assert ((await caller(app, north).get(path, **span)).json()["planned_sessions"], planned) == (6, 12)


@pytest.mark.parametrize("school", [None, 0])
async def test_graphql_says_the_same(north: Town, school: int | None) -> None:
    """GraphQL saves, lists and deletes breaks like REST, and returns problems with REST's codes and pointers."""
    named = None if school is None else ids.format_id("org", north.schools[school])
    declare = """mutation ($input: DeclareBreakInput!) { declareBreak(input: $input) {
        schoolBreak { id school { id } } problems { code pointer } } }"""
    body = {"beginsOn": str(week(3)), "endsOn": str(week(3) + FRIDAY), "school": named}
    made = (await query_data(north, declare, {"input": body}))["declareBreak"]["schoolBreak"]
    assert made["school"] == (None if named is None else {"id": named})
    wrong = (await query_data(north, declare, {"input": body | {"endsOn": str(week(2))}}))["declareBreak"]
    assert wrong["problems"] == [{"code": "break.ends_before_it_begins", "pointer": "/endsOn"}]
    assert (await off(north), await off(north, 1)) == ([week(3)], [week(3)] if school is None else [])
    listing = "query ($school: ID) { breaks(schoolId: $school) { edges { node { id beginsOn } } } }"
    first = ids.format_id("org", north.schools[0])
    edges = (await query_data(north, listing, {"school": first}))["breaks"]["edges"]
    assert edges == [{"node": {"id": made["id"], "beginsOn": str(week(3))}}]
    remove = "mutation ($input: RemoveBreakInput!) { removeBreak(input: $input) { problems { code } } }"
    for problems in ([], [{"code": "not_found"}]):
        removed = await query_data(north, remove, {"input": {"breakId": made["id"]}})
        assert removed["removeBreak"]["problems"] == problems
    assert await off(north) == []
