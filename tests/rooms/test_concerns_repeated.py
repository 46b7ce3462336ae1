"""Tests of concerns that are raised again after they were dismissed."""

from typing import Any

from fastapi import FastAPI

from tests.faces.graphql_face import query_data
from tests.faces.rest_town import Caller, caller
from tests.rooms.test_loop import stu
from tests.town import Town

LISTED = "{ concerns(first: 10) { edges { node { id repeatsId } } } }"


async def raised(asks: Caller, town: Town, area: str = "ela.fluency", student: str = "amy") -> dict[str, Any]:
    """Creates a concern, and returns it."""
    body = {"student": stu(town, student), "area": area, "description": "Reads slowly."}
    answer = await asks.post("/v1/concerns", body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_concern_raised_again_is_linked_to_the_dismissed_one(app: FastAPI, north: Town) -> None:
    """A concern that is raised again is linked to the dismissed one, so that readers see that it is not the first."""
    asks = caller(app, north)
    first = await raised(asks, north)
    assert first["repeats"] is None
    assert (await raised(asks, north))["repeats"] is None
    latest = await raised(asks, north)
    assert (await asks.post(f"/v1/concerns/{latest['id']}/dismiss", {"because": "New in class."})).is_success
    repeated = await raised(asks, north)
    assert repeated["repeats"] == latest["id"]
    assert (await raised(asks, north, area="math"))["repeats"] is None
    assert (await raised(asks, north, student="ben"))["repeats"] is None
    assert (await raised(asks, north))["repeats"] is None
    nodes = [edge["node"] for edge in (await query_data(north, LISTED))["concerns"]["edges"]]
    assert [node["id"] for node in nodes if node["repeatsId"] == latest["id"]] == [repeated["id"]]
