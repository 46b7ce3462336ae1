"""Tests problem responses: they list every error with its place, and never a submitted value."""

import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core import ids
from app.core.ids import new_id
from app.main import build
from app.settings import Settings
from tests.faces.direct import send
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.faces.spoiled import Place, places_of, places_with_wrong_shape, spoiled
from tests.house.full_district import FullDistrict, fill_district
from tests.house.walk import Operation, Request, operations, own_request
from tests.house.walk_knows import OPEN, WITHOUT_SCOPE
from tests.town import found_town

SECRET = "Zq7SubmittedValue"
PROBLEM = {"type", "code", "title", "status", "detail", "trace_id", "violations"}


@pytest.fixture(scope="module")
async def district(engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings) -> FullDistrict:
    """Returns a district with rows of all kinds."""
    return await fill_district(await found_town("north", engine, worker_engine, settings))


def commands(app: FastAPI) -> list[Operation]:
    """Returns every operation that takes a body."""
    return [one for one in operations(app) if one.body is not None and one.name not in OPEN]


WRONG = [SECRET, f"{SECRET}\x00", [SECRET], {"planted": SECRET}, f"stu_{SECRET}", f"sis:{SECRET}:{SECRET}", 10**30, -1]


async def test_no_error_shows_what_was_submitted(app: FastAPI, district: FullDistrict) -> None:
    """No error contains a submitted value, and no value causes a 500.

    Every field of every command gets values of every wrong kind. A value that the schema allows is sent in a request of
    its own.
    """
    north = caller(app, district.town)
    refused = 0
    for operation in commands(app):
        request = own_request(operation, district)

        async def send(body: Any, request: Request = request) -> httpx.Response:
            operation = request.operation
            answer = await north.ask(operation.method, request.path, **{**request.body, "json": body})
            where = (operation.name, body, answer.text)
            assert answer.status_code < 500, where
            if answer.status_code >= 400:
                assert SECRET.lower() not in answer.text.lower(), where
                assert answer.headers["content-type"] == "application/problem+json", where
                assert answer.json().keys() == PROBLEM, where
            return answer

        places, refused_alone = list(places_of(request.json)), set[Place]()
        for value in WRONG:
            wrong_shape = await places_with_wrong_shape(send, request.json, places, value)
            for place in places:
                if place not in wrong_shape or place not in refused_alone:
                    await send(spoiled(request.json, [place], value))
            refused_alone |= wrong_shape
            refused += len(wrong_shape)
    assert refused > 1000


async def test_no_read_breaks_or_shows_what_was_asked(app: FastAPI, district: FullDistrict) -> None:
    """No read causes an internal error, and no read that is refused repeats a submitted value.

    Every filter and every path is tried with values of every wrong kind.
    """
    north = caller(app, district.town)
    for operation in operations(app):
        if not operation.reads or operation.name in OPEN:
            continue
        path = own_request(operation, district).path

        async def read(filters: Any, operation: Operation = operation, path: str = path) -> httpx.Response:
            answer = await north.get(path, **filters)
            assert answer.status_code < 500, (operation.name, filters, answer.text)
            assert answer.is_success or SECRET not in answer.text, (operation.name, filters)
            return answer

        filters = dict.fromkeys(operation.names("query"), "")
        for value in (SECRET, f"{SECRET}\x00", f"stu_{SECRET}", f"sis:{SECRET}:{SECRET}\x00", str(2**70), "-1"):
            wrong_shape = await places_with_wrong_shape(read, filters, places_of(filters), value)
            for name in filters:
                if (name,) not in wrong_shape:
                    await read({name: value})
        for name in operation.names("path"):
            for value in (
                SECRET,
                f"sis:sis:{SECRET}%00",
                "%00",
                "stu_" + "z" * 26,
                "sis:sis",
                "%F0%9F%92%A9",
                "sis:sis:%00",
            ):
                answer = await north.get(operation.path.replace(f"{{{name}}}", value))
                assert answer.status_code == 404, (operation.name, value, answer.text)
                assert SECRET not in answer.text


