"""Tests GraphQL mutations: how problems are reported, what is rolled back, and that the response follows the commit."""

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.queries import ConcernFilter, concerns
from app.core import ids
from app.core.page import keyset
from app.events.feed import events_after
from app.graphql.router import graphql_router
from tests.faces.graphql_face import MODERN, ask, here, query_data, token
from tests.faces.test_graphql_read import in_the_loop
from tests.rooms.test_loop import BEGINS, RISES, STALLS, served, stu
from tests.town import ALL_SCOPES, Town

RAISE = """
mutation Raise($input: RaiseConcernInput!) {
  raiseConcern(input: $input) {
    concern { id state version student { id } area { code } } problems { code pointer detail } }
}
"""
RECORD = """
mutation Record($input: RecordScoresInput!) {
  recordScores(input: $input) {
    results { outcome score { id value student { supports { verdict { state kind } } } } problems { code pointer } }
    problems { code pointer }
  }
}
"""
DECIDE = """
mutation Decide($input: DecideInput!) {
  decide(input: $input) {
    decision { id kind phaseId support { level { rank } phases { number } verdict { state } } }
    problems { code pointer detail }
  }
}
"""
TWO = """
mutation Two($first: RaiseConcernInput!, $second: RaiseConcernInput!) {
  first: raiseConcern(input: $first) { concern { id } problems { code } }
  second: raiseConcern(input: $second) { concern { id } problems { code } }
}
"""
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def raised(town: Town) -> list[str]:
    """Returns the descriptions of the district's concerns."""
    async with town.unit() as work:
        page = await concerns(work, keyset(town.district_id, "concerns", {}, None, None), ConcernFilter())
    return [row.description for row in page.rows]


def worry(town: Town, says: str, **more: Any) -> dict[str, Any]:
    """Returns the input of `raiseConcern` for a concern about amy, described by `says`."""
    return {"student": stu(town, "amy"), "area": "ela.fluency", "description": says, **more}


async def test_a_concern_is_raised_and_told_with_the_object(north: Town) -> None:
    """A mutation that raises a concern returns it, REST shows it under the same id, and its event is in the feed."""
    payload = (await query_data(north, RAISE, {"input": worry(north, "Reads slowly.", student="sis:sis:amy-1")}))[
        "raiseConcern"
    ]
    assert payload["problems"] == []
    assert payload["concern"]["student"] == {"id": stu(north, "amy")}
    assert (payload["concern"]["state"], payload["concern"]["area"]) == ("RAISED", {"code": "ela.fluency"})
    async with north.unit() as work:
        feed = await events_after(work, keyset(north.district_id, "events", {}, None, 10))
    assert [ids.format_id("concern", event.subject_id) for event in feed.rows] == [payload["concern"]["id"]]


@pytest.mark.parametrize(
    ("more", "code", "pointer"),
    [
        ({"area": "astrology"}, "area.unknown", "/area"),
        ({"student": "sis:sis:nobody"}, "student.unknown", "/student"),
        ({"student": "nonsense"}, "id.malformed", "/student"),
        ({"raisedBy": "sis:sis:nobody"}, "person.unknown", "/raisedBy"),
        ({"raisedOn": "2999-01-01"}, "concern.in_the_future", "/raisedOn"),
        ({"description": "   "}, "shape.string_too_short", "/description"),
        ({"description": "x" * 4001}, "shape.string_too_long", "/description"),
    ],
)
async def test_what_cannot_be_taken_is_a_problem_of_the_payload(
    north: Town, more: dict[str, str], code: str, pointer: str
) -> None:
    """A refused mutation writes nothing, and its payload has the same problem codes as REST.

    The pointers of the problems use GraphQL's names. The answer has no top-level error.
    """
    payload = (await query_data(north, RAISE, {"input": worry(north, "Reads slowly.", **more)}))["raiseConcern"]
    assert payload["concern"] is None
    assert [(one["code"], one["pointer"]) for one in payload["problems"]] == [(code, pointer)]
    assert await raised(north) == []


async def test_another_districts_student_is_a_problem_and_untouched(north: Town, south: Town) -> None:
    """A mutation that refers to another district's student is refused as if the student did not exist."""
    made = await in_the_loop(south, "amy")
    answer = await ask(north, RAISE, {"input": worry(north, "Reads slowly.", student=made["student"])})
    assert answer.json()["data"]["raiseConcern"]["problems"][0]["code"] == "student.unknown"
    decided = await query_data(north, DECIDE, {"input": {"kind": "EXIT", "support": made["support"]}})
    assert decided["decide"]["problems"][0]["code"] == "support.unknown"
    assert south.canary not in answer.text
    assert await raised(south) == [f"Slow {south.canary}."]


