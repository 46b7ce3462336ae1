"""Tests what both APIs answer to a header `Aimline-Act-For` that is wrong, or that is sent twice."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from tests.faces.rest_town import caller, plain
from tests.town import Town

HEADER = "Aimline-Act-For"
QUERY = {"query": "{ me { personId } }"}


async def _both(app: FastAPI, town: Town, *people: str) -> tuple[httpx.Response, httpx.Response]:
    """Returns the answers of REST and of GraphQL to a request with one header for each of these people."""
    headers = [("Authorization", f"Bearer {caller(app, town).token}"), *((HEADER, person) for person in people)]
    async with plain(app) as client:
        return (
            await client.get("/v1/me", headers=headers),
            await client.post("/graphql", json=QUERY, headers=[*headers, ("Accept", "application/json")]),
        )


def _of_graphql(answer: httpx.Response) -> dict[str, Any]:
    extensions: dict[str, Any] = answer.json()["errors"][0]["extensions"]
    return extensions


@pytest.mark.parametrize("person", ["x", "", ids.format_id("person", UUID(int=7)), "sis:sis:nobody"])
async def test_a_wrong_person_is_the_same_problem_in_both_apis(app: FastAPI, north: Town, person: str) -> None:
    """Both APIs call the request malformed, and point at the header by its name."""
    rest, graphql = await _both(app, north, person)
    problem, extensions = rest.json(), _of_graphql(graphql)
    assert (rest.status_code, graphql.status_code) == (400, 400)
    assert (problem["code"], extensions["code"]) == ("malformed", "malformed")
    assert [one["pointer"] for one in problem["violations"]] == [f"/{HEADER}"]
    assert [one["pointer"] for one in extensions["problems"]] == [f"/{HEADER}"]


async def test_two_people_are_refused(app: FastAPI, north: Town) -> None:
    """A request that names two people is refused.

    Otherwise a header that a client adds in front of that of its back end would decide whose students are shown.
    """
    teacher, administrator = (ids.format_id("person", north.staff[one]) for one in ("teacher", "administrator"))
    for people in ((teacher, administrator), (administrator, administrator)):
        rest, graphql = await _both(app, north, *people)
        assert (rest.status_code, graphql.status_code) == (400, 400)
        assert rest.json()["violations"][0]["code"] == "header.repeated"
        assert _of_graphql(graphql)["problems"][0]["code"] == "header.repeated"
    rest, graphql = await _both(app, north, teacher)
    assert rest.json()["person"] == graphql.json()["data"]["me"]["personId"] == teacher
