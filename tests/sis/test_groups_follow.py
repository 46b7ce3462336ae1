"""Tests what becomes of a group when the person who leads it leaves the roster."""

from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI

from app.core import ids
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import caller
from tests.sis.roster_zip import LENIENT, Export, row_id, sync
from tests.sis.test_supports_follow import BEGINS, leave
from tests.town import Town


async def test_a_group_of_a_departed_teacher_takes_members_after_the_handover(
    app: FastAPI, north: Town, tmp_path: Path
) -> None:
    """After its lead has left, a group has no lead for new members until everything is handed over in one call.

    In the meantime the group is in the list of groups without a lead.
    """
    export = Export()
    export.rows["users"].append(
        {**export.rows["users"][0], "sourcedId": "t-new", "username": "t-new", "identifier": "tn"}
    )
    await sync(north, export, tmp_path)
    asks = caller(app, north)
    names = {name: await row_id(north, "person", name) for name in ("s0", "s2", "t-north", "t-new")}
    first, second = (ids.format_id("student", names[name]) for name in ("s0", "s2"))
    giver, taker = (ids.format_id("person", names[name]) for name in ("t-north", "t-new"))
    member = {"goal": 70.0, "baseline": 40.0, "confirm_rate": True}
    formed = await asks.post(
        "/v1/groups",
        {
            "school": ids.format_id("org", await row_id(north, "org", "north")),
            "name": "Blue table",
            "intervention": "Repeated reading",
            "level": 2,
            "measure": "orf",
            "starts_on": str(BEGINS),
            "goal_on": str(BEGINS + timedelta(weeks=20)),
            "minutes_per_session": 30,
            "sessions_per_week": 5,
            "lead": giver,
            "members": [{"student": first, **member}],
        },
    )
    assert formed.status_code == 201, formed.text
    path = f"/v1/groups/{formed.json()['id']}"
    assert await unled_groups(app, north) == []
    leave(export, "t-north")
    await sync(north, export, tmp_path, limits=LENIENT)
    assert await unled_groups(app, north) == [formed.json()["name"]]
    refused = await asks.post(f"{path}/join", {"student": second, **member})
    assert [each["code"] for each in refused.json()["violations"]] == ["person.departed"]
    handover = {"giver": giver, "taker": taker, "because": "Left the school."}
    assert (await asks.post("/v1/supports/handover", handover)).json() == {"supports": 1, "groups": 1}
    assert await unled_groups(app, north) == []
    joined = await asks.post(f"{path}/join", {"student": second, **member})
    assert joined.status_code == 200, joined.text
    assert (joined.json()["lead"], joined.json()["size"]) == (taker, 2)


async def unled_groups(app: FastAPI, town: Town) -> list[str]:
    """Returns the names of the groups without a lead, after a check that both APIs list the same ones."""
    listed = [each["name"] for each in (await caller(app, town).get("/v1/groups", unled=True)).json()["items"]]
    data = await query_data(town, "{ groups(first: 50, unled: true) { edges { node { name } } } }")
    assert [edge["node"]["name"] for edge in data["groups"]["edges"]] == listed
    return listed
