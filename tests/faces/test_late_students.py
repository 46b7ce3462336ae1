"""Tests that a request waits for students that its first attempt could not lock, and then succeeds."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from tests.faces.rest_town import Caller, caller
from tests.faces.test_idempotency import until_true
from tests.rooms.team_town import team_of
from tests.town import Town

SERVE = """mutation($one: AddTeamScopeInput!, $other: AddTeamScopeInput!) {
  one: addTeamScope(input: $one) { teamScope { id } problems { code } }
  other: addTeamScope(input: $other) { teamScope { id } problems { code } } }"""
WAITS = """SELECT count(*) FROM pg_locks AS waiting JOIN pg_locks AS holding USING (transactionid)
WHERE NOT waiting.granted AND holding.granted AND holding.pid = {}"""


async def serve_both(client: Caller, teams: list[str], schools: list[str], face: str) -> httpx.Response:
    """Sends one request that makes teams serve the third grade of each of two schools.

    In GraphQL, each grade gets a team of its own. In REST, the first team gets both grades.
    """
    grades: list[dict[str, Any]] = [{"school": school, "grade": "03"} for school in schools]
    if face == "rest":
        return await client.post(f"/v1/teams/{teams[0]}/scopes/bulk", {"team_scopes": grades})
    one, other = ({"teamId": team, **grade} for team, grade in zip(teams, grades, strict=True))
    return await client.post("/graphql", {"query": SERVE, "variables": {"one": one, "other": other}})


@pytest.mark.parametrize("face", ["rest", "graphql"])
async def test_two_grades_are_served_although_a_student_of_the_second_is_locked(
    app: FastAPI, north: Town, face: str
) -> None:
    """A request for two grades succeeds although another transaction has locked a student of the second grade.

    The service reads the students of the second grade only after it has locked those of the first. It then starts the
    request again and waits for the lock. Earlier, the caller got 409 in half of the cases under load.
    """
    client, schools = caller(app, north), [ids.format_id("org", school) for school in north.schools]
    teams = [ids.format_id("team", (await team_of(north, school=None)).id) for _ in range(2)]
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    watcher = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        async with owner.transaction():
            await owner.execute("SELECT id FROM person WHERE id = $1 FOR NO KEY UPDATE", north.students["cy"])
            request = asyncio.create_task(serve_both(client, teams, schools, face))
            waiting = asyncio.create_task(until_true(watcher, WAITS.format(owner.get_server_pid())))
            done, _ = await asyncio.wait([request, waiting], return_when=asyncio.FIRST_COMPLETED)
            assert done == {waiting}, request.result().text
        answer = await request
    finally:
        await owner.close()
        await watcher.close()
    assert answer.status_code == 200, answer.text
    assert '"refused"' not in answer.text
    assert "errors" not in answer.json()
    students = {row["student"] for team in teams for row in await client.items(f"/v1/teams/{team}/students")}
    assert students == {ids.format_id("student", student) for student in north.students.values()}
