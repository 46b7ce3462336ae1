"""Creates a team that serves a grade, with a meeting, and reads the team's agenda."""

from datetime import timedelta
from typing import Any

from app.core.clock import now
from tests.faces.rest_town import Caller
from tests.rooms.team_town import named, serves, team_of
from tests.town import Town


async def meeting_team(town: Town, *people: str) -> str:
    """Forms a team that serves the students of the first school's third grade: amy and ben."""
    team = await team_of(town, *(people or ("teacher",)))
    await serves(town, team, school=named("org", town.schools[0]), grade="03")
    return named("team", team.id)


async def meeting_of(asks: Caller, team: str, **more: Any) -> dict[str, Any]:
    """Schedules a meeting of the team that begins in an hour, and returns it."""
    body = {"team": team, "starts_at": (now() + timedelta(hours=1)).isoformat(), "minutes": 30}
    answer = await asks.post("/v1/meetings", body | more)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def opened(asks: Caller, team: str) -> dict[str, Any]:
    """Schedules and opens a meeting, and returns it."""
    meeting = await meeting_of(asks, team)
    return await done(asks, f"meetings/{meeting['id']}/open")


async def done(asks: Caller, path: str, **body: Any) -> dict[str, Any]:
    """Carries out a command, and returns the row."""
    answer = await asks.post(f"/v1/{path}", body)
    assert answer.is_success, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def agenda_of(asks: Caller, team: str, **filters: str) -> dict[str, Any]:
    """Returns the agenda of a team's meeting."""
    answer = await asks.get(f"/v1/teams/{team}/agenda", **filters)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def kinds(agenda: dict[str, Any]) -> list[str]:
    """Returns the kinds of an agenda's items, in order."""
    return [item["kind"] for item in agenda["items"]]


async def raised(asks: Caller, town: Town, student: str, area: str = "ela.fluency") -> str:
    """Raises a concern about a student, and returns its id."""
    body = {"student": named("student", town.students[student]), "area": area, "description": "Slow."}
    answer = await asks.post("/v1/concerns", body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
