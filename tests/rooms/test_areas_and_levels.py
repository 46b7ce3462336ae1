"""Tests how a district changes its areas and levels.

Also tests which new records may use them, and that earlier versions of the playbook stay as they were.
"""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from app.core import ids
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.test_goals import plan
from tests.town import Town

ADD = """mutation($input: AddAreaInput!) { addArea(input: $input) {
  area { id code position retiredAt version } problems { code pointer }
} }"""
ORDER = """mutation($input: OrderLevelsInput!) { orderLevels(input: $input) { problems { code pointer } } }"""
VERSIONS = """{ playbookVersions(first: 50) { edges { node {
  id number areas { code name parent secured } levels { id rank name } rules { rule parameters { name value } measure }
} } } }"""


MORE = {"because": "More.", "sessions_per_week": 4, "confirm_rate": True}


def are(town: Town, code: str) -> str:
    """Returns the public id of an area, given its code."""
    return ids.format_id("area", town.areas[code])


def lev(town: Town, rank: int) -> str:
    """Returns the public id of the level that had this rank when the district was created."""
    return ids.format_id("level", town.levels[rank])


def code_of(answer: Any) -> list[tuple[int, str]]:
    """Returns the status and the codes of an answer that refuses something."""
    problem = answer.json()
    codes = [each["code"] for each in problem.get("violations", ())]
    return [(answer.status_code, code) for code in codes or [problem["code"]]]


async def levels(asks: Caller, **params: Any) -> dict[str, int]:
    """Returns the ranks of the levels by name."""
    return {each["name"]: each["rank"] for each in await asks.items("/v1/levels", **params)}


async def raised(asks: Caller, town: Town, area: str) -> Any:
    """Returns the answer to a command that raises a concern about amy in an area."""
    concern = {"student": ids.format_id("student", town.students["amy"]), "area": area, "description": "A worry."}
    return await asks.post("/v1/concerns", concern)


async def test_a_district_adds_renames_and_orders_its_areas_in_versions_of_the_playbook(
    app: FastAPI, north: Town
) -> None:
    """Each change of a district's areas publishes a version of the playbook and records an event.

    Every earlier version can still be read.
    """
    asks = caller(app, north)
    before = (await asks.get("/v1/playbook")).json()["number"]
    added = await asks.post("/v1/areas", {"code": "ela.writing", "name": "Writing"})
    assert added.status_code == 201, added.text
    area = added.json()
    assert (area["parent"], area["secured"], area["retired_at"]) == (are(north, "ela"), False, None)
    renamed = await asks.post(f"/v1/areas/{area['id']}/rename", {"name": "Written language"})
    assert (renamed.json()["name"], renamed.json()["code"]) == ("Written language", "ela.writing")
    assert (await asks.post("/v1/areas/order", {"areas": ["math", area["id"]]})).status_code == 204
    shown = [each["code"] for each in await asks.items("/v1/areas")]
    assert shown[:3] == ["math", "ela.writing", "attendance"]
    assert (await raised(asks, north, "ela.writing")).status_code == 201
    versions = await asks.items("/v1/playbook-versions")
    names = [
        {each["code"]: each["name"] for each in version["areas"]}.get("ela.writing")
        for version in versions
        if version["number"] >= before
    ]
    assert names == [None, "Writing", "Written language", "Written language"]
    assert [each["code"] for each in versions[-1]["areas"]][:2] == ["math", "ela.writing"]
    one = (await asks.get(f"/v1/playbook-versions/{versions[-1]['id']}")).json()
    assert one == versions[-1]
    assert {"rule": "level-change", "parameters": {}, "measure": "referrals", "area": None, "school": None} in one[
        "rules"
    ]
    feed = (await asks.get("/v1/events", type="playbook.published")).json()["items"]
    assert [each["data"]["playbook"] for each in feed] == [each["id"] for each in versions[-3:]]


