"""Tests that GraphQL documents with several mutations never deadlock, in whatever order they name students or weeks."""

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from app.settings import Settings
from tests.faces.graphql_face import token
from tests.faces.rest_town import Caller, caller
from tests.faces.served_api import client, served_api
from tests.records.races import deadlocks
from tests.records.writers import Writers
from tests.town import YEAR_BEGINS, Town

ROUNDS = 12
FIELDS = {
    "raiseConcern": ("RaiseConcernInput", "concern { id } problems { code }"),
    "recordScores": ("RecordScoresInput", "results { outcome } problems { code }"),
    "decide": ("DecideInput", "decision { id } problems { code }"),
    "makeMeasure": ("MakeMeasureInput", "measure { name } problems { code }"),
    "amendMeasure": ("AmendMeasureInput", "measure { name } problems { code }"),
}


def document(*commands: tuple[str, dict[str, Any]], literal: bool = False) -> dict[str, Any]:
    """Returns a mutation of these commands in order, with variables or literals."""
    heads, fields, variables = [], [], {}
    for number, (name, given) in enumerate(commands):
        kind, selected = FIELDS[name]
        heads.append(f"$v{number}: {kind}!")
        variables[f"v{number}"] = given
        inline = "{" + ", ".join(f'{key}: "{value}"' for key, value in given.items()) + "}"
        version = ", version: 0" if name == "amendMeasure" else ""
        value = inline if literal else f"$v{number}"
        fields.append(f"f{number}: {name}(input: {value}{version}) {{ {selected} }}")
    head = "" if literal else f"({', '.join(heads)})"
    return {"query": f"mutation{head} {{ {' '.join(fields)} }}", "variables": {} if literal else variables}


def concern(student: str) -> tuple[str, dict[str, Any]]:
    """Returns a mutation that raises a concern, with its variables."""
    return "raiseConcern", {"student": student, "area": "math", "description": "Planted."}


def decision(student: str) -> tuple[str, dict[str, Any]]:
    """Returns the name and the input of a command that decides to continue a support. `student` is the support's id."""
    return "decide", {"kind": "CONTINUE", "support": student}


def score(student: str, measure: str, weeks: int, value: float) -> tuple[str, dict[str, Any]]:
    """Returns a mutation that records a score, with its variables."""
    day = str(YEAR_BEGINS + timedelta(weeks=weeks))
    return "recordScores", {"scores": [{"student": student, "measure": measure, "takenOn": day, "value": value}]}


def amendment(measure: str, name: str) -> tuple[str, dict[str, Any]]:
    """Returns a mutation that renames a measure, with its variables."""
    return "amendMeasure", {"measure": measure, "name": name}


@pytest.fixture
async def as_client(app: FastAPI, north: Town) -> Caller:
    """Returns a client with every scope."""
    return caller(app, north)


@pytest.fixture
async def supports(app: FastAPI, north: Town) -> list[tuple[str, str]]:
    """Creates two students of one cohort with an active support each, and returns their ids as pairs."""
    students = [ids.format_id("student", north.students[name]) for name in ("amy", "ben")]
    writers = Writers(north, app, students, random.Random(0))
    await writers.prepare()
    return [(student, writers.supports[student]) for student in students]


async def both(as_client: Caller, first: dict[str, Any], second: dict[str, Any]) -> Sequence[httpx.Response]:
    """Returns the answers to two documents that are sent at the same time."""
    return await asyncio.gather(as_client.post("/graphql", first), as_client.post("/graphql", second))


@pytest.mark.parametrize("how", ["variables", "literals", "external ids", "supports"])
async def test_documents_in_opposite_orders_do_not_deadlock(
    as_client: Caller, north: Town, supports: list[tuple[str, str]], how: str
) -> None:
    """Two documents that name the same students in opposite orders do not deadlock, whether by id or by external id."""
    (amy, amys), (ben, bens) = supports
    if how == "external ids":
        amy, ben = "sis:sis:amy-1", "sis:sis:ben-1"
    make = concern
    if how == "supports":
        amy, ben, make = amys, bens, decision

    before = await deadlocks(north)
    for _ in range(ROUNDS):
        forward = document(make(amy), make(ben), literal=how == "literals")
        back = document(make(ben), make(amy), literal=how == "literals")
        for answer in await both(as_client, forward, back):
            body = answer.json()
            assert "errors" not in body, body
            assert all(not one["problems"] for one in body["data"].values()), body
    assert await deadlocks(north) == before


