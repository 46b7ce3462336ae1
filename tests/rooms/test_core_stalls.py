"""Tests core stalls, that is, grades whose share of students at the benchmark fell.

Tests which grades are suggested, to whom they are shown, and what accepting and dismissing them does.
"""

from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.ids import new_id, parse_id
from app.evidence.screening.models import ScreeningResult
from app.signal.compute import compute_signals
from app.signal.stalls.rules import GradeInWindows
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.agenda_town import agenda_of, done, kinds, meeting_of, meeting_team, opened
from tests.rooms.team_town import named
from tests.rooms.test_names_of_tasks import both_agendas
from tests.rooms.test_screening_report import screened
from tests.rooms.test_screening_windows import scheduled, window
from tests.rooms.test_signals import TODAY
from tests.sent import statements_sent
from tests.town import Town, lay, maintain, person_rows

BEFORE = (str(TODAY - timedelta(days=30)), str(TODAY - timedelta(days=20)))
SINCE = (str(TODAY - timedelta(days=10)), str(TODAY + timedelta(days=20)))
CORE, BELOW = 200.0, 10.0
QUERY = """{ coreStalls(first: 10, state: SUGGESTED) { edges { node {
    grade fellBy countedAtLeast school { id } rule { code } window { id } measure { code } } } } }"""


@needs(Can.SYNC_ROSTER)
async def enrolled(work: Work, town: Town, count: int) -> list[str]:
    """Adds students of the third grade to the first school, and returns their names."""
    names = [f"child{number}" for number in range(count)]
    for name in names:
        town.students[name] = new_id()
        await lay(work, *person_rows(town, name, "student", town.students[name], town.schools[0]))
    return names


@needs(Can.SYNC_ROSTER)
async def in_one_year(work: Work) -> None:
    """Puts all windows into one school year, on whichever day the test runs."""
    sql = "UPDATE screening_window SET school_year = 2027 WHERE district_id = :district"
    await work.db.execute(text(sql), {"district": work.district_id})


async def two_windows(asks: Caller, town: Town, before: int, after: int, *, same: int = 40) -> list[str]:
    """Screens students in a window that closes, and again in one that is open; returns the students' names.

    Of the first `same` students, `before` reach the benchmark in the earlier window, and `after` in the later one.
    """
    async with town.house() as work:
        names = await enrolled(work, town, same)
    await scheduled(asks, window(*BEFORE))
    await scheduled(asks, window(*SINCE, season="winter"))
    async with town.house() as work:
        await in_one_year(work)
    first = {name: CORE if place < before else BELOW for place, name in enumerate(names)}
    await screened(asks, town, BEFORE[0], **first)
    await maintain(town)
    second = {name: CORE if place < after else BELOW for place, name in enumerate(names)}
    await screened(asks, town, SINCE[0], **second)
    return names


async def published(asks: Caller, **more: Any) -> dict[str, Any]:
    """Publishes a rule about core stalls (grades that fell behind), and returns it."""
    return await done(asks, "signal-rules", code="core", kind="core_stall", **more)


async def recompute(town: Town) -> None:
    """Computes the signals of all students."""

    @needs(Can.SYNC_ROSTER)
    async def forget(work: Work) -> None:
        sql = "UPDATE signal_progress SET full_on = NULL WHERE district_id = :district"
        await work.db.execute(text(sql), {"district": work.district_id})

    async with town.house() as work:
        await forget(work)
    async with town.house() as work:
        await compute_signals(work)


async def stalls(asks: Caller, town: Town, state: str = "suggested") -> dict[str | None, dict[str, Any]]:
    """Computes the signals. Returns the core stalls (grades that fell behind) in this state, by school."""
    await recompute(town)
    return {one["school"]: one for one in await asks.items("/v1/core-stalls", state=state)}