async def test_a_retired_area_takes_nothing_new_and_what_is_in_it_stays(app: FastAPI, north: Town) -> None:
    """A retired area accepts no new records, and existing records stay in it."""
    asks = caller(app, north)
    concern = (await raised(asks, north, "ela.fluency")).json()
    await asks.post(f"/v1/concerns/{concern['id']}/accept", {"because": "Screening."})
    support = (await asks.post("/v1/supports", plan(north))).json()
    assert code_of(await asks.post(f"/v1/areas/{are(north, 'ela')}/retire", {})) == [(409, "area.has_parts")]
    retired = await asks.post(f"/v1/areas/{are(north, 'ela.fluency')}/retire", {})
    assert retired.status_code == 200
    assert retired.json()["retired_at"]
    assert "ela.fluency" not in {each["code"] for each in await asks.items("/v1/areas", in_force=True)}
    refusals = [
        await raised(asks, north, "ela.fluency"),
        await asks.post("/v1/supports", plan(north)),
        await asks.post("/v1/supports", plan(north, area="ela.comprehension", concerns=[], measure="orf")),
        await asks.post("/v1/supports", plan(north, concerns=[concern["id"]])),
        await asks.post(
            "/v1/measures",
            {
                **{"code": "new", "name": "New", "area": "ela.fluency", "unit": "words", "direction": "up"},
                **{"lowest": 0, "highest": 9},
            },
        ),
    ]
    assert [answer.status_code for answer in refusals] == [422, 422, 201, 422, 422]
    assert code_of(refusals[1]) == [(422, "area.not_in_force")]
    assert (await asks.get(f"/v1/supports/{support['id']}")).json()["area"] == are(north, "ela.fluency")
    assert len(await asks.items("/v1/supports", area="ela.fluency")) == 1
    changed = await asks.post(f"/v1/supports/{support['id']}/change", MORE)
    assert changed.status_code == 200, changed.text
    assert code_of(await asks.post("/v1/areas", {"code": "ela.fluency", "name": "Again"})) == [(409, "area.taken")]
    restored = await asks.post(f"/v1/areas/{are(north, 'ela.fluency')}/restore", {})
    assert restored.json()["retired_at"] is None
    assert (await raised(asks, north, "ela.fluency")).status_code == 201


async def test_an_area_below_a_secured_one_is_secured_with_it(app: FastAPI, north: Town) -> None:
    """An area below a secured one is secured too. It needs the same scope, and cannot be made open."""
    asks = caller(app, north)
    added = await asks.post("/v1/areas", {"code": "sel.belonging", "name": "Belonging"})
    assert added.status_code == 201
    concern = (await raised(asks, north, "sel.belonging")).json()
    without = caller(app, north, CLIENT_SCOPES - {"area:sel"})
    assert (await without.get(f"/v1/concerns/{concern['id']}")).status_code == 404
    assert (await raised(without, north, "sel.belonging")).status_code == 403
    assert (
        await asks.post(f"/v1/areas/{are(north, 'sel')}/rename", {"name": "S", "secured": False})
    ).status_code == 422
    graphql = (await query_data(north, ADD, {"input": {"code": "staffing", "name": "Staffing", "secured": True}}))[
        "addArea"
    ]
    assert graphql["problems"] == []
    assert code_of(await raised(asks, north, "staffing")) == [(403, "area.secured")]


async def test_an_invalid_area_is_refused_with_every_reason(app: FastAPI, north: Town) -> None:
    """An invalid area is refused in both APIs, with every violation, such as a parent area that does not exist."""
    asks = caller(app, north)
    answer = await asks.post("/v1/areas", {"code": "ELA:x", "name": " "})
    assert code_of(answer) == [(422, "shape.string_too_short"), (422, "area.code")]
    answer = await asks.post("/v1/areas", {"code": "art.drawing", "name": "Drawing"})
    assert code_of(answer) == [(422, "area.parent_unknown")]
    payload = (await query_data(north, ADD, {"input": {"code": "art.drawing", "name": "Drawing"}}))["addArea"]
    assert payload == {"area": None, "problems": [{"code": "area.parent_unknown", "pointer": "/code"}]}
    answer = await asks.post("/v1/areas/order", {"areas": ["math", "none", "math"]})
    assert code_of(answer) == [(422, "area.unknown"), (422, "area.doubled")]


