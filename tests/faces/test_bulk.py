"""Tests commands with several items in both APIs.

Each item has its own result. With `atomic`, all items are written or none. A trial (`dry_run`) writes nothing.
"""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from tests.faces.graphql_face import ask
from tests.faces.rest_town import Caller, caller
from tests.rooms.test_loop import BEGINS, stu
from tests.town import Town

OUTCOMES = """
mutation Raise($input: RaiseConcernsInput!) {
  raiseConcerns(input: $input) {
    results { outcome concern { description } problems { code pointer } } problems { code pointer }
  }
}
"""
SCORES = """
mutation Record($input: RecordScoresInput!) {
  recordScores(input: $input) {
    results { outcome score { value } problems { code pointer } } problems { code pointer }
  }
}
"""


@pytest.fixture
def north_client(app: FastAPI, north: Town) -> Caller:
    """Returns a client of the district North."""
    return caller(app, north)


def score(town: Town, day: int, **more: Any) -> dict[str, Any]:
    """Returns a valid score of amy."""
    return {
        "student": stu(town, "amy"),
        "measure": "orf",
        "taken_on": str(BEGINS + timedelta(days=day)),
        "value": 40 + day,
        **more,
    }


def worry(town: Town, says: str, **more: Any) -> dict[str, Any]:
    """Returns the input for a concern about amy."""
    return {"student": stu(town, "amy"), "area": "ela.fluency", "description": says, **more}


async def _count(client: Caller, path: str) -> int:
    return len(await client.items(f"/v1/{path}"))


MALFORMED: list[Any] = [
    {"taken_on": "yesterday"},
    {"value": "many"},
    {"purpose": "fun"},
    {"form": "x" * 101},
    {"colour": "red"},
    {"external_id": "a\x00b"},
]


async def test_a_malformed_item_alone_is_refused(north_client: Caller, north: Town) -> None:
    """A malformed item of a request is refused with its pointer, and the other items are carried out."""
    scores: list[Any] = [score(north, day, **wrong) for day, wrong in enumerate(MALFORMED)]
    scores += [17, None, score(north, 20), {"student": stu(north, "amy")}]
    answer = await north_client.post("/v1/scores/bulk", {"scores": scores})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [one["outcome"] for one in results] == [*["refused"] * (len(MALFORMED) + 2), "recorded", "refused"]
    for place, wrong in enumerate(MALFORMED):
        (name,) = wrong
        assert [each["pointer"] for each in results[place]["violations"]] == [f"/scores/{place}/{name}"]
    assert {each["pointer"] for each in results[9]["violations"]} == {
        f"/scores/9/{name}" for name in ("measure", "taken_on", "value")
    }
    assert results[8]["score"]["value"] == 60
    assert await _count(north_client, "scores") == 1


async def test_pointers_count_the_items_as_they_were_sent(north_client: Caller, north: Town) -> None:
    """The pointers of violations count the items as they were sent, although the service gets only the well-formed
    items.
    """
    same = score(north, 3)
    scores = [17, same, 17, {**same, "value": 1}, score(north, 5, measure="none")]
    results = (await north_client.post("/v1/scores/bulk", {"scores": scores})).json()["results"]
    pointers = [[each["pointer"] for each in one["violations"]] for one in results]
    assert pointers == [["/scores/0"], ["/scores/1"], ["/scores/2"], ["/scores/3"], ["/scores/4/measure"]]
    assert "/scores/3" in results[1]["violations"][0]["detail"]


async def test_atomic_writes_all_or_nothing(north_client: Caller, north: Town) -> None:
    """With `atomic`, one refused item means that no item is written, and the results name the refused one."""
    scores = [score(north, 1), score(north, 2, value=10_000), score(north, 4)]
    answer = await north_client.post("/v1/scores/bulk", {"scores": scores, "atomic": True})
    results = answer.json()["results"]
    assert [one["outcome"] for one in results] == ["not_applied", "refused", "not_applied"]
    assert [one["score"] for one in results] == [None] * 3
    assert await _count(north_client, "scores") == 0
    scores[1]["value"] = 41
    answer = await north_client.post("/v1/scores/bulk", {"scores": scores, "atomic": True})
    assert [one["outcome"] for one in answer.json()["results"]] == ["recorded"] * 3
    assert await _count(north_client, "scores") == 3


async def test_a_trial_writes_nothing(north_client: Caller, north: Town) -> None:
    """A trial (`dry_run`) has the results of the real request, and leaves neither a row nor an event."""
    concerns = [worry(north, "Reads slowly."), worry(north, "Counts.", area="none")]
    body = {"concerns": concerns, "dry_run": True}
    answer = await north_client.post("/v1/concerns/bulk", body)
    assert [one["outcome"] for one in answer.json()["results"]] == ["recorded", "refused"]
    assert [one["concern"] for one in answer.json()["results"]] == [None, None]
    assert await _count(north_client, "concerns") == 0
    assert (await north_client.get("/v1/events")).json()["items"] == []
    answer = await north_client.post("/v1/concerns/bulk", {**body, "dry_run": False})
    assert [one["outcome"] for one in answer.json()["results"]] == ["recorded", "refused"]
    assert [each["pointer"] for each in answer.json()["results"][1]["violations"]] == ["/concerns/1/area"]
    assert await _count(north_client, "concerns") == 1
    assert len((await north_client.get("/v1/events")).json()["items"]) == 1


