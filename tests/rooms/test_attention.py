"""Tests that a person reads in one request what is due for this person, and for nobody else."""

from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import named, serves, team_of
from tests.rooms.test_action_items import agreed, closed
from tests.rooms.test_concerns_repeated import raised
from tests.rooms.test_concerns_unserved import accepted, planned
from tests.rooms.test_hypotheses import proposed
from tests.rooms.test_teams import TODAY, acting
from tests.sent import statements_sent
from tests.town import Town, maintain

STATEMENTS = 6
"""Binding the person, the day, the playbook in force, the read itself, the names, and the row of the disclosure log."""
QUERY = "{ attention { personId leftOut items { reason studentId actionItemId concernId supportId } } }"


async def needs_of(asks: Caller, **params: Any) -> list[dict[str, Any]]:
    """Returns everything that is due for the person that the caller acts for."""
    answer = await asks.get("/v1/me/attention", **params)
    assert answer.status_code == 200, answer.text
    needs: list[dict[str, Any]] = answer.json()["items"]
    return needs


async def reasons_of(asks: Caller, **params: Any) -> list[str]:
    """Returns the reason of each item that is due for the person that the caller acts for."""
    return [one["reason"] for one in await needs_of(asks, **params)]


async def led(asks: Caller, concern: dict[str, Any], lead: str, weeks_ago: int) -> str:
    """Plans a support that a person has led for some weeks, and returns its id."""
    starts_on = TODAY - timedelta(weeks=weeks_ago)
    return await planned(asks, concern, lead=f"sis:sis:{lead}-1", starts_on=str(starts_on))


async def test_a_person_reads_the_own_needs_with_reason_and_ids(app: FastAPI, north: Town) -> None:
    """A person reads everything that is due in one list, with reasons and ids, and does not have to look in six
    lists.
    """
    everything = caller(app, north)
    team = await team_of(north, "teacher")
    await serves(north, team, student=named("student", north.students["ben"]))
    item = await agreed(everything, team.id, "teacher")
    later = await agreed(everything, team.id, "teacher", due_on=str(TODAY + timedelta(days=7)))
    unanswered = await raised(everything, north, "ela.fluency", "ben")
    unserved = await accepted(everything, north, "amy")
    answered = await accepted(everything, north, "ben", "math.computation")
    support = await led(everything, answered, "teacher", 6)
    asks = acting(app, north, "teacher")
    by_reason = {one["reason"]: one for one in await needs_of(asks)}
    assert by_reason.keys() == {"action_due", "check_overdue", "concern_unanswered", "concern_unserved"}
    assert by_reason["action_due"]["action_item"] == item["id"]
    assert by_reason["action_due"]["student"] is None
    assert (by_reason["check_overdue"]["support"], by_reason["check_overdue"]["since"]) == (
        support,
        str(TODAY - timedelta(weeks=6)),
    )
    assert by_reason["concern_unanswered"]["concern"] == unanswered["id"]
    assert by_reason["concern_unserved"]["concern"] == unserved["id"]
    since = [one["since"] for one in await needs_of(asks)]
    assert since == sorted(since)
    assert len(await needs_of(asks, until=later["due_on"])) == len(since) + 1
    shown = (await asks.post("/graphql", {"query": QUERY})).json()["data"]["attention"]
    assert {one["reason"].lower() for one in shown["items"]} == by_reason.keys()
    assert (shown["personId"], shown["leftOut"]) == (named("person", north.staff["teacher"]), [])
    await closed(asks, item, outcome="done")
    assert "action_due" not in await reasons_of(asks)


async def test_nobody_reads_the_needs_of_another(app: FastAPI, north: Town, south: Town) -> None:
    """Nobody can read the list of what is due for another person."""
    everything = caller(app, north)
    team = await team_of(north, "teacher", "aide")
    await agreed(everything, team.id, "teacher")
    await accepted(everything, north, "amy")
    assert await reasons_of(acting(app, north, "teacher")) == ["concern_unserved", "action_due"]
    assert await reasons_of(acting(app, north, "aide")) == []
    assert await reasons_of(acting(app, north, "other_teacher")) == []
    # An administrator sees every student of the school, and has no own ones.
    assert await reasons_of(acting(app, north, "administrator")) == []
    nobody = (await everything.get("/v1/me/attention")).json()
    assert (nobody["person"], nobody["items"]) == (None, [])
    assert await reasons_of(acting(app, south, "teacher")) == []


async def test_a_hypothesis_is_listed_for_who_proposed_it_and_may_read_it(app: FastAPI, north: Town) -> None:
    """A hypothesis that is due is listed for its author. If the reader of the list may not read hypotheses, the answer
    states that they were left out.
    """
    everything = caller(app, north)
    concern = await accepted(everything, north, "amy")
    teacher = acting(app, north, "teacher")
    hypothesis = await proposed(teacher, concern)
    support = await planned(everything, concern)
    await teacher.post(f"/v1/hypotheses/{hypothesis['id']}/test", {"support": support})
    await everything.post(f"/v1/supports/{support}/end", {"because": "Moved."})
    await maintain(north)
    (need,) = [one for one in await needs_of(teacher) if one["reason"] == "hypothesis_due"]
    assert (need["hypothesis"], need["support"], need["concern"]) == (hypothesis["id"], support, concern["id"])
    aide = (await acting(app, north, "aide").get("/v1/me/attention")).json()
    assert aide["left_out"] == ["hypothesis_due"]


async def test_pages_have_everything_once_in_a_pinned_number_of_statements(app: FastAPI, north: Town) -> None:
    """The pages of a person's list show each thing that is due exactly once. Each page takes a limited number of
    statements.
    """
    everything = caller(app, north)
    team = await team_of(north, "teacher")
    items = {(await agreed(everything, team.id, "teacher"))["id"] for _ in range(5)}
    asks, listed = acting(app, north, "teacher"), list[str]()
    params: dict[str, Any] = {"limit": 2}
    answer: dict[str, Any] = {}
    for _ in range(3):
        with statements_sent(app.state.services.engine) as statements:
            answer = (await asks.get("/v1/me/attention", **params)).json()
        assert len(statements) <= STATEMENTS, statements
        listed += [one["action_item"] for one in answer["items"]]
        params["after"] = answer["next"]
    assert (set(listed), len(listed), answer["next"]) == (items, 5, None)
    assert (await asks.get("/v1/me/attention", after="forged")).status_code == 400