async def test_scores_of_one_cohort_in_opposite_orders_of_weeks_do_not_deadlock(
    as_client: Caller, north: Town, supports: list[tuple[str, str]]
) -> None:
    """Two documents that record scores of one cohort in opposite orders of weeks do not deadlock.

    Each score schedules the final judging of its week, and both documents schedule the same weeks.
    """
    (amy, _), (ben, _) = supports
    before = await deadlocks(north)
    for number in range(ROUNDS):
        forward = document(*(score(amy, "orf", week, 40.0 + number) for week in (1, 2)))
        back = document(*(score(ben, "orf", week, 40.0 + number) for week in (2, 1)))
        for answer in await both(as_client, forward, back):
            assert "errors" not in answer.json(), answer.json()
    assert await deadlocks(north) == before


async def test_a_command_that_fails_leaves_the_others_locked(as_client: Caller, north: Town) -> None:
    """If the first command of a document fails, the next command locks all needed rows again.

    The failed command has released its locks. Two such documents that run at the same time do not deadlock.
    """
    amy, ben = (ids.format_id("student", north.students[name]) for name in ("amy", "ben"))
    broken = ("raiseConcern", {"student": ben, "area": "nothing", "description": "Planted."})
    before = await deadlocks(north)
    for _ in range(ROUNDS):
        first, second = await both(
            as_client, document(broken, concern(amy), concern(ben)), document(broken, concern(ben), concern(amy))
        )
        for answer in (first, second):
            data = answer.json()["data"]
            assert data["f0"]["problems"][0]["code"] == "area.unknown", data
            assert data["f1"]["concern"], data
            assert data["f2"]["concern"], data
    assert await deadlocks(north) == before


@pytest.mark.parametrize("how", ["codes", "ids", "literals"])
async def test_amendments_of_the_same_measures_in_opposite_orders_do_not_deadlock(
    as_client: Caller, north: Town, how: str
) -> None:
    """Mutations that amend the same measures in opposite orders do not deadlock: each document locks them in one order.

    An amendment locks its measure until the commit.
    """
    orf, maze = "orf", "maze"
    if how == "ids":
        orf, maze = (ids.format_id("measure", north.measures[code]) for code in ("orf", "maze"))
    before = await deadlocks(north)
    for number in range(ROUNDS):
        forward, back = (
            document(*(amendment(name, f"Round {number}") for name in names), literal=how == "literals")
            for names in ((orf, maze), (maze, orf))
        )
        for answer in await both(as_client, forward, back):
            body = answer.json()
            assert "errors" not in body, body
            assert all(one["measure"] == {"name": f"Round {number}"} for one in body["data"].values()), body
    assert await deadlocks(north) == before


async def test_a_measure_and_a_student_in_opposite_orders_do_not_deadlock(
    as_client: Caller, north: Town, supports: list[tuple[str, str]]
) -> None:
    """Each document locks students before measures, whatever the order of its commands.

    So two documents do not deadlock.
    """
    amy = supports[0][0]
    before = await deadlocks(north)
    for number in range(ROUNDS):
        commands = (amendment("orf", f"Round {number}"), score(amy, "orf", 1, 40.0 + number))
        for answer in await both(as_client, document(*commands), document(*reversed(commands))):
            assert "errors" not in answer.json(), answer.json()
    assert await deadlocks(north) == before


def creation(code: str) -> tuple[str, dict[str, Any]]:
    """Returns the name and the input of a mutation that creates a measure."""
    given = {"code": code, "name": code, "area": "math", "unit": "points", "direction": "up", "lowest": 0, "highest": 9}
    return "makeMeasure", given


def test_over_http_the_retry_answers_where_no_order_helps(north: Town, settings: Settings) -> None:
    """If two documents deadlock although rows are locked in order, PostgreSQL ends one, and the service repeats it."""
    headers = {"Authorization": f"Bearer {token(north)}"}

    with served_api(settings) as (_, address), ThreadPoolExecutor(2) as senders:

        def send(body: dict[str, Any]) -> httpx.Response:
            with client(address) as sender:
                return sender.post("/graphql", json=body, headers=headers)

        for number in range(4):
            codes = [f"first-{number}", f"second-{number}"]
            bodies = [document(*map(creation, order)) for order in (codes, codes[::-1])]
            bodies += [document(*(amendment(code, "Again") for code in order)) for order in (codes, codes[::-1])]
            made = list(senders.map(send, bodies[:2]))
            assert [answer.status_code for answer in made] == [200, 200], [answer.text for answer in made]
            fields = [field for answer in made for field in answer.json()["data"].values()]
            assert sum(field["measure"] is not None for field in fields) == 2, fields
            assert {p["code"] for field in fields for p in field["problems"]} <= {
                "measure.taken",
                "conflict.concurrent",
            }
            for answer in senders.map(send, bodies[2:]):
                assert all(field["measure"] for field in answer.json()["data"].values()), answer.text