async def test_everything_that_is_wrong_is_said_at_once(app: FastAPI, district: FullDistrict) -> None:
    """All violations of types and values are reported at once, with pointers and codes."""
    north = caller(app, district.town)
    shape = await north.post("/v1/concerns", {"student": 7, "raised_on": "x", "planted": 1})
    assert shape.status_code == 422
    assert {one["pointer"] for one in shape.json()["violations"]} == {
        *("/student", "/area", "/description", "/raised_on", "/planted")
    }
    plan = own_request(next(one for one in operations(app) if one.name == "plan_support"), district).json
    values = await north.post(
        "/v1/supports", plan | {"goal": 30.0, "goal_on": plan["starts_on"], "sessions_per_week": 0}
    )
    assert values.status_code == 422
    assert {one["pointer"] for one in values.json()["violations"]} == {"/goal", "/goal_on", "/sessions_per_week"}
    assert all(one["code"] and one["detail"].endswith(".") for one in values.json()["violations"])


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b"[]", b"null", b'{"a": NaN}', b'"x"', b"[" * 10_000])
async def test_a_body_that_is_no_json_object_is_refused(app: FastAPI, district: FullDistrict, body: bytes) -> None:
    """Broken JSON is refused as a bad request; valid JSON that is no object is refused as content that cannot be
    processed.
    """
    headers = {"content-type": "application/json"}
    answer = await caller(app, district.town).ask("POST", "/v1/concerns", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json().keys() == PROBLEM


async def test_unknown_parameters_are_refused_everywhere(app: FastAPI, district: FullDistrict) -> None:
    """Every operation refuses unknown parameters and names them in the pointer.

    Otherwise a misspelt filter would return all rows.
    """
    north = caller(app, district.town)
    for operation in operations(app):
        if operation.name in OPEN:
            continue
        request = own_request(operation, district)
        arguments: dict[str, Any] = {"json": request.json, "params": {"studnet": SECRET}}
        if operation.method == "PATCH":
            arguments["headers"] = {"If-Match": "*"}
        answer = await north.ask(operation.method, request.path, **arguments)
        assert answer.status_code == 400, (operation.name, answer.text)
        assert answer.json()["violations"][0]["pointer"] == "/studnet"
        assert SECRET not in answer.text


async def test_what_is_not_there_and_what_is_not_allowed_differ(app: FastAPI, district: FullDistrict) -> None:
    """A row that the caller may not see gives 404; an operation that the caller may not use gives 403, whatever the
    row.
    """
    few = caller(app, district.town, frozenset({"concern:read"}))
    seen = f"/v1/concerns/{district.shown['concern']}"
    assert (await few.get(seen)).status_code == 200
    refused = await few.post(f"{seen}/accept", {})
    assert (refused.status_code, refused.json()["code"]) == (403, "permission.missing")
    nowhere = ids.format_id("concern", new_id())
    for asks, status in ((caller(app, district.town), 404), (few, 403)):
        assert (await asks.post(f"/v1/concerns/{nowhere}/accept", {})).status_code == status
    assert (await few.get(f"/v1/concerns/{nowhere}")).status_code == 404


async def test_every_operation_asks_for_each_of_its_scopes(
    app: FastAPI, engine: AsyncEngine, worker_engine: AsyncEngine, settings: Settings
) -> None:
    """An operation is refused and does nothing if the token lacks any of the scopes that the contract states for it."""
    district = await fill_district(await found_town("north", engine, worker_engine, settings))
    contract = app.openapi()
    for operation in operations(app):
        if operation.name in OPEN:
            continue
        security = contract["paths"][operation.path][operation.method.lower()]["security"]
        (scopes,) = [one["oauth2"] for one in security]
        assert scopes or operation.name in WITHOUT_SCOPE, operation.name
        request = own_request(operation, district)
        for scope in scopes:
            without = caller(app, district.town, CLIENT_SCOPES - {scope})
            answer = await without.ask(operation.method, request.path, json=request.json)
            assert answer.status_code == 403, (operation.name, scope, answer.text)


async def test_a_route_or_a_verb_that_is_not_there_is_a_problem(app: FastAPI, district: FullDistrict) -> None:
    """An unknown route gives 404, and an unknown method gives 405.

    The body has the form of every error, and contains the trace id that is also in the header.
    """
    north = caller(app, district.town)
    for method, path, status in (("GET", "/v1/nothing", 404), ("PUT", "/v1/students", 405), ("GET", "/v2", 404)):
        answer = await north.ask(method, path)
        assert answer.status_code == status
        assert answer.json().keys() == PROBLEM
        assert answer.json()["trace_id"] == answer.headers["trace-id"]
    assert (await north.ask("PUT", "/v1/students")).headers["allow"] == "GET"


async def test_all_violations_are_found_in_one_stage(app: FastAPI, district: FullDistrict) -> None:
    """Query, headers and body are checked together, so that a client does not correct them one at a time."""
    answer = await caller(app, district.town).ask(
        "POST",
        "/v1/concerns?colour=red&shade=1",
        json={"student": 3, "area": "ela.fluency", "raised_on": "yesterday", "hue": 1},
        headers={"Idempotency-Key": "k" * 300},
    )
    assert answer.status_code == 422
    assert {(each["pointer"], each["code"]) for each in answer.json()["violations"]} == {
        ("/colour", "parameter.unknown"),
        ("/shade", "parameter.unknown"),
        ("/Idempotency-Key", "idempotency.key_malformed"),
        ("/student", "shape.string_type"),
        ("/description", "shape.missing"),
        ("/raised_on", "shape.day"),
        ("/hue", "shape.extra_forbidden"),
    }
    listed = await caller(app, district.town).ask("GET", "/v1/scores?since=soon&since=later&colour=red&until=never")
    assert listed.status_code == 400
    assert {each["pointer"] for each in listed.json()["violations"]} == {"/since", "/colour", "/until"}
    path = f"/v1/measures/{district.shown['measure']}"
    changed = await caller(app, district.town).ask("PATCH", path, json={"name": 3}, headers={"If-Match": "five"})
    assert changed.status_code == 422
    assert {each["pointer"] for each in changed.json()["violations"]} == {"/If-Match", "/name"}


async def test_a_wrong_method_is_answered_with_all_that_the_path_supports(app: FastAPI, district: FullDistrict) -> None:
    """A 405 response names, in `Allow`, the methods of all operations of the path, and not only those of one route."""
    contract, north = app.openapi()["paths"], caller(app, district.town)
    for path, methods in contract.items():
        answer = await north.ask("TRACE", path.replace("{", "").replace("}", ""))
        if answer.status_code == 405:
            assert answer.headers["allow"].split(", ") == sorted(method.upper() for method in methods), path


async def test_a_wrong_method_costs_a_new_process_nothing(settings: Settings) -> None:
    """The first 405 answer of a new process takes little time.

    In an earlier version the process built the whole contract for this answer, which blocked the event loop.
    """
    new = build(settings)
    for method, path, allowed in (
        ("HEAD", "/v1/students", "GET"),
        ("POST", "/docs", "GET, HEAD"),
        ("DELETE", "/health/live", "GET"),
        ("PATCH", "/v1/scores/bulk", "POST"),
    ):
        began = time.process_time()
        answer = await send(new, method, path, {})
        assert time.process_time() - began < 0.5
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert new.openapi_schema is None
    await new.state.services.engine.dispose()