async def test_a_district_adds_orders_and_retires_its_levels(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A district adds, orders and retires levels. Two active levels have different ranks, and supports keep their
    level.
    """
    asks = caller(app, north)
    support = (await asks.post("/v1/supports", plan(north))).json()
    added = await asks.post("/v1/levels", {"name": "Strategic", "rank": 2})
    assert added.status_code == 201
    assert await levels(asks) == {"Core": 1, "Strategic": 2, "Targeted": 3, "Intensive": 4}
    assert (await asks.get(f"/v1/supports/{support['id']}")).json()["level"] == lev(north, 2)
    assert code_of(await asks.post("/v1/levels", {"name": "Beyond", "rank": 9})) == [(422, "level.rank")]
    with monkeypatch.context() as patched:
        patched.setattr("app.playbook.structure.levels.MAX_LEVELS", 4)
        assert code_of(await asks.post("/v1/levels", {"name": "Fifth"})) == [(409, "level.too_many")]
    order = [lev(north, 1), lev(north, 2), added.json()["id"], lev(north, 3)]
    payload = await query_data(north, ORDER, {"input": {"levels": order}})
    assert payload["orderLevels"] == {"problems": []}
    assert await levels(asks) == {"Core": 1, "Targeted": 2, "Strategic": 3, "Intensive": 4}
    twice = await asks.post("/v1/levels/order", {"levels": [order[0], order[0]]})
    assert code_of(twice) == [(422, "level.doubled")]
    renamed = await asks.post(f"/v1/levels/{lev(north, 3)}/rename", {"name": "Tier 3"})
    assert renamed.json()["name"] == "Tier 3"
    retired = await asks.post(f"/v1/levels/{lev(north, 2)}/retire", {})
    assert retired.status_code == 200
    assert await levels(asks, in_force=True) == {"Core": 1, "Strategic": 3, "Tier 3": 4}
    assert code_of(await asks.post("/v1/supports", plan(north, level=2))) == [(422, "level.unknown")]
    assert len(await asks.items("/v1/supports", level=2)) == 1
    change = {"because": "More.", "confirm_rate": True}
    intensified = {"kind": "intensify", "support": support["id"], "change": change}
    decided = await asks.post(
        "/v1/decisions",
        intensified,
    )
    assert decided.status_code == 201, decided.text
    phases = (await asks.get(f"/v1/supports/{support['id']}")).json()["phases"]
    assert phases[-1]["level"] == added.json()["id"]
    assert (await asks.post("/v1/levels/order", {"levels": [order[0], order[2], order[3]]})).status_code == 204
    restored = (await asks.post(f"/v1/levels/{lev(north, 2)}/restore", {})).json()
    assert restored["rank"] == 4
    ranks = [
        [(each["rank"], each["name"]) for each in edge["node"]["levels"]]
        for edge in (await query_data(north, VERSIONS))["playbookVersions"]["edges"]
    ]
    assert ranks[0] == [(1, "Core"), (2, "Targeted"), (3, "Intensive")]
    assert ranks[-1] == [(1, "Core"), (2, "Strategic"), (3, "Tier 3"), (4, "Targeted")]


async def test_changes_at_the_same_time_each_publish_a_version(app: FastAPI, north: Town) -> None:
    """Four areas that are created at the same time are all accepted, and each raises the playbook's version by one."""
    asks = caller(app, north)
    first = (await asks.get("/v1/playbook")).json()["number"]
    answers = await asyncio.gather(
        *(asks.post("/v1/areas", {"code": f"area-{number}", "name": "Another"}) for number in range(4))
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    assert (await asks.get("/v1/playbook")).json()["number"] == first + 4
    assert len({answer.json()["position"] for answer in answers}) == 4


async def test_only_who_may_publish_the_playbook_changes_areas(app: FastAPI, north: Town) -> None:
    """A client that can only read areas and levels cannot change them."""
    reads = caller(app, north, frozenset({"playbook:read"}))
    assert (await reads.post("/v1/areas", {"code": "art", "name": "Art"})).status_code == 403
    assert (await reads.post(f"/v1/levels/{lev(north, 2)}/retire", {})).status_code == 403
    assert (await reads.get("/v1/playbook-versions")).status_code == 200


async def test_a_support_has_an_area_of_its_own(app: FastAPI, north: Town) -> None:
    """A support has the area that its request names, or else that of its first concern, or else that of its measure."""
    asks = caller(app, north)
    concern = (await raised(asks, north, "ela.comprehension")).json()
    await asks.post(f"/v1/concerns/{concern['id']}/accept", {"because": "Screening."})
    answers = [
        await asks.post("/v1/supports", plan(north)),
        await asks.post("/v1/supports", plan(north, concerns=[concern["id"]])),
        await asks.post("/v1/supports", plan(north, concerns=[concern["id"]], area="behaviour")),
    ]
    areas = [answer.json()["area"] for answer in answers]
    assert areas == [are(north, code) for code in ("ela.fluency", "ela.comprehension", "behaviour")]
    assert [each["id"] for each in await asks.items("/v1/supports", area="behaviour")] == [answers[2].json()["id"]]