async def test_a_grade_that_falls_behind_is_suggested_and_comes_on_the_agenda(app: FastAPI, north: Town) -> None:
    """A core stall is suggested if the share of students at the benchmark fell by the number of points in the rule.

    Once it is accepted, it is an item on the agenda of the grade's team.
    """
    asks, school = caller(app, north), named("org", north.schools[0])
    await two_windows(asks, north, before=30, after=22)
    await screened(asks, north, SINCE[0], amy=CORE, ben=CORE)
    body = {"code": "core", "kind": "core_stall", "points": 20}
    assert (await asks.post("/v1/signal-rules/preview", body)).json() == {"students": 0, "grades": 2}
    body["points"] = 21
    assert (await asks.post("/v1/signal-rules/preview", body)).json() == {"students": 0, "grades": 0}
    await published(asks)
    suggested = await stalls(asks, north)
    assert suggested.keys() == {school, None}
    assert {(one["grade"], one["fell_by"], one["counted_at_least"]) for one in suggested.values()} == {("03", 20, 30)}
    nodes = [edge["node"] for edge in (await query_data(north, QUERY))["coreStalls"]["edges"]]
    assert {(one["measure"]["code"], one["rule"]["code"], one["fellBy"]) for one in nodes} == {("orf", "core", 20)}
    team = await meeting_team(north)
    await meeting_of(asks, team)
    assert kinds(await agenda_of(asks, team)) == []
    accepted = await done(asks, f"core-stalls/{suggested[school]['id']}/accept")
    assert (accepted["state"], accepted["version"]) == ("accepted", 2)
    await done(asks, f"core-stalls/{suggested[None]['id']}/accept")
    (item,) = (await agenda_of(asks, team))["items"]
    assert (item["kind"], item["subject"], item["student"]) == ("core_stall", accepted["id"], None)
    assert item["reasons"] == [{"code": "core_stall", "records": [accepted["id"], accepted["window"]]}]
    again = await asks.post(f"/v1/core-stalls/{accepted['id']}/dismiss", {"because": "No."})
    assert (again.status_code, again.json()["code"]) == (409, "core_stall.settled")
    types = [one["type"] for one in (await asks.get("/v1/events", limit=200)).json()["items"]]
    assert Counter(one for one in types if one.startswith("core_stall.")) == {
        "core_stall.suggested": 2,
        "core_stall.accepted": 2,
    }


async def test_what_a_team_discussed_does_not_come_up_again(app: FastAPI, north: Town) -> None:
    """A core stall (a grade that fell behind) that a team has discussed is not put on its agenda again every week.

    The agenda names its grade, school, measure and window in one answer, also for a teacher, who does not see the core
    stalls of the school. So do its page and the page of the recap.
    """
    asks, school = caller(app, north), named("org", north.schools[0])
    await two_windows(asks, north, before=30, after=20)
    await published(asks)
    await done(asks, f"core-stalls/{(await stalls(asks, north))[school]['id']}/accept")
    team = await meeting_team(north)
    meeting = await opened(asks, team)
    (item,) = (await agenda_of(asks, team))["items"]
    await done(asks, f"agenda-items/{item['item']}/discuss", minutes="We look at the daily reading time.")
    await done(asks, f"meetings/{meeting['id']}/close")
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    assert (await teacher.get(f"/v1/core-stalls/{item['subject']}")).status_code == 404
    (seen,) = await both_agendas(teacher, team, meeting=meeting["id"])
    assert seen["core_stall"] == {
        "grade": "03",
        "school": school,
        "school_name": (await asks.get(f"/v1/schools/{school}")).json()["name"],
        "measure_name": "Oral reading fluency",
        "season": "winter",
        "opens_on": SINCE[0],
        "closes_on": SINCE[1],
    }
    agenda = await teacher.get(f"/v1/teams/{team}/agenda.html", meeting=meeting["id"])
    recap = await teacher.get(f"/v1/meetings/{meeting['id']}/recap.html")
    for page in (agenda, recap):
        heading = f"Grade 3: Oral reading fluency, winter screening, {seen['core_stall']['school_name']}"
        assert f"<h3 dir=auto>{heading}</h3>" in page.text
    await meeting_of(asks, team)
    assert kinds(await agenda_of(asks, team)) == []


