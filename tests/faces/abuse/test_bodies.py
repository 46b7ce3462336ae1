"""Tests request bodies: how much time and memory one may cost, and that scopes are checked before a body is parsed."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.core import ids
from app.core.errors import MAX_VIOLATIONS
from app.core.ids import new_id
from app.rest.route import Route
from app.settings import Settings
from tests.faces.abuse.bodies import BODIES
from tests.faces.abuse.measure import pace
from tests.faces.direct import send
from tests.faces.rest_town import caller
from tests.house.walk import operations
from tests.house.walk_knows import CONTENT, OPEN, WITHOUT_SCOPE
from tests.processes import REPOSITORY, environment
from tests.town import Town

MB = 1 << 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes every body of `BODIES` to a file, and returns the folder."""
    folder = tmp_path_factory.mktemp("bodies")
    for name, make in BODIES.items():
        (folder / name).write_bytes(make())
    return folder


async def test_no_body_costs_much_time_or_memory(
    app: FastAPI, north: Town, settings: Settings, corpus: Path, record_property: Any
) -> None:
    """A body costs under half a second and 50 MB beyond its own size, with all scopes and with none.

    On a slow machine it may take longer, in proportion.
    """
    tokens = {"every scope": caller(app, north).token, "no scope": caller(app, north, frozenset()).token}
    lines = await asyncio.to_thread(_measured, settings, corpus, tokens)
    assert {line["body"] for line in lines} == set(BODIES)
    for what in ("seconds", "grown"):
        most = max(lines, key=lambda line: line[what])
        record_property(f"most {what}", most)
        print(f"most {what}: {most}")  # noqa: T201  # a figure for the log
    most_seconds = 0.5 * pace()
    for line in lines:
        assert line["grown"] < 50 * MB, line
        assert line["seconds"] < most_seconds, line
        assert line["status"] < 500, line
        assert line["answered"] < 64 * 1024, line
        assert line["violations"] <= MAX_VIOLATIONS + 1, line
        if line["token"] == "no scope" and line["route"].startswith("/v1"):
            assert line["status"] == 403, line