async def test_each_score_has_its_result(north: Town) -> None:
    """Each score has its own result; valid ones are recorded and judged in the same transaction."""
    await served(north, "amy")
    scores = [
        {"student": "sis:sis:amy-1", "measure": "orf", "takenOn": str(BEGINS + timedelta(weeks=week)), "value": value}
        for week, value in enumerate(RISES + STALLS, start=1)
    ]
    bad = {**scores[0], "value": 9999.0, "takenOn": "2999-01-01"}
    payload = (await query_data(north, RECORD, {"input": {"scores": [bad, *scores, scores[-1]]}}))["recordScores"]
    outcomes = [result["outcome"] for result in payload["results"]]
    assert outcomes == ["REFUSED", *["RECORDED"] * len(scores), "UNCHANGED"]
    assert payload["results"][0]["problems"] == [
        {"code": "score.out_of_range", "pointer": "/scores/0/value"},
        {"code": "score.in_the_future", "pointer": "/scores/0/takenOn"},
    ]
    (support,) = payload["results"][1]["score"]["student"]["supports"]
    assert support["verdict"] == {"state": "OFF_TRACK", "kind": None}
    none = (await query_data(north, RECORD, {"input": {"scores": []}}))["recordScores"]
    assert none == {"results": [], "problems": [{"code": "scores.count", "pointer": "/scores"}]}


KEPT = {"because": "The goal is kept.", "confirmRate": True}
"""A change that keeps a goal which requires more than the norms call realistic."""


async def test_a_decision_is_carried_out_and_its_payload_shows_what_is_now(north: Town) -> None:
    """The decision "intensify" begins a new phase, and the payload of the mutation shows the rows as they are
    afterwards.
    """
    made = await in_the_loop(north, "amy")
    decided_on = str(BEGINS + timedelta(weeks=10, days=1))
    new = {"kind": "INTENSIFY", "support": made["support"], "decidedOn": decided_on, "change": KEPT}
    payload = (await query_data(north, DECIDE, {"input": new}))["decide"]
    assert payload["problems"] == []
    assert payload["decision"]["support"] == {
        "level": {"rank": 3},
        "phases": [{"number": 1}, {"number": 2}],
        "verdict": {"state": "INSUFFICIENT_DATA"},
    }
    change = {"because": "More.", "goal": 1.0}
    repeated = (await query_data(north, DECIDE, {"input": {**new, "kind": "CHANGE", "change": change}}))["decide"]
    assert repeated["decision"] is None
    assert [one["pointer"] for one in repeated["problems"]] == ["/change/beginsOn", "/change/goal"]


async def test_the_second_field_does_not_show_what_was_loaded_before_it(north: Town) -> None:
    """If a mutation contains two commands, the payload of each has the rows as they are after this command."""
    made = await in_the_loop(north, "amy")
    query = """mutation($scores: RecordScoresInput!, $input: DecideInput!) {
      recordScores(input: $scores) { results { score { student { ...now } } } }
      decide(input: $input) { decision { student { ...now } } }
    }
    fragment now on Student { supports { phases { number } verdict { state } } }"""
    score = {"student": "sis:sis:amy-1", "measure": "orf", "takenOn": str(BEGINS + timedelta(weeks=11)), "value": 47}
    decided_on = str(BEGINS + timedelta(weeks=11, days=1))
    new = {"kind": "INTENSIFY", "support": made["support"], "decidedOn": decided_on, "change": KEPT}
    data = await query_data(north, query, {"scores": {"scores": [score]}, "input": new})
    before = data["recordScores"]["results"][0]["score"]["student"]["supports"]
    after = data["decide"]["decision"]["student"]["supports"]
    assert before == [{"phases": [{"number": 1}], "verdict": {"state": "OFF_TRACK"}}]
    assert after == [{"phases": [{"number": 1}, {"number": 2}], "verdict": {"state": "INSUFFICIENT_DATA"}}]


async def test_a_refused_field_leaves_the_next_one_standing(north: Town) -> None:
    """If a root field of a mutation is refused, only this field is undone, and the next one is executed."""
    made = await in_the_loop(north, "amy")
    query = """mutation($input: DecideInput!, $worry: RaiseConcernInput!) {
      decide(input: $input) { decision { id } problems { code } }
      raiseConcern(input: $worry) { concern { id } problems { code } } }"""
    # The support is locked, the goal refused only after the phase before was ended.
    decided_on = str(BEGINS + timedelta(weeks=10, days=1))
    new = {"kind": "CHANGE", "support": made["support"], "decidedOn": decided_on}
    unfit = {**new, "change": {"because": "More.", "goal": -1.0}}
    stored = "query($id: ID!) { support(id: $id) { version phases { endsOn } } }"
    before = await query_data(north, stored, {"id": made["support"]})
    data = await query_data(north, query, {"input": unfit, "worry": worry(north, "Stands.")})
    assert data["decide"]["problems"] == [{"code": "support.goal"}, {"code": "support.goal"}]
    assert data["raiseConcern"]["concern"]["id"]
    assert "Stands." in await raised(north)
    after = await query_data(north, stored, {"id": made["support"]})
    assert after["support"] == {**before["support"], "phases": [{"endsOn": None}]}


