"""Tests that the questions of a team have one request: lists by team, and what went well."""

from typing import Any

from fastapi import FastAPI

from app.core.clock import today_in
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.agenda_town import meeting_team, raised
from tests.rooms.team_town import named
from tests.rooms.test_agendas_once import _judged, _set
from tests.rooms.test_signals import computed
from tests.town import TIME_ZONE, Town

TODAY = today_in(TIME_ZONE)
LISTS = ("concerns", "supports", "signals", "hypotheses", "incidents")
WENT_WELL = """query($team: ID) { supports(first: 10, wentWell: true, teamId: $team) { edges { node {
    id verdict { state } student { givenName signals { kind seenOn } } } } } }"""


async def ids_of(asks: Caller, path: str, **filters: Any) -> list[str]:
    """Returns the ids of the rows of a list."""
    return [one["id"] for one in await asks.items(f"/v1/{path}", **filters)]


async def test_a_list_by_team_has_the_students_of_the_team_alone(app: FastAPI, north: Town) -> None:
    """A list by team has the rows about the students that the team serves today, in both APIs.

    When the team stops serving a student, the student's rows are in it no more.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    amys, _ = await raised(asks, north, "amy"), await raised(asks, north, "cy")
    assert await ids_of(asks, "concerns", team=team) == [amys]
    assert await ids_of(asks, "concerns", team=team, state="accepted") == []
    document = f'{{ concerns(first: 10, teamId: "{team}") {{ edges {{ node {{ id student {{ givenName }} }} }} }} }}'
    edges = (await query_data(north, document))["concerns"]["edges"]
    assert [edge["node"]["id"] for edge in edges] == [amys]
    (scope,) = (await asks.get(f"/v1/teams/{team}", expand="scopes")).json()["scopes"]
    ended = await asks.post(f"/v1/team-scopes/{scope['id']}/end", {})
    assert ended.is_success, ended.text
    assert await ids_of(asks, "concerns", team=team) == []


async def test_a_list_by_team_names_a_team_that_the_caller_may_read(app: FastAPI, north: Town, south: Town) -> None:
    """A list by a team of another district, by a text that names none, or without the permission is refused."""
    asks, other = caller(app, north), await meeting_team(south)
    team = await meeting_team(north)
    for path in LISTS:
        assert (await asks.get(f"/v1/{path}", team=team)).status_code == 200, path
        refused = await asks.get(f"/v1/{path}", team=other)
        assert (refused.status_code, refused.json()["violations"][0]["code"]) == (422, "team.unknown")
        assert (await asks.get(f"/v1/{path}", team="grade 3")).json()["violations"][0]["pointer"] == "/team"
    for unknown in (other, "grade 3", ""):
        query = "query($team: ID) { concerns(first: 1, teamId: $team) { edges { node { id } } } }"
        assert (await query_data(north, query, {"team": unknown}))["concerns"]["edges"] == []
    limited = caller(app, north, scopes=CLIENT_SCOPES - {"team:read"})
    refused = await limited.get("/v1/concerns", team=team)
    assert (refused.status_code, "team:read" in refused.json()["detail"]) == (403, True)


async def test_what_went_well_is_one_list(app: FastAPI, north: Town) -> None:
    """One request lists who met the goal and who is ready to fade, with the names, the verdict and the signals."""
    asks = caller(app, north)
    team, support = await meeting_team(north), await _judged(north)
    await _set(north, "below_pace", 50)
    assert await ids_of(asks, "supports", went_well="true") == []
    await _set(north, "responding", 50)
    assert (await asks.post("/v1/signal-rules", {"code": "fade", "kind": "ready_to_fade"})).status_code == 201
    signal = (await computed(asks, north))["amy"]
    (shown,) = await asks.items("/v1/supports", went_well="true", team=team, expand="student.signals")
    assert (shown["id"], shown["student_expanded"]["id"]) == (support, named("student", north.students["amy"]))
    assert [(one["id"], one["kind"], one["seen_on"]) for one in shown["student_expanded"]["signals"]] == [
        (signal["id"], "ready_to_fade", str(TODAY))
    ]
    (edge,) = (await query_data(north, WENT_WELL, {"team": team}))["supports"]["edges"]
    assert edge["node"]["student"]["signals"] == [{"kind": "READY_TO_FADE", "seenOn": str(TODAY)}]
    dismissed = await asks.post(f"/v1/signals/{signal['id']}/dismiss", {"because": "Not yet."})
    assert dismissed.is_success, dismissed.text
    assert await ids_of(asks, "supports", went_well="true") == []
    await _set(north, "goal_met", 1)
    assert await ids_of(asks, "supports", went_well="true", team=team) == [support]
    limited = caller(app, north, scopes=CLIENT_SCOPES - {"signal:read"})
    assert (await limited.get("/v1/supports", went_well="true")).status_code == 403
