"""Tests that reads which bypass the framework have the same responses as through the framework."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from starlette.routing import Match

from app.rest import direct
from app.rest.direct import DirectRead, GetPaths
from app.rest.route import Route
from tests.faces.rest_town import Caller, caller
from tests.house.full_district import FullDistrict
from tests.house.walk import Operation, operations, own_request
from tests.house.walk_knows import OPEN

QUERIES = (
    *("limit=3", "limit=x", "limit=0", "limit=", "limit=1&limit=2", "unknown=1", "unknown=1&limit=x", "after=nope"),
    *("fields=id", "fields=nope", "fields=%00", "expand=nope", "expand=student&fields=id", "include_total=true"),
    *(
        "sort=nope",
        "updated_since=2026-01-01",
        "updated_since=2026-01-01T00:00:00Z",
        "q=a%20b",
        "limit=1&include_total=1",
    ),
)
"""Valid and invalid query strings; each is sent to each of `VARIED`."""
VARIED = ("list_students", "list_concerns", "get_support", "list_sessions")
UNTOLD = ("date", "trace-id", "ratelimit")
"""The headers that differ between two responses to the same request."""


async def _asked(client: Caller, path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    # A compressed problem has another length with each trace id.
    answer = await client.ask("GET", path, headers={"Accept-Encoding": "identity", **headers})
    body: Any = answer.content
    if answer.headers.get("content-type") == "application/problem+json":
        body = orjson.loads(body) | {"trace_id": ""}
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in UNTOLD}, body


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns a list. When a route is read directly, its path is added to this list."""
    routes: list[str] = []
    answer = DirectRead.answer

    async def noted(read: DirectRead, request: Any, values: dict[str, Any]) -> Any:
        routes.append(request.scope["route"].path)
        return await answer(read, request, values)

    monkeypatch.setattr(DirectRead, "answer", noted)
    return routes


def _paths(client: Caller, read: Operation, district: FullDistrict) -> Iterator[tuple[str, dict[str, str]]]:
    path = own_request(read, district).path
    yield path, {}
    if read.name in VARIED:
        yield from ((f"{path}{'&' if '?' in path else '?'}{query}", {}) for query in QUERIES)
        yield path, {"If-None-Match": "*"}
        yield path, {"Aimline-Act-For": "nobody"}
        yield path, {"Authorization": "Bearer none"}


async def test_a_direct_read_is_answered_as_through_the_framework(
    app: FastAPI, full_north: FullDistrict, answered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that is answered directly has the same rows, ETags, links, scopes and violations as through the
    framework.
    """
    client = caller(app, full_north.town)
    asked = [
        (path, headers)
        for read in operations(app)
        if read.reads and read.name not in OPEN
        for path, headers in _paths(client, read, full_north)
    ]
    at_once = [await _asked(client, path, **headers) for path, headers in asked]
    derived = {route.path for route in app.routes if isinstance(route, Route) and route.direct is not None}
    assert derived
    assert set(answered) == derived
    monkeypatch.setattr(direct.GetPaths, "find", lambda _paths, _path: (None, {}))
    answered.clear()
    for (path, headers), response in zip(asked, at_once, strict=True):
        assert response == await _asked(client, path, **headers), path
    assert answered == []


async def test_a_path_leads_to_the_route_that_the_framework_would_choose(
    app: FastAPI, full_north: FullDistrict
) -> None:
    """A path leads to the route that the framework would choose, even if a fixed word stands where an id could be."""
    paths = GetPaths(app.routes)
    walked = [
        own_request(read, full_north).path.partition("?")[0]
        for read in operations(app)
        if read.reads and read.name not in OPEN
    ]
    for path in (
        *walked,
        *(route.path for route in app.routes if isinstance(route, Route)),
        "/",
        "",
        "/v1",
        "/v1/no/no",
    ):
        scope = {"type": "http", "method": "GET", "path": path}
        chosen = next((route for route in app.routes if route.matches(scope)[0] is Match.FULL), None)
        found, values = paths.find(path)
        if isinstance(chosen, Route) or found is not None:
            assert found is chosen, path
            assert chosen is not None
            assert values == chosen.matches(scope)[1]["path_params"], path
