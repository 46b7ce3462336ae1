"""Tests that a group is handed over with its members' supports, and that a membership ends with its support."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.ids import new_id
from app.group.models import Group
from app.roster.models import Org, Person
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import Caller, caller
from tests.rooms.test_groups import TODAY, formed, supports_of
from tests.rooms.test_handover import caseload_of, per, planned
from tests.rooms.test_loop import stu
from tests.rooms.test_support_starts import types_of
from tests.town import Town, lay

JOINS = {"goal": 70.0, "baseline": 40.0, "confirm_rate": True}


async def formed_for(town: Town, *names: str, lead: str = "teacher") -> tuple[Group, str]:
    """Forms a group led by this person, and returns it with the path of its REST resource."""
    group = await formed(town, *names, lead=per(town, lead))
    return group, f"/v1/groups/{ids.format_id('group', group.id)}"


async def posted(asks: Caller, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = await asks.post(path, body)
    assert answer.status_code == status, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_group_is_handed_over_with_the_supports_of_its_members(app: FastAPI, north: Town) -> None:
    """One request gives a group and its members' supports a new lead, without a phase line, and for who joins later.

    A member whose support is led by another person keeps this person.
    """
    asks = caller(app, north)
    _, path = await formed_for(north, "amy", "ben")
    ben = (await supports_of(north))["ben"]
    of_ben = {"lead": per(north, "other_teacher"), "because": "A tutor."}
    await posted(asks, f"/v1/supports/{ids.format_id('support', ben.id)}/handover", of_ben)
    group = await posted(asks, f"{path}/handover", {"lead": per(north, "aide"), "because": "On leave."})
    assert group["lead"] == per(north, "aide")
    supports = await supports_of(north)
    assert (supports["amy"].lead_id, supports["ben"].lead_id) == (
        north.staff["aide"],
        north.staff["other_teacher"],
    )
    assert north.students["amy"] in await caseload_of(north, "aide")
    shown = await asks.get(f"/v1/supports/{ids.format_id('support', supports['amy'].id)}", expand="handovers")
    assert len(shown.json()["phases"]) == 1
    assert [each["because"] for each in shown.json()["handovers"]] == ["On leave."]
    assert (await types_of(north))[-2:] == ["support.handed_over", "group.changed"]


async def test_a_group_is_handed_over_in_graphql_and_refuses_what_makes_no_sense(app: FastAPI, north: Town) -> None:
    """GraphQL hands a group over too. Nobody, a future day and an ended group are refused, with each reason."""
    asks = caller(app, north)
    group, path = await formed_for(north, "amy")
    name, provider = ids.format_id("group", group.id), per(north, "aide")
    document = (
        f'mutation {{ handOverGroup(input: {{groupId: "{name}", provider: "{provider}", because: "A change."}}) '
        "{ group { lead { id } provider { id } } } }"
    )
    handed_over = (await query_data(north, document))["handOverGroup"]["group"]
    assert (handed_over["lead"]["id"], handed_over["provider"]["id"]) == (per(north, "teacher"), provider)
    tomorrow = str(TODAY + timedelta(days=2))
    refused = await posted(asks, f"{path}/handover", {"because": "So.", "on": tomorrow}, 422)
    assert {each["code"] for each in refused["violations"]} == {"handover.nobody", "handover.in_the_future"}
    await posted(asks, f"{path}/end", {})
    ended = await posted(asks, f"{path}/handover", {"because": "So.", "lead": provider}, 409)
    assert ended["code"] == "group.ended"


async def test_everything_of_a_person_includes_the_groups(app: FastAPI, north: Town) -> None:
    """The request that hands over everything of a person hands over the groups too, except ended ones.

    Without this, who joins the group later would get the former lead.
    """
    asks = caller(app, north)
    _, path = await formed_for(north, "amy")
    _, other = await formed_for(north, "ben", lead="other_teacher")
    _, ended = await formed_for(north, "ben")
    await posted(asks, f"{ended}/end", {})
    body = {"giver": per(north, "teacher"), "taker": per(north, "aide"), "because": "Left the school."}
    assert await posted(asks, "/v1/supports/handover", body) == {"supports": 2, "groups": 1}
    leads = [(await asks.get(each)).json()["lead"] for each in (path, other, ended)]
    assert leads == [per(north, "aide"), per(north, "other_teacher"), per(north, "teacher")]
    await posted(asks, f"{path}/join", {"student": stu(north, "ben"), **JOINS})
    assert north.staff["aide"] in {(support.lead_id) for support in (await supports_of(north)).values()}


async def test_a_membership_ends_with_its_support(app: FastAPI, north: Town) -> None:
    """When the support of a member ends, by a decision or by the command, the student is a member no longer.

    The group counts one member fewer, the last day is still a day of the group, and the student can join again.
    """
    asks = caller(app, north)
    _, path = await formed_for(north, "amy", "ben")
    supports = {name: ids.format_id("support", each.id) for name, each in (await supports_of(north)).items()}
    await posted(asks, "/v1/decisions", {"kind": "exit", "support": supports["amy"], "note": "The goal is met."}, 201)
    group = (await asks.get(path)).json()
    assert group["size"] == 1
    assert [each["until_on"] for each in group["members"]] == [str(TODAY + timedelta(days=1)), None]
    assert "group.changed" in await types_of(north)
    lesson = {"lessons": [{"held_on": str(TODAY)}]}
    recorded = await posted(asks, f"{path}/sessions", lesson)
    assert recorded["results"][0]["outcome"] == "recorded"
    for support in supports.values():
        sessions = (await asks.get(f"/v1/supports/{support}/sessions")).json()["items"]
        assert [each["held_on"] for each in sessions] == [str(TODAY)]
    again = await posted(asks, f"{path}/join", {"student": stu(north, "amy"), **JOINS})
    assert again["size"] == 2
    await posted(asks, f"/v1/supports/{supports['ben']}/end", {"because": "Moved to a tutor."})
    assert (await asks.get(path)).json()["size"] == 1


async def test_a_support_without_a_group_ends_as_before(app: FastAPI, north: Town) -> None:
    """The end of a support of no group changes no group."""
    asks, support = caller(app, north), await planned(north)
    await posted(asks, f"/v1/supports/{ids.format_id('support', support.id)}/end", {"because": "Enough."})
    assert "group.changed" not in await types_of(north)


async def test_a_group_is_unled_where_its_lead_works_elsewhere(app: FastAPI, north: Town) -> None:
    """A lead at another school only, or whose account is off, leaves a group without a lead; an ended group needs none.

    People of the district's own org are at every school. The list names no adult.
    """
    asks = caller(app, north)
    _, path = await formed_for(north, "amy")
    own_org = new_id()
    async with north.house() as work:
        await lay(work, Org(district_id=north.district_id, id=own_org, name="The district", type="district"))
    cases: list[tuple[dict[str, Any], int]] = [
        ({"school_ids": [north.schools[1]]}, 1),
        ({"school_ids": [own_org]}, 0),
        ({"school_ids": [north.schools[0]], "enabled": False}, 1),
        ({"school_ids": [north.schools[1], north.schools[0]], "enabled": True}, 0),
        ({"school_ids": [], "enabled": True}, 1),
    ]
    for values, number in cases:
        async with north.house() as work:
            await set_of_lead(work, north.staff["teacher"], values)
        assert len((await asks.get("/v1/groups", unled=True)).json()["items"]) == number, values
    await posted(asks, f"{path}/end", {})
    assert (await asks.get("/v1/groups", unled=True)).json()["items"] == []


@needs(Can.SYNC_ROSTER)
async def set_of_lead(work: Work, person_id: UUID, values: dict[str, Any]) -> None:
    """Changes a person in the roster, as a sync does."""
    await work.db.execute(
        update(Person).where(Person.district_id == work.district_id, Person.id == person_id).values(**values)
    )
