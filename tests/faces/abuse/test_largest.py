"""Tests the largest reads that are allowed, and every other request: none takes much memory or occupies the process.

The district has so many rows that every page is full, and texts as long as allowed.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI

from app.graphql.limits import Limits
from app.resources import run
from app.resources.compile.plan import Plans
from app.settings import Settings
from tests.faces.abuse.blocking import watched
from tests.faces.abuse.bodies import BODIES
from tests.faces.abuse.crowd import QUERIES, TOO_LONG, crowd
from tests.faces.abuse.measure import pace, post
from tests.faces.graphql_face import MODERN
from tests.faces.rest_town import caller
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Operation, command_turn, operations, own_filters, own_request
from tests.house.walk_knows import CONTENT, OPEN
from tests.processes import REPOSITORY, environment
from tests.town import Town

pytestmark = pytest.mark.long

MB = 1 << 20
MOST_MEMORY = 50 * MB
LONGEST = 0.1
"""The longest time in seconds for which a request may occupy the event loop."""
TRIES = 4
"""How often a query is measured at most: other processes can make the same work take longer."""
LARGE = ("a list of invalid items", "unknown keys")
"""The bodies that are sent to every route with a body; `test_bodies.py` sends all of them to some routes."""


@pytest.fixture
async def crowded(north: Town) -> FullDistrict:
    """Returns a district with rows of every kind, and so many of some kinds that their pages are full."""
    district = await fill_district(north)
    await crowd(district)
    return district


async def test_the_costliest_queries_leave_others_their_turn(
    app: FastAPI, crowded: FullDistrict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No query within the limits of cost and length occupies the event loop for a tenth of a second.

    Processor time is measured, because the machine may be busy. A query of thirty pages once took a quarter of a second
    to compile, and then a tenth to write its cursors, during which the process answered nobody.
    """
    token, costs = caller(app, crowded.town).token, []
    await post(app, token, b'{"query": "{ me { clientName } }"}')
    for name, query in QUERIES.items():
        stretches: list[float] = []
        for attempt in range(TRIES):
            monkeypatch.setattr(run, "PLANS", Plans())
            body = json.dumps({"query": query + " " * attempt}).encode()  # no document is known already
            async with watched() as blocking:
                answer = await post(app, token, body)
            stretches.append(blocking.longest)
            expected = (400, "answer.too_large") if name in TOO_LONG else (200, None)
            assert (answer.status, answer.code) == expected, (name, answer.body[:500])
            costs.append(answer.content["extensions"]["cost"])
            if stretches[-1] < LONGEST * pace():
                break
        print(f"{name}: {[round(each * 1000) for each in stretches]} ms")  # noqa: T201  # a figure for the log
        assert min(stretches) < LONGEST * pace(), (name, stretches)
    assert max(costs) == Limits().cost


async def test_no_request_takes_much_memory(
    app: FastAPI, crowded: FullDistrict, settings: Settings, tmp_path: Path, record_property: Any
) -> None:
    """Every route of REST, and the largest queries of GraphQL, take under 50 MB beyond the body of the request.

    Lists are read with the largest page and with every expansion. Every route with a body gets large bodies.
    """
    token = caller(app, crowded.town).token
    requests = list(_requests(app, crowded, token))
    (tmp_path / "requests").write_text(json.dumps(requests))
    lines = await asyncio.to_thread(_measured, settings, tmp_path / "requests")
    most = max(lines, key=lambda line: line["grown"] - line["sent"])
    record_property("most memory", most)
    print(f"{len(lines)} requests, the most memory: {most}")  # noqa: T201  # a figure for the log
    assert {line["name"].split(":")[0] for line in lines} >= {one.name for one in operations(app)} - OPEN
    assert [line for line in lines if line["grown"] - line["sent"] >= MOST_MEMORY] == []
    assert [line for line in lines if line["status"] >= 500] == []


def _requests(app: FastAPI, district: FullDistrict, token: str) -> Iterator[dict[str, Any]]:
    """Yields every read, first small and then as large as allowed, and then every command with large bodies."""
    authorization = {"Authorization": f"Bearer {token}"}
    known = [one for one in operations(app) if one.name not in OPEN]
    reads = [one for one in known if one.reads]
    for operation in reads:
        yield _sent(operation.name, "GET", own_request(operation, district).path, authorization, is_measured=False)
    for operation in reads:
        yield from _largest_reads(operation, district, authorization)
    accepted = {**authorization, "Accept": MODERN, "Content-Type": "application/json"}
    for name, query in QUERIES.items():
        yield _sent(f"graphql: {name}", "POST", "/graphql", accepted, json.dumps({"query": query}))
    for operation in sorted((one for one in known if not one.reads), key=command_turn):
        request = own_request(operation, district)
        headers = authorization | {"If-Match": "*"} | request.body.get("headers", {})
        if operation.body is not None and operation.name not in CONTENT:
            for name in LARGE:
                body = BODIES[name]().decode()
                as_json = {**headers, "Content-Type": "application/json"}
                yield _sent(f"{operation.name}: {name}", operation.method, request.path, as_json, body)
        content = request.body.get("content", b"")
        body = content.decode("latin-1") if request.json is None else json.dumps(request.json)
        kind = {} if request.json is None else {"Content-Type": "application/json"}
        yield _sent(operation.name, operation.method, request.path, headers | kind, body)


def _largest_reads(operation: Operation, district: FullDistrict, headers: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yields a read as it is, with its largest page, and with each filter and group of expansions on that page."""
    path = own_request(operation, district).path
    limits = [one["schema"] for one in operation.parameters if one["name"] == "limit" and one["in"] == "query"]
    page = {"limit": _maximum(limits[0])} if limits else {}
    yield _sent(operation.name, "GET", _address(path, page), headers)
    for request in own_filters(operation, district, together=True):
        if request.named not in ("limit", "fields"):
            yield _sent(
                f"{operation.name}: {request.named}", "GET", _address(request.path, page | request.params), headers
            )


def _maximum(schema: dict[str, Any]) -> int:
    return next(int(one["maximum"]) for one in schema.get("anyOf", [schema]) if "maximum" in one)


def _address(path: str, params: dict[str, Any]) -> str:
    return f"{path}?{urlencode(params, doseq=True)}" if params else path


def _sent(
    name: str, method: str, path: str, headers: dict[str, str], body: str = "", *, is_measured: bool = True
) -> dict[str, Any]:
    return {
        "name": name,
        "method": method,
        "path": path,
        "headers": headers,
        "body": body,
        "is_measured": is_measured,
    }


def _measured(settings: Settings, file: Path) -> list[dict[str, Any]]:
    limits = {"AIMLINE_DISTRICT_REQUESTS": "10000000", "AIMLINE_CLIENT_REQUESTS": "10000000"}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.faces.abuse.measure_requests", str(file)],
        cwd=REPOSITORY,
        env=environment(settings, **limits),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    measured: list[dict[str, Any]] = json.loads(ended.stdout.splitlines()[-1])
    return measured