async def test_each_name_of_a_stall_needs_its_permission(app: FastAPI, north: Town) -> None:
    """An agenda shows no name of a core stall to a client that may not read signals, no school to one that may not read
    the roster, and neither measure nor window to one that may not read the playbook. The pages show no more.
    """
    asks, school = caller(app, north), named("org", north.schools[0])
    await two_windows(asks, north, before=30, after=20)
    await published(asks)
    await done(asks, f"core-stalls/{(await stalls(asks, north))[school]['id']}/accept")
    team = await meeting_team(north)
    meeting = await opened(asks, team)
    name = (await asks.get(f"/v1/schools/{school}")).json()["name"]
    for missing, withheld, heading in (
        ("signal:read", None, "A grade that fell behind as a whole"),
        ("roster:read", {"school_name"}, "Grade 3: Oral reading fluency, winter screening"),
        ("playbook:read", {"measure_name", "season", "opens_on", "closes_on"}, f"Grade 3: {name}"),
    ):
        client = caller(app, north, CLIENT_SCOPES - {missing})
        for filters in ({}, {"meeting": meeting["id"]}):
            (item,) = await both_agendas(client, team, **filters)
            stall = item["core_stall"]
            assert (stall and {name for name, value in stall.items() if value is None}) == withheld, missing
        page = (await client.get(f"/v1/teams/{team}/agenda.html")).text
        assert f"<h3 dir=auto>{heading}</h3>" in page


async def test_the_names_of_stalls_take_one_statement(app: FastAPI, north: Town) -> None:
    """The names of all core stalls of an agenda take one statement, and an agenda without any takes none."""
    asks = caller(app, north)
    await two_windows(asks, north, before=30, after=20)
    await published(asks)
    team = await meeting_team(north)
    engine = app.state.services.engine
    with statements_sent(engine) as without:
        assert kinds(await agenda_of(asks, team)) == []
    for stall in (await stalls(asks, north)).values():
        await done(asks, f"core-stalls/{stall['id']}/accept")
    with statements_sent(engine) as named_stalls:
        assert kinds(await agenda_of(asks, team)) == ["core_stall"]
    assert len(named_stalls) == len(without) + 1


async def test_a_dismissed_stall_never_returns_and_another_lapses(app: FastAPI, north: Town) -> None:
    """A core stall (a grade that fell behind) that was dismissed is not suggested again.

    A core stall that was not dismissed lapses when later scores no longer show the fall.
    """
    asks, school = caller(app, north), named("org", north.schools[0])
    names = await two_windows(asks, north, before=30, after=20)
    rule = await published(asks)
    suggested = await stalls(asks, north)
    path = f"/v1/core-stalls/{suggested[school]['id']}"
    assert (await asks.post(f"{path}/dismiss", {"because": ""})).status_code == 422
    assert (await asks.post(f"{path}/dismiss", {"because": "Another form."})).json()["state"] == "dismissed"
    await screened(asks, north, str(TODAY), **dict.fromkeys(names[:30], CORE))
    assert await stalls(asks, north) == {}
    assert (await stalls(asks, north, "lapsed")).keys() == {None}
    refused = await asks.post(f"/v1/core-stalls/{suggested[None]['id']}/accept", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "core_stall.lapsed")
    await screened(asks, north, str(TODAY), **dict.fromkeys(names[15:30], BELOW))
    assert (await published(asks, points=5))["number"] == rule["number"] + 1
    returned = await stalls(asks, north)
    assert returned.keys() == {None}
    assert (returned[None]["id"], returned[None]["fell_by"]) == (suggested[None]["id"], 37)


async def test_a_stall_is_shown_to_those_who_see_the_school_or_the_district(app: FastAPI, north: Town) -> None:
    """A core stall (a grade that fell behind) of one school is not shown to people of another school.

    A core stall of the whole district is not shown to people of a single school.
    """
    asks, school = caller(app, north), named("org", north.schools[0])
    await two_windows(asks, north, before=30, after=20)
    await published(asks)
    assert (await stalls(asks, north)).keys() == {school, None}
    of_one, of_other = (caller(app, north, schools=(one,)) for one in north.schools)
    teacher = caller(app, north, act_for="sis:sis:teacher-1")
    seen = [{one["school"] for one in await each.items("/v1/core-stalls")} for each in (of_one, of_other, teacher)]
    assert seen == [{school}, set(), set()]
    body = {"code": "core", "kind": "core_stall"}
    counted = [(await each.post("/v1/signal-rules/preview", body)).json()["grades"] for each in (of_one, of_other)]
    assert counted == [1, 0]