def _measured(settings: Settings, corpus: Path, tokens: dict[str, str]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.faces.abuse.measure_bodies", str(corpus)]
    ended = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(settings),
        input=json.dumps(tokens) + "\n",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    measured: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return measured


def test_every_route_with_a_body_checks_scopes_before_it(app: FastAPI) -> None:
    """Every route with a body or a token uses the class that checks the scopes before it reads the body."""
    routes = {route.operation_id: route for route in _routes(app.routes)}
    for operation in operations(app):
        if operation.name in OPEN:
            continue
        route = routes[operation.name]
        assert isinstance(route, Route), operation.name
        assert route.stated_scopes or operation.name in WITHOUT_SCOPE, operation.name


@pytest.mark.parametrize("scopes", [frozenset[str](), frozenset({"roster:read"})], ids=["no scope", "another scope"])
async def test_the_scope_is_judged_before_the_body(app: FastAPI, north: Town, scopes: frozenset[str]) -> None:
    """A caller without a token or the scope is refused before the body is parsed, whatever the method.

    The body is nested too deeply, so a route that parsed it first would give another answer. An uploaded file is not
    even read.
    """
    few, methods = caller(app, north, scopes), set[str]()
    for operation in operations(app):
        if operation.reads or operation.name in OPEN | WITHOUT_SCOPE:
            continue
        path = operation.path.replace("{", "").replace("}", "")
        for bearer, status in ((few.token, 403), ("x", 401)):
            file = File()
            content, kind = (
                (file, "application/zip") if operation.name in CONTENT else (b"[" * 1000, "application/json")
            )
            headers = {"Authorization": f"Bearer {bearer}", "Content-Type": kind}
            answer = await send(app, operation.method, path, headers, content=content)
            assert answer.status_code == status, (operation.name, answer.text)
            assert answer.json()["violations"] == []
            assert not file.is_read, operation.name
        methods.add(operation.method)
    assert methods >= {"POST", "PATCH", "PUT", "DELETE"}


class File:
    """A file that is sent in parts. `is_read` is whether the app has read any part of it."""

    is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yields the parts of the file."""
        self.is_read = True
        for _ in range(3):
            yield b"x" * MB


async def test_a_hundred_violations_and_then_how_many_more(app: FastAPI, north: Town) -> None:
    """A response lists the first hundred violations in order, and its detail states how many more there are."""
    rules = [{"rule": 1}] * 140
    answer = await caller(app, north).post("/v1/playbook/preview", {"rules": rules})
    assert answer.status_code == 422
    problem = answer.json()
    assert [one["pointer"] for one in problem["violations"]] == [f"/rules/{number}/rule" for number in range(100)]
    assert problem["detail"].endswith("and 40 more are not.")
    few = await caller(app, north).post("/v1/playbook/preview", {"rules": rules[:100]})
    assert len(few.json()["violations"]) == 100
    assert "more" not in few.json()["detail"]


async def test_a_long_map_is_not_validated_to_its_end(app: FastAPI, north: Town) -> None:
    """A long map with wrong pairs is validated only up to the maximum number of violations."""
    path = f"/v1/sync-runs/{ids.format_id('run', new_id())}/rekey"
    good = {"old": "a", "new": "b"}
    pairs: list[Any] = [good] * 1000
    pairs[450], pairs[999] = good | {"old": ""}, {"old": "a\x00"}
    answer = await caller(app, north).post(path, {"map": pairs})
    assert {(one["pointer"], one["code"]) for one in answer.json()["violations"]} == {
        ("/map/450/old", "shape.string_too_short"),
        ("/map/999/old", "shape.nul"),
        ("/map/999/new", "shape.missing"),
    }
    answer = await caller(app, north).post(path, {"map": [{}] * 10_000})
    assert answer.json()["detail"].endswith("and 300 more are not.")
    assert (await caller(app, north).post(path, {"map": [good] * 10_000})).status_code == 404


async def test_parameters_are_bounded_as_bodies_are(app: FastAPI, north: Town) -> None:
    """Too many query parameters are refused with at most a hundred violations.

    The test sends a thousand misspelt filters, and one filter a thousand times.
    """
    north_client = caller(app, north)
    unknown = await north_client.get("/v1/students", **{f"x{number}": 1 for number in range(1000)})
    assert unknown.status_code == 400
    assert len(unknown.json()["violations"]) == 100
    assert "900 more" in unknown.json()["detail"]
    repeated = await north_client.get("/v1/events", type=["concern.raised"] * 1000)
    assert repeated.status_code == 400


@pytest.mark.parametrize("name", ["a", "ä", "limit"])
async def test_an_address_with_very_many_parameters_is_not_read(app: FastAPI, north: Town, name: str) -> None:
    """An address with more than a thousand parameters is refused before any of them is decoded or checked.

    To decode and check 15,000 of them took a quarter of a second, in which the process answered nobody.
    """
    for count, code in ((1000, "malformed"), (1001, "query.too_many"), (7_000, "query.too_many")):
        refused = await caller(app, north).get("/v1/students", **{name: ["1"] * count})
        assert (refused.status_code, refused.json()["code"]) == (400, code), count


def test_every_list_and_every_map_that_comes_in_has_a_bound(app: FastAPI) -> None:
    """In the contract, every list in a request and every object without fixed keys has a maximum size."""
    contract = app.openapi()
    unbound: list[str] = []
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            shapes = [one["schema"] for one in operation.get("parameters", ())]
            shapes += [one["schema"] for one in operation.get("requestBody", {}).get("content", {}).values()]
            for shape in shapes:
                unbound += [f"{method} {path}: {where}" for where in _unbound(contract, shape)]
    assert unbound == []
    planted = {"properties": {"a": {"type": "array", "items": {}}, "b": {"type": "object"}}}
    assert _unbound(contract, planted) == ["/a", "/b"]


def _routes(routes: Any) -> Any:
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        elif hasattr(route, "effective_candidates"):
            yield from _routes(one.original_route for one in route.effective_candidates())


def _unbound(contract: Any, shape: Any, at: str = "") -> list[str]:
    if "$ref" in shape:
        return _unbound(contract, contract["components"]["schemas"][shape["$ref"].rsplit("/", 1)[-1]], at)
    unbounded = []
    if shape.get("type") == "array":
        unbounded += [at] if "maxItems" not in shape else []
        unbounded += _unbound(contract, shape["items"], f"{at}/*")
    elif shape.get("type") == "object" and not shape.get("properties"):
        unbounded += [at] if "maxProperties" not in shape else []
    for name, inner in shape.get("properties", {}).items():
        unbounded += _unbound(contract, inner, f"{at}/{name}")
    for inner in shape.get("anyOf", ()):
        unbounded += _unbound(contract, inner, at)
    return unbounded


@pytest.mark.parametrize("code", ["body.too_deep", "body.too_many_values", "body.too_many_keys"])
async def test_a_body_beyond_the_limits_says_which(app: FastAPI, north: Town, code: str) -> None:
    """A body beyond a limit is answered with 422 and the code of this limit, in both APIs."""
    body = {
        "body.too_deep": BODIES["deep nesting"],
        "body.too_many_values": BODIES["a list of invalid items"],
        "body.too_many_keys": BODIES["unknown keys"],
    }[code]()
    headers = {"Content-Type": "application/json"}
    answer = await caller(app, north).ask("POST", "/v1/supports", content=body, headers=headers)
    assert answer.status_code == 422
    assert [one["code"] for one in answer.json()["violations"]] == [code]
    graphql = await caller(app, north).ask("POST", "/graphql", content=body, headers=headers)
    assert graphql.json()["errors"][0]["extensions"]["code"] == code
