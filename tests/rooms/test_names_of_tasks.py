"""Tests that agendas and lists of tasks name students and supports, but only for callers who may read these records."""

from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from app.core.ids import format_id
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.agenda_town import agenda_of, done, meeting_of, meeting_team, raised
from tests.rooms.test_concerns_unserved import accepted, planned
from tests.rooms.test_support_measures import followed
from tests.rooms.test_teams import TODAY, acting
from tests.sent import statements_sent
from tests.town import Town

NAMES = "studentName areaName intervention measureNames action"
STALL = "grade schoolId schoolName measureName season opensOn closesOn"
STATEMENTS_OF_NAMES = 1
"""The names of an agenda or of a list of tasks are read by one statement, however many items there are."""


def full_name(town: Town, student: str) -> str:
    """Returns the name of a student of the town as the roster has it."""
    return f"{student.title()}{town.canary} Family{town.canary}"


def names_of(item: dict[str, Any]) -> tuple[Any, ...]:
    """Returns the names in an item of REST or of GraphQL: student, area, intervention, measures and action."""
    rest = ("student_name", "area_name", "intervention", "measure_names", "action")
    return tuple(item[name] for name in (NAMES.split() if "studentName" in item else rest))


def stall_of(item: dict[str, Any]) -> tuple[Any, ...] | None:
    """Returns what an item of REST or of GraphQL shows of a core stall, with the season in lowercase."""
    stall = item["coreStall"] if "coreStall" in item else item["core_stall"]
    if stall is None:
        return None
    values = list(stall.values())
    return tuple(value.lower() if value in ("FALL", "WINTER", "SPRING") else value for value in values)


async def shown(asks: Caller, document: str) -> dict[str, Any]:
    """Returns the data of a GraphQL query."""
    answer = (await asks.post("/graphql", {"query": document})).json()
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


async def both_agendas(asks: Caller, team: str, **filters: str) -> list[dict[str, Any]]:
    """Returns the items of an agenda in REST.

    Checks first that the same agenda in GraphQL has the same items with the same names.
    """
    items: list[dict[str, Any]] = (await agenda_of(asks, team, **filters))["items"]
    meeting = "".join(f', meetingId: "{name}"' for name in filters.values())
    document = f'{{ agenda(teamId: "{team}"{meeting}) {{ items {{ subjectId {NAMES} coreStall {{ {STALL} }} }} }} }}'
    same = (await shown(asks, document))["agenda"]["items"]
    assert [stall_of(one) for one in same] == [stall_of(one) for one in items]
    assert [(one["subjectId"], names_of(one)) for one in same] == [(one["subject"], names_of(one)) for one in items]
    return items


async def test_an_agenda_names_students_supports_and_actions(app: FastAPI, north: Town) -> None:
    """An agenda has every name that a screen shows: of the student, the area, the intervention, the measures and the
    action.

    This holds before the meeting is opened and while it is open, in both APIs.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    meeting = await meeting_of(asks, team)
    support = await followed(north)
    ben = await raised(asks, north, "ben", "math.computation")
    await done(asks, "action-items", team=team, text="Call the family.", due_on=str(TODAY), owner="sis:sis:teacher-1")
    for filters in ({}, {"meeting": meeting["id"]}):
        by_kind = {item["kind"]: item for item in await both_agendas(asks, team, **filters)}
        overdue = by_kind["check_overdue"]
        assert overdue["subject"] == format_id("support", support.id)
        measures = ["Oral reading fluency", "Maze comprehension"]
        assert names_of(overdue) == (full_name(north, "amy"), "Reading fluency", support.intervention, measures, None)
        assert by_kind["new_concern"]["subject"] == ben
        assert names_of(by_kind["new_concern"]) == (full_name(north, "ben"), "Computation", None, [], None)
        assert names_of(by_kind["action_due"]) == (None, None, None, [], "Call the family.")
        if not filters:
            await done(asks, f"meetings/{meeting['id']}/open")


async def test_names_need_the_permission_for_the_record(app: FastAPI, north: Town) -> None:
    """An agenda shows no student's name to a client that may not read the roster.

    It shows no intervention to a client that may not read supports.
    """
    team = await meeting_team(north)
    support = await followed(north)
    for missing, expected in (
        ("roster:read", (None, "Reading fluency", support.intervention)),
        ("support:read", (full_name(north, "amy"), None, None)),
    ):
        (item,) = await both_agendas(caller(app, north, CLIENT_SCOPES - {missing}), team)
        assert names_of(item)[:3] == expected, missing


async def test_tasks_of_a_person_have_names(app: FastAPI, north: Town) -> None:
    """The list of a teacher's tasks names each student, and what the support or concern is about, in both APIs."""
    everything = caller(app, north)
    support = await planned(
        everything,
        await accepted(everything, north, "ben", "math.computation"),
        lead="sis:sis:teacher-1",
        starts_on=str(TODAY - timedelta(weeks=6)),
    )
    await accepted(everything, north, "amy")
    asks = acting(app, north, "teacher")
    items = (await asks.get("/v1/me/attention")).json()["items"]
    by_reason = {one["reason"]: one for one in items}
    assert by_reason["check_overdue"]["support"] == support
    assert names_of(by_reason["check_overdue"]) == (
        *(full_name(north, "ben"), "Computation", "Reading", ["Oral reading fluency"], None),
    )
    assert names_of(by_reason["concern_unserved"]) == (full_name(north, "amy"), "Reading fluency", None, [], None)
    data = await shown(asks, f"{{ attention {{ items {{ {NAMES} }} }} }}")
    assert [names_of(one) for one in data["attention"]["items"]] == [names_of(one) for one in items]
    nameless = caller(app, north, CLIENT_SCOPES - {"roster:read"}, act_for="sis:sis:teacher-1")
    assert {names_of(one)[0] for one in (await nameless.get("/v1/me/attention")).json()["items"]} == {None}


async def test_the_names_take_one_statement(app: FastAPI, north: Town) -> None:
    """The names of an agenda take one statement, and not one for each student or kind of record."""
    asks = caller(app, north)
    team = await meeting_team(north)
    await followed(north)
    for student in ("amy", "ben"):
        for area in ("ela.fluency", "math.computation"):
            await raised(asks, north, student, area)
    engine = app.state.services.engine
    with statements_sent(engine) as named:
        assert len((await agenda_of(asks, team))["items"]) == 5
    none = {"roster:read", "support:read", "concern:read", "signal:read", "hypothesis:read", "action:read"}
    nameless = caller(app, north, CLIENT_SCOPES - none)
    with statements_sent(engine) as unnamed:
        assert len((await agenda_of(nameless, team))["items"]) == 5
    assert len(named) == len(unnamed) + STATEMENTS_OF_NAMES
