"""Tests stored responses: a caller who may no longer read one does not get it, and districts can use the same key."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from tests.faces.faulty import code_of, concerns_of
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.faces.test_idempotency import KEY, REPLAYED, concern, send, until_true
from tests.rooms.agenda_town import meeting_team
from tests.rooms.test_notes_on_agenda_items import added
from tests.town import Town

RAISE = """mutation($input: RaiseConcernInput!, $key: String) { raiseConcern(input: $input, idempotencyKey: $key) {
  concern { id student { familyName } } problems { code } } }"""
WAITS = "SELECT count(*) >= {} FROM pg_locks WHERE NOT granted AND relation = 'concern'::regclass"


@pytest.fixture
async def owner(north: Town) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection, which sees every row."""
    connection = await asyncpg.connect(north.settings.url_of("owner"))
    yield connection
    await connection.close()


async def raise_by_graphql(client: Caller, town: Town) -> httpx.Response:
    """Raises a concern by a GraphQL mutation with an idempotency key. The response shows the student's name."""
    variables = {"input": concern(town), "key": KEY}
    return await client.ask("POST", "/graphql", json={"query": RAISE, "variables": variables})


@pytest.mark.parametrize("face", ["rest", "graphql"])
async def test_a_student_who_moved_is_not_shown_again_to_the_former_school(
    app: FastAPI,
    north: Town,
    owner: asyncpg.Connection,
    face: str,
) -> None:
    """If a sync has moved the student, a client of the former school that repeats its request gets 410.

    The request raises a concern about the student. The repetition raises no second concern.
    """
    client = caller(app, north, schools=(north.schools[0],))

    async def ask() -> httpx.Response:
        return await (raise_by_graphql(client, north) if face == "graphql" else send(client, KEY, concern(north)))

    first = await ask()
    assert first.is_success, first.text
    assert (await ask()).content != b""
    move = "UPDATE {} SET school_ids = $3 WHERE district_id = $1 AND {} = $2"
    for table, column in (("person", "id"), ("concern", "student_id")):
        await owner.execute(move.format(table, column), north.district_id, north.students["amy"], [north.schools[1]])
    answer = await ask()
    assert "idempotency.out_of_reach" in answer.text
    assert north.canary not in answer.text
    assert answer.status_code == 410
    assert await concerns_of(north) == ["Quiet."]


async def test_a_scope_that_was_taken_away_is_required_for_the_stored_response(app: FastAPI, north: Town) -> None:
    """The stored response to a mutation is not shown to a token that lacks a scope which the mutation required.

    Without the scope, neither the stored response nor the new answer contains the student's name.
    """
    first = await raise_by_graphql(caller(app, north), north)
    assert north.canary in first.text
    for gone in ("roster:read", "concern:raise"):
        answer = await raise_by_graphql(caller(app, north, CLIENT_SCOPES - {gone}), north)
        assert north.canary not in answer.text, gone
        assert answer.status_code in (403, 410), gone
    again = await raise_by_graphql(caller(app, north), north)
    assert again.json()["extensions"]["idempotencyReplayed"] == ["raiseConcern"]
    assert await concerns_of(north) == ["Quiet."]


async def test_a_note_of_a_team_is_not_shown_again_to_a_former_member(app: FastAPI, north: Town) -> None:
    """If a former member of a team repeats a request that wrote a note, the answer is 410 and not the stored response.

    The note is on an agenda item about no student, so only the team may read it.
    """
    asks, team = caller(app, north), await meeting_team(north, "teacher")
    item, teacher = await added(asks, team), caller(app, north, act_for="sis:sis:teacher-1")
    path, body = f"/v1/agenda-items/{item}/notes", {"text": "Her grandmother would like to join."}
    assert (await send(teacher, KEY, body, path)).status_code == 201
    assert (await send(teacher, KEY, body, path)).headers[REPLAYED] == "true"
    (member,) = (await asks.get(f"/v1/teams/{team}", expand="members")).json()["members"]
    today = (await asks.get("/v1/me")).json()["today"]
    ended = await asks.post(f"/v1/team-members/{member['id']}/end", {"until_on": today})
    assert ended.is_success, ended.text
    answer = await send(teacher, KEY, body, path)
    assert (answer.status_code, code_of(answer)) == (410, "idempotency.out_of_reach")


async def test_a_member_who_joined_meanwhile_gets_the_stored_response(app: FastAPI, north: Town) -> None:
    """A caller who has gained a team or a scope gets the stored response, and nothing is written a second time."""
    teacher = caller(app, north, CLIENT_SCOPES - {"team:form"}, act_for="sis:sis:teacher-1")
    assert (await send(teacher, KEY, concern(north))).status_code == 201
    await meeting_team(north, "teacher")
    more = caller(app, north, act_for=ids.format_id("person", north.staff["teacher"]))
    again = await send(more, KEY, concern(north))
    assert (again.status_code, again.headers.get(REPLAYED)) == (201, "true")
    assert await concerns_of(north) == ["Quiet."]


async def test_one_key_in_two_districts_at_once(
    app: FastAPI,
    north: Town,
    south: Town,
    owner: asyncpg.Connection,
) -> None:
    """A client of two districts can use one idempotency key in both at the same time, and both requests succeed."""
    south.client_id = north.client_id
    async with owner.transaction():
        await owner.execute("LOCK TABLE concern IN EXCLUSIVE MODE")
        requests = [asyncio.create_task(send(caller(app, town), KEY, concern(town))) for town in (north, south)]
        done, _ = await asyncio.wait(
            [*requests, waits := asyncio.create_task(_both_wait(north))],
            timeout=60,
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert done == {waits}
    assert [(await request).status_code for request in requests] == [201, 201]
    assert await concerns_of(north) == await concerns_of(south) == ["Quiet."]


async def _both_wait(town: Town) -> None:
    """Waits until two statements wait for a lock of the table of concerns."""
    connection = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        await until_true(connection, WAITS.format(2))
    finally:
        await connection.close()