async def test_few_children_on_one_side_are_not_compared(app: FastAPI, north: Town) -> None:
    """A grade with fewer than ten students above or below the benchmark is never suggested as a core stall."""
    asks = caller(app, north)
    await two_windows(asks, north, before=31, after=20)
    await published(asks, points=1)
    assert await stalls(asks, north) == {}
    body = {"code": "core", "kind": "core_stall", "points": 1}
    assert (await asks.post("/v1/signal-rules/preview", body)).json() == {"students": 0, "grades": 0}


@needs(Can.SYNC_ROSTER)
async def keep_results(work: Work, town: Town, windows: list[UUID], random: Random) -> dict[Any, GradeInWindows]:
    """Stores random results of two windows. Returns the counts of students by school and grade.

    The school None stands for the whole district.
    """
    numbers: dict[Any, Counter[str]] = {}
    rows: list[Any] = []
    for grade in ("01", "02", "03", "04"):
        for school in town.schools:
            level_of = [random.choice((1, 1, 2, 3, None)) for _ in range(random.randrange(30, 90))]
            fall = random.choice((0, 0, 2, 4, 8))
            for place, before in enumerate(level_of):
                student = new_id()
                rows += person_rows(town, f"g{grade}{place}{school}", "student", student, school)[:1]
                later = 2 if before == 1 and random.random() * 20 < fall else before
                since = None if random.random() < 0.1 else later
                absent = random.randrange(12)
                for window_id, level, gone in ((windows[0], before, absent == 0), (windows[1], since, absent == 1)):
                    if not gone:
                        rows.append(result(town, window_id, student, school, grade, level))
                if absent == 0:
                    before = None
                if absent == 1:
                    since = None
                for cell in ((school, grade), (None, grade)):
                    counts = numbers.setdefault(cell, Counter())
                    counts["expected_before"] += absent != 0
                    counts["expected"] += absent != 1
                    counts["leveled_before"] += before is not None
                    if before is not None and since is not None:
                        counts["counted"] += 1
                        counts["reached_before"] += before == 1
                        counts["reached"] += since == 1
    await lay(work, *rows)
    names = GradeInWindows.__dataclass_fields__
    return {cell: GradeInWindows(**{name: counts[name] for name in names}) for cell, counts in numbers.items()}


def result(town: Town, window_id: UUID, student: UUID, school: UUID, grade: str, level: int | None) -> ScreeningResult:
    """Returns a row with the screening result of a student in a window."""
    return ScreeningResult(
        district_id=town.district_id,
        id=new_id(),
        student_id=student,
        school_ids=[school],
        window_id=window_id,
        measure_id=town.measures["orf"],
        grade=grade,
        level=level,
        served=False,
    )


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_statement_decides_as_the_rules_do(app: FastAPI, north: Town, seed: int) -> None:
    """The SQL that finds core stalls (grades that fell behind) gives the results of the rules in Python, for random
    counts.
    """
    asks = caller(app, north)
    windows = [await scheduled(asks, window(*BEFORE))]
    windows.append(await scheduled(asks, window(str(TODAY - timedelta(days=10)), str(TODAY), season="winter")))
    async with north.house() as work:
        await in_one_year(work)
    for _ in windows:
        await maintain(north)
    ids = [parse_id("screening_window", one["id"], "") for one in windows]
    async with north.house() as work:
        grades = await keep_results(work, north, ids, Random(seed))
    points = 8
    await published(asks, points=points)
    await recompute(north)
    shown = {
        (None if one["school"] is None else parse_id("org", one["school"], ""), one["grade"]): (
            one["fell_by"],
            one["counted_at_least"],
        )
        for one in await asks.items("/v1/core-stalls")
    }
    expected = {cell: (one.fell_by, one.counted_at_least) for cell, one in grades.items() if one.has_stalled(points)}
    assert shown == expected
    assert 0 < len(expected) < len(grades)
