"""Writers that create records about students through both APIs at once, for tests with syncs or with faults."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from app.core import ids
from tests.faces.rest_town import caller
from tests.sis.roster_zip import row_id
from tests.town import YEAR_BEGINS, Town

RAISE = "mutation($input: RaiseConcernInput!) { raiseConcern(input: $input) { concern { id } problems { code } } }"
RECORD = "mutation($input: RecordScoresInput!) { recordScores(input: $input) { results { outcome } } }"
TWO = """mutation($first: RaiseConcernInput!, $second: RaiseConcernInput!) {
  first: raiseConcern(input: $first) { concern { id } problems { code } }
  second: raiseConcern(input: $second) { concern { id } problems { code } } }"""

Command = Callable[["Patient"], Awaitable[httpx.Response]]
MAX_REPEATS = 10
MAX_WAIT = 2


@dataclass
class Writers:
    """Concurrent writers of records about some students. `written` counts the requests by command and outcome.

    A 503 with `Retry-After` is a valid answer on a busy machine: nothing was changed, and the writer repeats the
    request, as a client does. `put_off` counts such answers, by their code.
    """

    town: Town
    app: FastAPI
    students: list[str]
    dice: random.Random
    pause: float = 0.0
    written: Counter[str] = field(default_factory=Counter)
    put_off: Counter[str] = field(default_factory=Counter)
    supports: dict[str, str] = field(default_factory=dict)
    wrote: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self) -> None:
        """Gives each student an active support, so that scores are judged."""
        as_client = caller(self.app, self.town)
        for student in self.students:
            new = {
                **{"student": student, "intervention": "Repeated reading", "level": 2, "measure": "orf"},
                **{"starts_on": str(YEAR_BEGINS), "goal": 90.0, "goal_on": str(YEAR_BEGINS + timedelta(weeks=30))},
                **{"minutes_per_session": 30, "sessions_per_week": 3, "baseline": 40.0, "confirm_rate": True},
            }
            answer = await as_client.post("/v1/supports", new)
            assert answer.status_code == 201, answer.text
            self.supports[student] = answer.json()["id"]
            started = await as_client.post(f"/v1/supports/{self.supports[student]}/start", {"on": str(YEAR_BEGINS)})
            assert started.is_success, started.text

    async def write(self) -> None:
        """Sends random commands until `stop` is set, and counts their results."""
        as_client = Patient(self)
        while not self.stop.is_set():
            what = self.dice.choice(self.commands())
            try:
                answer = await what(as_client)
            except Exception as error:  # the server may be restarting
                self.written[f"failed {type(error).__name__}"] += 1
            else:
                failed = "" if answer.is_success and '"errors"' not in answer.text else f" {_refusal(answer)}"
                self.written[f"{what.__name__[1:]}{failed}"] += 1
            self.wrote.set()
            await asyncio.sleep(self.pause)

    def commands(self) -> list[Command]:
        """Returns the commands among which a writer chooses."""
        of_supports = [self._sessions, self._decide] if self.supports else []
        return [self._raise, self._settle, self._scores, self._graphql, *of_supports]

    async def _raise(self, client: "Patient") -> httpx.Response:
        return await client.post("/v1/concerns", self._concern())

    async def _settle(self, client: "Patient") -> httpx.Response:
        made = await self._raise(client)
        return await client.post(f"/v1/concerns/{made.json()['id']}/accept", {}) if made.is_success else made

    async def _scores(self, client: "Patient") -> httpx.Response:
        return await client.post("/v1/scores/bulk", {"scores": [self._score() for _ in range(5)]})

    async def _sessions(self, client: "Patient") -> httpx.Response:
        support = self.supports[self.dice.choice(self.students)]
        body = {"sessions": [{"held_on": str(self._day()), "attended": True}]}
        return await client.post(f"/v1/supports/{support}/sessions", body)

    async def _decide(self, client: "Patient") -> httpx.Response:
        support = self.supports[self.dice.choice(self.students)]
        return await client.post("/v1/decisions", {"kind": "continue", "support": support})

    async def _graphql(self, client: "Patient") -> httpx.Response:
        query, variables = self.dice.choice(
            [
                (RAISE, {"input": self._concern()}),
                (RECORD, {"input": {"scores": [_camel(self._score()) for _ in range(3)]}}),
                (TWO, {"first": self._concern(), "second": self._concern()}),
            ]
        )
        return await client.post("/graphql", {"query": query, "variables": variables})

    def _concern(self) -> dict[str, Any]:
        student = self.dice.choice(self.students)
        return {"student": student, "area": "ela.fluency", "description": "Written while a sync runs."}

    def _score(self) -> dict[str, Any]:
        student, value = self.dice.choice(self.students), float(self.dice.randrange(30, 60))
        attempt = self.dice.randrange(1, 1000)
        return {
            "student": student,
            "measure": "orf",
            "taken_on": str(self._day()),
            "value": value,
            "attempt": attempt,
        }

    def _day(self) -> date:
        return YEAR_BEGINS + timedelta(days=self.dice.randrange(60))


@dataclass
class Patient:
    """A client of the district that sends a command again if the API answers 503 with `Retry-After`."""

    writers: Writers

    async def get(self, path: str, **params: str) -> httpx.Response:
        """Sends a GET request and returns its response."""
        return await caller(self.writers.app, self.writers.town).get(path, **params)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """Sends a command and returns its response. While the API is busy, the command is repeated a few times."""
        as_client = caller(self.writers.app, self.writers.town)
        answer = await as_client.ask("POST", path, json=body, headers=headers or {})
        for _ in range(MAX_REPEATS):
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                break
            self.writers.put_off[_refusal(answer)] += 1
            await asyncio.sleep(min(int(answer.headers["retry-after"]), MAX_WAIT))
            answer = await as_client.ask("POST", path, json=body, headers=headers or {})
        return answer


async def shown_students(town: Town, *sourced_ids: str) -> list[str]:
    """Returns the public ids of the students with these sourcedIds."""
    return [ids.format_id("student", await row_id(town, "person", sourced_id)) for sourced_id in sourced_ids]


def _refusal(answer: httpx.Response) -> str:
    """Returns the status of an answer, with the code of its problem or error if it has one."""
    code = re.search(r'"code":"([\w.]+)"', answer.text)
    return f"{answer.status_code} {code[1]}" if code else str(answer.status_code)


def _camel(score: dict[str, Any]) -> dict[str, Any]:
    return {"takenOn" if name == "taken_on" else name: value for name, value in score.items()}