async def test_a_missing_permission_leaves_the_next_field_standing(north: Town) -> None:
    """A field that the caller may not use gives an error, and the next, permitted field is executed."""
    query = """mutation($input: DecideInput!, $worry: RaiseConcernInput!) {
      decide(input: $input) { decision { id } problems { code } }
      raiseConcern(input: $worry) { concern { id } problems { code } } }"""
    variables = {"input": {"kind": "REFER", "student": stu(north, "amy")}, "worry": worry(north, "Stands.")}
    answer = (await ask(north, query, variables, scopes=ALL_SCOPES - {"decision:make"})).json()
    assert answer["data"]["decide"] is None
    assert answer["data"]["raiseConcern"]["concern"]["id"]
    assert [(e["path"], e["extensions"]["code"]) for e in answer["errors"]] == [(["decide"], "permission.missing")]
    assert await raised(north) == ["Stands."]


async def test_a_secured_area_without_its_scope_is_a_problem(north: Town) -> None:
    """A concern in a secured area is refused if the caller lacks the scope of this area, and nothing is written."""
    answer = await query_data(
        north, RAISE, {"input": worry(north, "Keeps apart.", area="sel")}, scopes=ALL_SCOPES - {"area:sel"}
    )
    assert [one["code"] for one in answer["raiseConcern"]["problems"]] == ["area.secured"]
    assert await raised(north) == []


async def test_a_fault_in_a_read_says_nothing(north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one read of an operation has an internal error, no data of the operation are returned."""

    async def faulty(work: Work, sql: str, parameters: tuple[Any, ...]) -> None:
        await work.db.execute(text("SELECT CAST('canary-of-a-child' AS integer)"))

    monkeypatch.setattr("app.resources.run._execute", faulty)
    answer = await ask(north, "{ areas { code } students { edges { node { givenName concerns { id } } } } }")
    assert (answer.status_code, answer.json()["data"]) == (500, None)
    assert {error["extensions"]["code"] for error in answer.json()["errors"]} == {"internal"}
    assert "canary-of-a-child" not in answer.text


@pytest.mark.parametrize("place", ["first", "second"])
async def test_a_fault_undoes_the_whole_operation_and_says_nothing(
    north: Town, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An internal error rolls back the whole GraphQL operation, and none of its text is returned or logged."""
    from app.concern.service import raise_concern

    @needs(Can.RAISE_CONCERN)
    async def faulty(work: Work, new: Any) -> Concern:
        concern = await raise_concern(work, new)
        if new.description == place:
            await work.db.execute(text("SELECT CAST('canary-of-a-child' AS integer)"))
        return concern

    monkeypatch.setattr("app.graphql.concern.raise_concern", faulty)
    answer = await ask(north, TWO, {"first": worry(north, "first"), "second": worry(north, "second")})
    assert answer.status_code == 500
    body = answer.json()
    assert body["data"] is None
    assert [error["extensions"]["code"] for error in body["errors"]] == ["internal"]
    assert body["errors"][0]["path"] == [place]
    assert "canary-of-a-child" not in answer.text
    assert "canary-of-a-child" not in "".join(capsys.readouterr())
    assert await raised(north) == []


async def test_what_cannot_be_committed_is_not_shown(north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the row of the disclosure log cannot be written, the request gets 500 and no data."""

    async def broken(_: Work) -> None:
        raise RuntimeError("canary-of-a-child")

    monkeypatch.setattr("app.access.work.log_disclosure", broken)
    answer = await ask(north, "{ students { edges { node { givenName } } } }")
    assert answer.status_code == 500
    assert "data" not in answer.json()
    assert "canary-of-a-child" not in answer.text
    assert north.canary not in answer.text


async def test_the_commit_comes_before_the_response_begins(north: Town) -> None:
    """A mutation is committed before its response begins: another connection then sees the row already."""
    seen: list[list[str]] = []
    app = FastAPI()
    app.include_router(graphql_router(here(north.engine, north.settings)))

    async def watching(scope: Message, receive: Any, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.append(await raised(north))
            await send(message)

        await app(scope, receive, watched)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=watching), base_url="http://aimline.test") as client:
        headers = {"Authorization": f"Bearer {token(north)}", "Accept": MODERN}
        body = {"query": RAISE, "variables": {"input": worry(north, "Seen.")}}
        assert (await client.post("/graphql", json=body, headers=headers)).status_code == 200
    assert seen == [["Seen."]]
