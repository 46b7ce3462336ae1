"""Tests that `me` shows an operation as allowed if, and only if, the service allows this operation."""

from fastapi import FastAPI

from app.core import ids
from tests.faces.faulty import ask_graphql
from tests.faces.rest_town import caller
from tests.house.walk import operations
from tests.house.walk_knows import OPEN, STREAMS
from tests.town import Town

QUERY = "{ me { clientId districtId personId reach schoolIds caseload scopes securedAreas queries mutations } }"


async def test_a_client_learns_who_it_is(app: FastAPI, north: Town) -> None:
    """A client reads its id, district, reach and scopes, in both APIs and without a permission."""
    client = caller(app, north, frozenset({"concern:read", "area:sel"}))
    me = (await client.get("/v1/me")).json()
    assert me["client"] == {"id": ids.format_id("client", north.client_id), "name": "test client"}
    assert me["district"]["id"] == ids.format_id("district", north.district_id)
    assert (me["person"], me["reach"], me["schools"], me["caseload"]) == (None, "district", [], None)
    assert (me["scopes"], me["secured_areas"]) == (["concern:read"], ["sel"])
    assert (await caller(app, north, frozenset({"act-for"})).get("/v1/me")).status_code == 200


async def test_a_person_learns_their_caseload(app: FastAPI, north: Town) -> None:
    """A person's token has only the rights that both its client and the person have."""
    teacher = ids.format_id("person", north.staff["teacher"])
    me = (await caller(app, north, act_for=teacher).get("/v1/me")).json()
    assert (me["person"], me["reach"], me["caseload"]) == (teacher, "caseload", 1)
    assert "concern:raise" in me["scopes"]
    assert "webhook:manage" not in me["scopes"]
    administrator = ids.format_id("person", north.staff["administrator"])
    me = (await caller(app, north, act_for=administrator).get("/v1/me")).json()
    assert (me["reach"], me["schools"]) == ("schools", [ids.format_id("org", north.schools[0])])
    data = (await ask_graphql(app, north, QUERY)).json()["data"]["me"]
    assert data["reach"] == "DISTRICT"
    assert data["districtId"] == ids.format_id("district", north.district_id)


async def test_the_allowed_operations_are_those_that_are_allowed(app: FastAPI, north: Town) -> None:
    """Each read that `me` lists as allowed succeeds. Every other read gives 403, because a scope is missing."""
    few = caller(app, north, frozenset({"concern:read", "support:read"}))
    allowed = set((await few.get("/v1/me")).json()["operations"])
    everything = set((await caller(app, north).get("/v1/me")).json()["operations"])
    assert everything == {one.name for one in operations(app)} - OPEN | STREAMS.keys()
    assert {"list_concerns", "get_me"} <= allowed < everything
    for operation in operations(app):
        if operation.reads and not operation.names("path") and operation.name not in OPEN:
            status = (await few.get(operation.path)).status_code
            assert (status != 403) is (operation.name in allowed), operation.name


async def test_the_allowed_mutations_follow_the_scopes(app: FastAPI, north: Town) -> None:
    """The list of allowed mutations follows from the scopes of the client."""
    everything = (await ask_graphql(app, north, QUERY)).json()["data"]["me"]
    assert "raiseConcern" in everything["mutations"]
    reader = caller(app, north, frozenset({"concern:read"}))
    few = (await reader.post("/graphql", {"query": QUERY})).json()["data"]["me"]
    assert few["mutations"] == []
    assert "concerns" in few["queries"]
    assert "students" not in few["queries"]
