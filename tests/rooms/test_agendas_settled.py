"""Tests that of two members who settle one agenda item at once over different APIs, the second reads what happened."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.access.permission import Can
from app.access.work import Work, needs
from app.roster.student_lock import lock_students
from tests.faces.rest_town import caller
from tests.processes import TRUSTS_NOBODY
from tests.rooms.agenda_town import agenda_of, meeting_team, opened, raised
from tests.sis.roster_zip import ask
from tests.town import Town

MUTATION = """mutation($input: DiscussAgendaItemInput!) { discussAgendaItem(input: $input) {
    agendaItem { state minutes } problems { code pointer detail } } }"""


async def over_rest(client: httpx.AsyncClient, item: str) -> tuple[str | None, dict[str, Any]]:
    """Drops an item over REST. Returns its state and the problem, of which one is empty."""
    answer = await client.post(f"/v1/agenda-items/{item}/drop", json={"because": "The family has moved away."})
    if answer.status_code == 200:
        return answer.json()["state"], {}
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    return None, answer.json()


async def over_graphql(client: httpx.AsyncClient, item: str) -> tuple[str | None, dict[str, Any]]:
    """Discusses an item over GraphQL. Returns its state and the problem, of which one is empty."""
    variables = {"input": {"agendaItemId": item, "minutes": "She reads at home."}}
    answer = await client.post("/graphql", json={"query": MUTATION, "variables": variables})
    assert answer.status_code == 200
    assert "errors" not in answer.json()
    payload = answer.json()["data"]["discussAgendaItem"]
    if payload["agendaItem"] is not None:
        assert payload["problems"] == []
        return payload["agendaItem"]["state"].lower(), {}
    (problem,) = payload["problems"]
    return None, problem


async def waiting(town: Town, count: int) -> None:
    """Waits until this number of transactions wait for a lock."""
    async with asyncio.timeout(60):
        while True:
            ((waits,),) = await ask(town, "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
            if waits >= count:
                return
            await asyncio.sleep(0.01)


@needs(Can.SYNC_ROSTER)
async def lock(work: Work, town: Town) -> None:
    """Locks the student of the item, so that both members wait."""
    await lock_students(work, {town.students["amy"]})


@pytest.mark.parametrize(
    ("first", "second", "state"), [(over_graphql, over_rest, "discussed"), (over_rest, over_graphql, "dropped")]
)
async def test_the_second_of_two_members_reads_what_happened(
    app: FastAPI, north: Town, serving: str, first: Any, second: Any, state: str
) -> None:
    """If one member settles an item over one API while another settles it over the other, the first one succeeds. The
    second one is answered, in the form of the own API, with the state that the item has, and changes nothing.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    await raised(asks, north, "amy")
    await opened(asks, team)
    (item,) = (await agenda_of(asks, team))["items"]
    headers = {"Authorization": f"Bearer {asks.token}"}
    async with httpx.AsyncClient(
        base_url=serving, headers=headers, timeout=90, trust_env=False, verify=TRUSTS_NOBODY
    ) as client:
        async with north.house() as work:
            await lock(work, north)
            winner = asyncio.create_task(first(client, item["item"]))
            await waiting(north, 1)
            loser = asyncio.create_task(second(client, item["item"]))
            await waiting(north, 2)
        assert await winner == (state, {})
        nothing, problem = await loser
        assert nothing is None
        assert problem["code"] == "agenda_item.settled"
        assert problem["detail"].startswith(f"The item was {state} already at ")
    (settled,) = (await agenda_of(asks, team))["items"]
    assert (settled["state"], settled["version"]) == (state, item["version"] + 1)
    assert (settled["minutes"], settled["dropped_because"]) == (
        ("She reads at home.", None) if state == "discussed" else (None, "The family has moved away.")
    )
