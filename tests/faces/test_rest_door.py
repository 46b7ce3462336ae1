"""Tests the boundary between HTTP and the transaction: the commit precedes the response, and faults reveal nothing."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from starlette.routing import Route, WebSocketRoute
from structlog.contextvars import merge_contextvars

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.main import build
from app.rest import checks
from app.rest.door import OpenWork
from app.settings import Settings
from tests.faces.rest_town import caller, plain
from tests.house.full_district import BEGINS
from tests.town import Town

SECRET = "Zq7SubmittedValue"


@pytest.fixture
async def broken(settings: Settings) -> Any:
    """Returns the app with additional routes that fail, or whose transaction cannot commit."""
    app = build(settings)

    @app.get("/v1/fails-at-commit/{how}")
    async def fails_at_commit(work: OpenWork, how: str) -> dict[str, str]:
        async def fail(_: Work) -> None:
            if how == "unique":
                raise IntegrityError(SECRET, {"name": SECRET}, _Unique(SECRET))
            raise RuntimeError(SECRET)

        work.before_commit("planted", fail)
        await _leave_a_trace(work)
        return {"ok": SECRET}

    @app.get("/v1/fails")
    async def fails(work: OpenWork, name: str) -> dict[str, str]:
        await _divide(work, name)
        return {}

    yield app
    await app.state.services.engine.dispose()


class _Unique(Exception):
    sqlstate = "23505"


@needs(Can.RAISE_CONCERN)
async def _leave_a_trace(work: Work) -> None:
    statement = "UPDATE event_counter SET last = last + 1000 WHERE district_id = :district"
    await work.db.execute(text(statement), {"district": work.district_id})


@needs(Can.READ_ROSTER)
async def _divide(work: Work, name: str) -> None:
    statement = "SELECT 1 / (length(:name) - length(:name)) FROM person WHERE district_id = :district"
    await work.db.execute(text(statement), {"name": name, "district": work.district_id})


@needs(Can.READ_EVENTS)
async def _counted(work: Work) -> int:
    statement = "SELECT last FROM event_counter WHERE district_id = :district"
    return int((await work.db.execute(text(statement), {"district": work.district_id})).scalar_one())


@pytest.mark.parametrize(("how", "status"), [("unique", 409), ("fault", 500)])
async def test_a_commit_that_fails_is_not_answered_with_success(
    broken: FastAPI, north: Town, how: str, status: int
) -> None:
    """If the commit fails, the client gets an error, and nothing of the request remains."""
    answer = await caller(broken, north).get(f"/v1/fails-at-commit/{how}")
    assert answer.status_code == status
    assert SECRET not in answer.text
    async with north.unit() as work:
        assert await _counted(work) == 0


async def test_a_fault_says_and_logs_nothing_of_what_was_submitted(broken: FastAPI, north: Town) -> None:
    """After an internal error, the answer and the log contain no text of the exception and no parameter of a
    statement.
    """
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as logs:
        answer = await caller(broken, north).get("/v1/fails", name=SECRET)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "division" not in answer.text
    assert SECRET not in answer.text
    assert SECRET not in str(logs)
    (fault,) = [line for line in logs if line["event"] == "fault"]
    assert fault["trace_id"] == answer.json()["trace_id"] == answer.headers["trace-id"]
    assert "division" not in str(fault)
    assert fault["district"] == ids.format_id("district", north.district_id)
    assert fault["client"] == ids.format_id("client", north.client_id)
    guarded = [place for place in fault["places"] if re.fullmatch(r"app/access/work\.py:\d+ \S+guarded", place)]
    assert guarded, fault["places"]


async def test_the_log_names_a_route_and_never_a_path(app: FastAPI, north: Town) -> None:
    """The log has one line for each request, with the route's template and so without a student's id."""
    student = ids.format_id("student", north.students["amy"])
    with structlog.testing.capture_logs() as logs:
        await caller(app, north).get(f"/v1/students/{student}", family_name="x")
        await caller(app, north).get("/v1/students", family_name=f"Family{north.canary}")
    lines = [line for line in logs if line["event"] == "request"]
    assert [line["route"] for line in lines] == ["/v1/students/{student}", "/v1/students"]
    assert student not in str(logs)
    assert north.canary not in str(logs)


@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")  # the package reads its files the old way
async def test_the_documentation_asks_no_other_host(app: FastAPI) -> None:
    """The documentation page loads nothing from other hosts."""
    async with plain(app) as client:
        page = (await client.get("/docs")).text
        named = set(re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page))
        assert len(named) >= 3
        for url in named:
            assert httpx.URL(url).host in ("", "aimline.test"), url
            assert (await client.get(url)).status_code == 200, url
        assert (await client.get("/health/live")).json() == {"ok": True}
        assert (await client.get("/health/ready")).json() == {"ok": True}


async def test_scores_in_bulk_have_a_result_each(app: FastAPI, north: Town) -> None:
    """Each score of a batch has its result; invalid ones are refused with their position."""
    good = {"student": "sis:sis:amy-1", "measure": "orf", "taken_on": str(BEGINS), "value": 40}
    scores: list[dict[str, Any]] = [
        good,
        good | {"value": 9999, "attempt": 2},
        good | {"student": "sis:sis:nobody"},
        good | {"student": ids.format_id("student", north.students["ben"]), "given_by": "sis:sis:teacher-1"},
        good,
        good | {"measure": "none"},
    ]
    north_client = caller(app, north)
    answer = await north_client.post("/v1/scores/bulk", {"scores": scores})
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    outcomes = ["recorded", "refused", "refused", "recorded", "unchanged", "refused"]
    assert [one["outcome"] for one in results] == outcomes
    assert [one["violations"][0]["pointer"] for one in results if one["violations"]] == [
        *("/scores/1/value", "/scores/2/student", "/scores/5/measure")
    ]
    assert [one["score"] is None for one in results] == [name == "refused" for name in outcomes]
    assert {one["id"] for one in await north_client.items("/v1/scores")} == {
        one["score"]["id"] for one in results if one["score"]
    }
    assert (await north_client.post("/v1/scores/bulk", {"scores": []})).status_code == 422
    assert (await north_client.post("/v1/scores/bulk", {"scores": [good] * 501})).status_code == 422


async def test_a_body_over_the_limit_is_refused_before_it_is_read(app: FastAPI, north: Town) -> None:
    """A body over the limit is refused with 413 before it is read; without a token, the answer is 401."""
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(40):
            sent += 1
            yield b"x" * 100_000

    headers = {"Content-Type": "application/json"}
    for body in (b"x" * 4_000_000, parts()):
        answer = await caller(app, north).ask("POST", "/v1/scores", content=body, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["code"] == "body.too_large"
    assert sent < 40
    sent = 0
    async with plain(app) as client:
        assert (await client.post("/v1/scores", content=parts(), headers=headers)).status_code == 401
    assert sent == 0


def test_a_request_is_compared_with_each_route_once(app: FastAPI) -> None:
    """A request is compared with each route of the app at most once.

    The app must not include routers: the framework would then compare the routes of a router twice.
    """
    assert [route for route in app.routes if not isinstance(route, Route | WebSocketRoute)] == []


async def test_a_routes_parameters_are_not_listed_for_each_request(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parameters of a route are computed once, and not again for each request.

    Computing them for each request would take a tenth of the time of the request.
    """

    def fail(_: object) -> None:
        raise AssertionError("The parameters of a route were listed again.")

    monkeypatch.setattr(checks, "get_flat_params", fail)
    answers = [await caller(app, north).get("/v1/students", **filters) for filters in ({}, {"limit": 1}, {"limt": 1})]
    assert [answer.status_code for answer in answers] == [200, 200, 400]
