"""Simulates clients that change teams, meetings and groups through both APIs at once, while a sync moves students."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from app.core.clock import now, today_in
from tests.records.writers import Command, Patient, Writers
from tests.rooms.team_town import named
from tests.sis.roster_zip import row_id
from tests.town import TIME_ZONE, YEAR_BEGINS

SERVE_AND_AGREE = """mutation($item: AgreeActionItemInput!, $scope: AddTeamScopeInput!) {
  agreeActionItem(input: $item) { actionItem { id } problems { code } }
  addTeamScope(input: $scope) { teamScope { id } problems { code } } }"""
SERVE_THEN_LEAVE = """mutation($scope: AddTeamScopeInput!, $leave: LeaveGroupInput!) {
  addTeamScope(input: $scope) { teamScope { id } problems { code } }
  leaveGroup(input: $leave) { group { id } problems { code } } }"""


@dataclass
class TeamWriters(Writers):
    """Simulates clients that change records about the same students and the same team at the same time.

    The team serves all of these students.
    """

    team: str = ""
    owner: str = ""
    school: str = ""
    group: str = ""

    async def prepare(self) -> None:
        """Forms a team with one member that serves all of the students, and a group of the students at one school."""
        await super().prepare()
        client = Patient(self)
        self.owner = named("person", await row_id(self.town, "person", "t-north"))
        self.school = named("org", await row_id(self.town, "org", "north"))
        self.team = await _made(client, "teams", {"name": "Both schools", "purpose": "grade"})
        await _made(client, f"teams/{self.team}/members", {"person": self.owner})
        for student in self.students:
            await _made(client, f"teams/{self.team}/scopes", {"student": student})
        await self._regroup(client)

    def commands(self) -> list[Command]:
        """Returns the commands among which a simulated client chooses."""
        of_teams = [self._agree, self._close_action, self._serve, self._end_scope, self._archive, self._both]
        of_meetings = [self._add, self._open, self._settle_item, self._close, self._series]
        of_groups = [self._join, self._leave, self._leave, self._hold, self._regroup, self._leave_too]
        return [*of_teams, *of_meetings, *of_groups, self._note, self._propose]

    async def _agree(self, client: Patient) -> httpx.Response:
        return await client.post("/v1/action-items", self._action())

    async def _close_action(self, client: Patient) -> httpx.Response:
        item = await self._one(client, "action-items", state="open", team=self.team)
        return await client.post(f"/v1/action-items/{item}/close", {"outcome": "done"})

    async def _serve(self, client: Patient) -> httpx.Response:
        return await client.post(f"/v1/teams/{self.team}/scopes", {"student": self.dice.choice(self.students)})

    async def _end_scope(self, client: Patient) -> httpx.Response:
        made = await self._serve(client)
        return await client.post(f"/v1/team-scopes/{made.json()['id']}/end", {}) if made.is_success else made

    async def _archive(self, client: Patient) -> httpx.Response:
        """Forms another team that serves a whole grade of the school, and archives this team."""
        team = await _made(client, "teams", {"name": "For an hour", "purpose": "grade"})
        await client.post(f"/v1/teams/{team}/scopes", {"school": self.school, "grade": "03"})
        return await client.post(f"/v1/teams/{team}/archive", {})

    async def _both(self, client: Patient) -> httpx.Response:
        item = {"dueOn" if name == "due_on" else name: value for name, value in self._action().items()}
        variables = {"item": item, "scope": {"teamId": self.team, "student": self.dice.choice(self.students)}}
        return await client.post("/graphql", {"query": SERVE_AND_AGREE, "variables": variables})

    async def _leave_too(self, client: Patient) -> httpx.Response:
        student = self.dice.choice(self.students)
        variables = {
            "scope": {"teamId": self.team, "student": student},
            "leave": {"groupId": self.group, "student": self.dice.choice(self.students)},
        }
        return await client.post("/graphql", {"query": SERVE_THEN_LEAVE, "variables": variables})

    async def _add(self, client: Patient) -> httpx.Response:
        body = {"team": self.team, "text": "Who calls?", "student": self.dice.choice(self.students)}
        return await client.post("/v1/agenda-items", body)

    async def _open(self, client: Patient) -> httpx.Response:
        body = {"team": self.team, "starts_at": (now() + timedelta(hours=1)).isoformat(), "minutes": 30}
        meeting = await _made(client, "meetings", body)
        return await client.post(f"/v1/meetings/{meeting}/open", {})

    async def _settle_item(self, client: Patient) -> httpx.Response:
        item = await self._one(client, "agenda-items", state="open", team=self.team)
        return await client.post(f"/v1/agenda-items/{item}/{self.dice.choice(['carry', 'discuss'])}", {})

    async def _close(self, client: Patient) -> httpx.Response:
        meeting = await self._one(client, "meetings", state="open", team=self.team)
        return await client.post(f"/v1/meetings/{meeting}/close", {"carry_rest": True})

    async def _series(self, client: Patient) -> httpx.Response:
        begins_at = f"{today_in(TIME_ZONE)}T08:00"
        body = {"team": self.team, "begins_at": begins_at, "rule": "FREQ=WEEKLY", "minutes": 30}
        series = await _made(client, "meeting-series", body)
        return await client.post(f"/v1/meeting-series/{series}/end", {})

    async def _join(self, client: Patient) -> httpx.Response:
        member = {"student": self.dice.choice(self.students), "goal": 90.0, "baseline": 40.0, "confirm_rate": True}
        return await client.post(f"/v1/groups/{self.group}/join", member)

    async def _leave(self, client: Patient) -> httpx.Response:
        return await client.post(f"/v1/groups/{self.group}/leave", {"student": self.dice.choice(self.students)})

    async def _hold(self, client: Patient) -> httpx.Response:
        body = {"held_on": str(today_in(TIME_ZONE)), "minutes": 30}
        return await client.post(f"/v1/groups/{self.group}/sessions", {"lessons": [body]})

    async def _regroup(self, client: Patient) -> httpx.Response:
        at_school = {
            student["id"] for student in (await client.get("/v1/students", school=self.school)).json()["items"]
        }
        members = [
            {"student": student, "goal": 90.0, "baseline": 40.0, "confirm_rate": True}
            for student in self.students
            if student in at_school
        ]
        new = {
            **{"school": self.school, "name": "Blue table", "level": 2, "measure": "orf", "members": members},
            **{"starts_on": str(today_in(TIME_ZONE)), "goal_on": str(YEAR_BEGINS + timedelta(weeks=30))},
            **{"minutes_per_session": 30, "sessions_per_week": 3, "intervention": "Repeated reading"},
        }
        former, answer = self.group, await client.post("/v1/groups", new)
        self.group = answer.json().get("id", former)
        return await client.post(f"/v1/groups/{former}/end", {}) if former else answer

    async def _note(self, client: Patient) -> httpx.Response:
        made = await self._raise(client)
        body = {"about": made.json()["id"], "text": "Reads at home.", "team": self.team} if made.is_success else {}
        return await client.post("/v1/notes", body)

    async def _propose(self, client: Patient) -> httpx.Response:
        made = await self._raise(client)
        body = {"concern": made.json().get("id"), "kind": "skill", "statement": "Guesses.", "refuted_if": "Does not."}
        return await client.post("/v1/hypotheses", body)

    def _action(self) -> dict[str, Any]:
        day = str(today_in(TIME_ZONE))
        about = {"student": self.dice.choice(self.students), "owner": self.owner}
        return {"team": self.team, "text": "Call the family.", "due_on": day, **about}

    async def _one(self, client: Patient, path: str, **filters: str) -> str:
        rows = (await client.get(f"/v1/{path}", limit="20", **filters)).json()["items"]
        return str(self.dice.choice(rows)["id"]) if rows else "none"


async def _made(client: Patient, path: str, body: dict[str, Any]) -> str:
    answer = await client.post(f"/v1/{path}", body)
    return str(answer.json().get("id", answer.status_code))
