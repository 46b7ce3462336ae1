"""Simulates clients that change screenings, absences, handovers, hypotheses and more, while a sync moves the
students.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from app.core.clock import today_in
from tests.records.team_writers import TeamWriters, _made
from tests.records.writers import Command, Patient
from tests.rooms.team_town import named
from tests.sis.roster_zip import row_id
from tests.town import TIME_ZONE, maintain

HAND_OVER_AND_NOTE = """mutation(
  $handover: HandOverSupportInput!, $note: NoteAtAgendaItemInput!, $score: [NewScoreInput!]!) {
  handOverSupport(input: $handover) { support { id } problems { code } }
  noteAtAgendaItem(input: $note) { note { id student { id } } problems { code } }
  recordScores(input: {scores: $score}) { results { outcome } } }"""
SERVE_GRADE_TWICE = """mutation($one: AddTeamScopeInput!, $other: AddTeamScopeInput!) {
  one: addTeamScope(input: $one) { teamScope { id } problems { code } }
  other: addTeamScope(input: $other) { teamScope { id } problems { code } } }"""


@dataclass
class CareWriters(TeamWriters):
    """Simulates clients that use every package of the app that stores data about students.

    Their requests run while the worker does its tasks.
    """

    staff: list[str] = field(default_factory=list)
    schools: list[str] = field(default_factory=list)

    async def prepare(self) -> None:
        """Publishes signal rules, and looks up the ids of staff and schools that the simulated requests need."""
        await super().prepare()
        client = Patient(self)
        self.staff = [named("person", await row_id(self.town, "person", f"t-{one}")) for one in ("north", "south")]
        self.schools = [named("org", await row_id(self.town, "org", one)) for one in ("north", "south")]
        await client.post("/v1/signal-rules", {"code": "under-cut", "kind": "screening_under_cut"})
        await client.post(
            "/v1/signal-rules", {"code": "incidents", "kind": "incidents", "area": "behaviour", "least": 2}
        )

    def commands(self) -> list[Command]:
        """Returns the commands among which a simulated client chooses."""
        of_supports = [self._hand_over, self._hand_over_all, self._follow, self._stop, self._change]
        of_agendas = [self._note_at, self._note_at, self._agree_at, self._in_one_document, self._serve_grade_twice]
        of_children = [self._absences, self._remove_absence, self._incidents, self._remove_incident]
        of_children += [self._test, self._evidence, self._window, self._signals]
        return [*super().commands(), *of_supports, *of_agendas, *of_children, self._atomic, self._keyed, self._worker]

    async def _hand_over(self, client: Patient) -> httpx.Response:
        return await client.post(f"/v1/supports/{self._support()}/handover", self._handover())

    async def _hand_over_all(self, client: Patient) -> httpx.Response:
        giver, taker = self.dice.sample(self.staff, 2)
        return await client.post("/v1/supports/handover", {"giver": giver, "taker": taker, "because": "A new room."})

    async def _follow(self, client: Patient) -> httpx.Response:
        body = {"measure": "maze", "goal": 18.0, "baseline": 9.0, "confirm_rate": True}
        return await client.post(f"/v1/supports/{self._support()}/measures", body)

    async def _stop(self, client: Patient) -> httpx.Response:
        return await client.post(f"/v1/supports/{self._support()}/measures/stop", {"measure": "maze"})

    async def _change(self, client: Patient) -> httpx.Response:
        body = {"goal": 95.0, "because": "More is possible.", "confirm_rate": True}
        return await client.post(f"/v1/supports/{self._support()}/change", body)

    async def _note_at(self, client: Patient) -> httpx.Response:
        item = await _made(client, "agenda-items", self._item())
        made = await client.post(f"/v1/agenda-items/{item}/notes", {"text": "Reads at home."})
        if not made.is_success:
            return made
        return await client.post(f"/v1/notes/{made.json()['id']}/amend", {"text": "Reads.", "because": "Shorter."})

    async def _agree_at(self, client: Patient) -> httpx.Response:
        item = await _made(client, "agenda-items", self._item())
        body = {"text": "Call the family.", "due_on": str(today_in(TIME_ZONE)), "owner": self.owner}
        return await client.post(f"/v1/agenda-items/{item}/action-items", body)

    async def _in_one_document(self, client: Patient) -> httpx.Response:
        item = await self._one(client, "agenda-items", team=self.team)
        score = {"takenOn" if name == "taken_on" else name: value for name, value in self._score().items()}
        variables = {
            "handover": {"supportId": self._support(), **self._handover()},
            "note": {"agendaItemId": item, "text": "Said at the table."},
            "score": [score],
        }
        return await client.post("/graphql", {"query": HAND_OVER_AND_NOTE, "variables": variables})

    async def _serve_grade_twice(self, client: Patient) -> httpx.Response:
        teams = [await _made(client, "teams", {"name": f"Hour {n}", "purpose": "grade"}) for n in range(2)]
        one, other = ({"teamId": team, "school": self.dice.choice(self.schools), "grade": "03"} for team in teams)
        answer = await client.post("/graphql", {"query": SERVE_GRADE_TWICE, "variables": {"one": one, "other": other}})
        for team in teams:
            await client.post(f"/v1/teams/{team}/archive", {})
        return answer

    async def _absences(self, client: Patient) -> httpx.Response:
        rows = [
            {"student": one, "day": str(self._day()), "status": "absent"} for one in self.dice.sample(self.students, 3)
        ]
        return await client.post("/v1/attendance-records/bulk", {"attendance": rows})

    async def _remove_absence(self, client: Patient) -> httpx.Response:
        made = await self._absences(client)
        if not made.is_success:
            return made
        result = self.dice.choice(made.json()["results"])
        row = result.get("attendance_record") or {}
        return await client.post(f"/v1/attendance-records/{row.get('id')}/remove", {"because": "Another child."})

    async def _incidents(self, client: Patient) -> httpx.Response:
        at = f"{self._day()}T17:40:00Z"
        involved = self.dice.sample(self.students, 3)
        rows = [{"student": one, "occurred_at": at, "kind": "disruption", "shared_reference": at} for one in involved]
        return await client.post("/v1/incidents/bulk", {"incidents": rows})

    async def _remove_incident(self, client: Patient) -> httpx.Response:
        made = await self._incidents(client)
        if not made.is_success:
            return made
        row = self.dice.choice(made.json()["results"]).get("incident") or {}
        return await client.post(f"/v1/incidents/{row.get('id')}/remove", {"because": "Another child."})

    async def _test(self, client: Patient) -> httpx.Response:
        hypothesis = await self._one(client, "hypotheses")
        return await client.post(f"/v1/hypotheses/{hypothesis}/test", {"support": self._support()})

    async def _evidence(self, client: Patient) -> httpx.Response:
        made = await self._propose(client)
        if not made.is_success:
            return made
        student = self.dice.choice(self.students)
        score = await self._one(client, "scores", student=student)
        return await client.post(f"/v1/hypotheses/{made.json()['id']}/evidence", {"evidence_for": [score]})

    async def _window(self, client: Patient) -> httpx.Response:
        begins = self._day()
        expected = [{"measure": "orf", "grades": ["03"]}]
        body = {
            "season": "fall",
            "opens_on": str(begins),
            "closes_on": str(begins + timedelta(days=9)),
            "expected": expected,
        }
        made = await client.post("/v1/screening-windows", body)
        if made.is_success and self.dice.random() < 0.5:
            return await client.post(f"/v1/screening-windows/{made.json()['id']}/cancel", {})
        return made

    async def _signals(self, client: Patient) -> httpx.Response:
        signal = await self._one(client, "signals", state="suggested")
        return await client.post(f"/v1/signals/{signal}/{self.dice.choice(['accept', 'dismiss'])}", {})

    async def _atomic(self, client: Patient) -> httpx.Response:
        scores = [self._score() for _ in range(4)]
        return await client.post("/v1/scores/bulk", {"scores": scores, "atomic": True})

    async def _keyed(self, client: Patient) -> httpx.Response:
        """Raises one of 40 concerns, each with its own idempotency key. Two writers may raise the same concern."""
        number = self.dice.randrange(40)
        student = self.students[number % len(self.students)]
        body = {"student": student, "area": "math", "description": f"Keyed {number}."}
        return await client.post("/v1/concerns", body, {"Idempotency-Key": f"keyed-{number}"})

    async def _worker(self, _: Patient) -> httpx.Response:
        await maintain(self.town)
        return httpx.Response(200)

    def _support(self) -> str:
        return self.supports[self.dice.choice(self.students)]

    def _handover(self) -> dict[str, Any]:
        return {"lead": self.dice.choice(self.staff), "because": "A new room."}

    def _item(self) -> dict[str, Any]:
        about = {"student": self.dice.choice(self.students)} if self.dice.random() < 0.5 else {}
        return {"team": self.team, "text": "Who calls?", **about}
