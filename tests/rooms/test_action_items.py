"""Tests that action items return to the agenda until they are closed, and that nobody can count a colleague's items."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from app.action.queries import due_action_items
from app.team.scopes import end_team_scope
from tests.faces.rest_town import Caller, caller
from tests.rooms.agenda_town import agenda_of, done, meeting_team, opened, raised
from tests.rooms.team_town import named, serves, team_of
from tests.rooms.test_teams import TODAY, acting
from tests.town import Town

TOMORROW = TODAY + timedelta(days=1)
CANNOT_SEE = ("/owner", "action_item.owner_cannot_see")


async def agreed(asks: Caller, team_id: UUID, owner: str | None, **more: Any) -> dict[str, Any]:
    """Agrees on an action item that is due tomorrow, and returns it."""
    body = {"team": named("team", team_id), "text": "Call the family.", "due_on": str(TOMORROW)} | more
    if owner is not None:
        body["owner"] = f"sis:sis:{owner}-1"
    answer = await asks.post("/v1/action-items", body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def closed(asks: Caller, item: dict[str, Any], **body: Any) -> tuple[int, dict[str, Any]]:
    """Closes an action item, and returns the status and body of the answer."""
    answer = await asks.post(f"/v1/action-items/{item['id']}/close", body)
    return answer.status_code, answer.json()


async def due(town: Town, team_id: UUID) -> list[str]:
    """Returns the ids of the action items that are due in a week."""
    async with town.unit() as work:
        items = await due_action_items(work, [team_id], TODAY + timedelta(days=7))
    return [named("action_item", item.id) for item in items]


async def test_an_action_item_returns_until_it_has_an_outcome(app: FastAPI, north: Town) -> None:
    """An action item is due until somebody says what became of it, and why."""
    team = await team_of(north, "teacher", "aide")
    asks = acting(app, north, "teacher")
    later = await agreed(asks, team.id, "aide", due_on=str(TODAY + timedelta(days=30)))
    late = await agreed(asks, team.id, None, due_on=str(TODAY - timedelta(days=3)))
    soon = await agreed(asks, team.id, "aide")
    assert (late["owner"], late["state"], late["student"]) == (named("person", north.staff["teacher"]), "open", None)
    assert await due(north, team.id) == [late["id"], soon["id"]]
    assert (await closed(asks, soon, outcome="not_done"))[1]["violations"][0]["code"] == "action_item.reason"
    status, shown = await closed(asks, soon, outcome="not_done", because="The number is not in service.")
    assert (status, shown["state"], shown["closed_on"]) == (200, "not_done", str(TODAY))
    status, problem = await closed(asks, soon, outcome="done")
    assert (status, problem["code"], "not done already" in problem["detail"]) == (409, "action_item.closed", True)
    assert (await closed(asks, late, outcome="done"))[0] == 200
    assert await due(north, team.id) == []
    moved = await asks.post(
        f"/v1/action-items/{later['id']}/reassign", {"owner": "sis:sis:teacher-1", "due_on": str(TODAY)}
    )
    assert moved.status_code == 200, moved.text
    assert await due(north, team.id) == [later["id"]]


async def test_an_item_about_a_student_leaves_and_comes_back_with_the_student(app: FastAPI, north: Town) -> None:
    """If a team no longer serves a student, the student's action items leave its agendas. They return with the
    student.
    """
    team = await team_of(north, "teacher")
    student = named("student", north.students["amy"])
    scope = await serves(north, team, student=student)
    item = await agreed(caller(app, north), team.id, "teacher", student=student)
    assert await due(north, team.id) == [item["id"]]
    async with north.unit() as work:
        await end_team_scope(work, scope.id)
    assert await due(north, team.id) == []
    await serves(north, team, student=student)
    assert await due(north, team.id) == [item["id"]]


async def test_all_violations_of_a_new_item_are_told_at_once(app: FastAPI, north: Town) -> None:
    """A new action item with four invalid members is refused with a violation for each.

    They are an empty text, a day in the past, an owner who is no member of the team, and a student whom the team does
    not serve.
    """
    team = await team_of(north, "teacher")
    body = {"team": named("team", team.id), "text": "", "due_on": "1999-01-01", "owner": "sis:sis:aide-1"}
    answer = await caller(app, north).post("/v1/action-items", body | {"student": "sis:sis:amy-1"})
    assert answer.status_code == 422
    pointers = {one["pointer"] for one in answer.json()["violations"]}
    assert pointers == {"/text", "/due_on", "/owner", "/student"}
    answer = await caller(app, north).post("/v1/action-items", {"team": "tea_no", "text": "x", "due_on": str(TODAY)})
    assert {one["pointer"] for one in answer.json()["violations"]} == {"/team", "/owner"}


async def test_items_are_listed_by_team_and_the_own_ones_but_not_by_another_owner(app: FastAPI, north: Town) -> None:
    """Action items can be listed by team, and with `mine` by the person that the request acts for.

    They cannot be listed by any other person, so that nobody can count the items of a colleague.
    """
    team = await team_of(north, "teacher", "aide")
    of_teacher = await agreed(caller(app, north), team.id, "teacher")
    of_aide = await agreed(caller(app, north), team.id, "aide")
    asks = acting(app, north, "teacher")
    # Neither is about a student: a caller who sees students by name lists them nevertheless.
    both = [of_teacher["id"], of_aide["id"]]
    assert [one["id"] for one in await asks.items("/v1/action-items", team=named("team", team.id))] == both
    assert [one["id"] for one in await asks.items("/v1/action-items", mine="true")] == [of_teacher["id"]]
    assert (await asks.get("/v1/action-items", owner="sis:sis:aide-1")).status_code == 400
    answer = await caller(app, north).get("/v1/action-items", mine="true")
    assert (answer.status_code, answer.json()["code"]) == (403, "action_item.no_person")
    query = '{ actionItems(mine: true, sort: "due") { edges { node { id owner { id } } } } }'
    data = (await asks.post("/graphql", {"query": query})).json()["data"]
    assert [edge["node"]["id"] for edge in data["actionItems"]["edges"]] == [of_teacher["id"]]
    assert await acting(app, north, "other_teacher").items("/v1/action-items") == []


async def test_an_action_item_is_agreed_at_an_open_item_of_an_agenda(app: FastAPI, north: Town) -> None:
    """An action item that is agreed on at an agenda item has a link to the agenda item, and its student and secured
    area. It is never given to a member whose role does not open the area.
    """
    asks = caller(app, north)
    team = await meeting_team(north, "teacher", "administrator")
    await raised(asks, north, "amy", "sel")
    await opened(asks, team)
    (agenda_item,) = (await agenda_of(asks, team))["items"]
    path = f"agenda-items/{agenda_item['item']}"
    body = {"text": "Call the family.", "due_on": str(TODAY), "owner": "sis:sis:administrator-1"}
    unseen = {"owner": "sis:sis:teacher-1"}
    refused = await asks.post(f"/v1/{path}/action-items", body | unseen)
    assert [(each["pointer"], each["code"]) for each in refused.json()["violations"]] == [CANNOT_SEE]
    item = await done(asks, f"{path}/action-items", **body)
    refused = await asks.post(f"/v1/action-items/{item['id']}/reassign", unseen)
    assert [(each["pointer"], each["code"]) for each in refused.json()["violations"]] == [CANNOT_SEE]
    assert (item["agenda_item"], item["student"]) == (agenda_item["item"], named("student", north.students["amy"]))
    query = f'{{ agendaItem(id: "{agenda_item["item"]}") {{ actionItems {{ id }} }} }}'
    data = (await asks.post("/graphql", {"query": query})).json()["data"]
    assert data["agendaItem"]["actionItems"] == [{"id": item["id"]}]
    # The teacher is a member of the team, and sees no secured area.
    assert await acting(app, north, "teacher").items("/v1/action-items", team=team) == []
    assert [one["id"] for one in await asks.items("/v1/action-items", team=team)] == [item["id"]]
    await done(asks, f"{path}/discuss")
    settled = await asks.post(f"/v1/{path}/action-items", body)
    assert (settled.status_code, settled.json()["code"]) == (409, "agenda_item.settled")