async def test_all_results_together_list_a_hundred_violations(north_client: Caller, north: Town) -> None:
    """A response lists at most a hundred violations of all its items together, and states how many are left out.

    As many refused items as possible have at least one violation in the list. Both APIs list the same violations.
    """
    scores: list[Any] = [{**score(north, 1), "value": "many", "attempt": "x"}] * 99 + [score(north, 2)] + [17] * 20
    results = (await north_client.post("/v1/scores/bulk", {"scores": scores})).json()["results"]
    assert [one["outcome"] for one in results] == ["refused"] * 99 + ["recorded"] + ["refused"] * 20
    assert [len(one["violations"]) for one in results] == [1] * 99 + [0, 2] + [0] * 19
    assert results[100]["violations"][1] == {
        "pointer": "/scores",
        "code": "violations.more",
        "detail": f"And {99 + 19} more.",
        "figures": {},
    }
    unknown = [worry(north, "Slow.", area="none")] * 103
    rest = (await north_client.post("/v1/concerns/bulk", {"concerns": unknown})).json()["results"]
    answer = await ask(north, OUTCOMES, {"input": {"concerns": unknown}})
    graphql = answer.json()["data"]["raiseConcerns"]["results"]
    codes = [[each["code"] for each in one["violations"]] for one in rest]
    assert codes == [[each["code"] for each in one["problems"]] for one in graphql]
    assert codes[98:] == [["area.unknown"], ["area.unknown", "violations.more"], [], [], []]


async def test_one_item_states_how_many_of_its_violations_are_left_out(north_client: Caller) -> None:
    """If one item has very many violations, its result states how many of them were left out."""
    unknown = {f"x{number}": 1 for number in range(100)}
    (result,) = (await north_client.post("/v1/scores/bulk", {"scores": [unknown]})).json()["results"]
    assert len(result["violations"]) == 101
    assert result["violations"][-1]["detail"] == "And 4 more."


@pytest.mark.parametrize("count", [0, 501])
async def test_a_list_that_is_too_short_or_long_is_refused_as_a_whole(
    north_client: Caller, north: Town, count: int
) -> None:
    """A list with too few or too many items is refused as a whole, before anything is carried out."""
    answer = await north_client.post("/v1/concerns/bulk", {"concerns": [worry(north, "Slow.")] * count})
    assert answer.status_code == 422
    assert [each["pointer"] for each in answer.json()["violations"]] == ["/concerns"]


async def test_a_missing_scope_refuses_all_items(app: FastAPI, north: Town) -> None:
    """If a scope is missing, a request with several items is refused as a whole, because permissions do not depend on
    items.
    """
    answer = await caller(app, north, frozenset({"concern:read"})).post(
        "/v1/concerns/bulk", {"concerns": [worry(north, "Slow.")]}
    )
    assert answer.status_code == 403


async def test_a_repeated_key_is_answered_with_the_first_results(north_client: Caller, north: Town) -> None:
    """If a request with many items is sent again under its key, it writes nothing and returns the first results."""
    answers = [
        await north_client.ask(
            "POST",
            "/v1/concerns/bulk",
            json={"concerns": [worry(north, "Slow."), worry(north, "Shy.")]},
            headers={"Idempotency-Key": "many-1"},
        )
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert await _count(north_client, "concerns") == 2


async def test_graphql_gives_the_same_results(north_client: Caller, north: Town) -> None:
    """GraphQL gives the same outcomes and codes as REST, in the same order and with the same options.

    Its pointers use GraphQL's own names.
    """
    items = [
        {"student": stu(north, "amy"), "area": "ela.fluency", "description": "Slow."},
        {"student": stu(north, "amy"), "area": "ela.fluency", "description": ""},
        {"student": stu(north, "amy"), "area": "ela.fluency", "description": "Later.", "raisedOn": "2999-01-01"},
    ]
    for options, first in (({"atomic": True}, "NOT_APPLIED"), ({"dryRun": True}, "RECORDED"), ({}, "RECORDED")):
        answer = await ask(north, OUTCOMES, {"input": {"concerns": items, **options}})
        payload = answer.json()["data"]["raiseConcerns"]
        assert payload["problems"] == []
        assert [one["outcome"] for one in payload["results"]] == [first, "REFUSED", "REFUSED"]
        assert [each["pointer"] for each in payload["results"][1]["problems"]] == ["/concerns/1/description"]
        assert [each["pointer"] for each in payload["results"][2]["problems"]] == ["/concerns/2/raisedOn"]
        shown = payload["results"][0]["concern"]
        assert (shown is None) == bool(options)
    assert await _count(north_client, "concerns") == 1
    scores = [
        {"student": stu(north, "amy"), "measure": "orf", "takenOn": str(BEGINS), "value": 40.0, "form": "x" * 101},
        {"student": stu(north, "amy"), "measure": "orf", "takenOn": str(BEGINS), "value": 40.0},
    ]
    answer = await ask(north, SCORES, {"input": {"scores": scores}})
    results = answer.json()["data"]["recordScores"]["results"]
    assert [one["outcome"] for one in results] == ["REFUSED", "RECORDED"]
    assert [each["pointer"] for each in results[0]["problems"]] == ["/scores/0/form"]
    answer = await ask(north, SCORES, {"input": {"scores": []}})
    assert [each["pointer"] for each in answer.json()["data"]["recordScores"]["problems"]] == ["/scores"]
