"""Tests the limits of a running operation: time, rows, and uninterrupted processor time.

An operation that is stopped at a limit changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.models import Concern
from app.concern.service import NewConcern, raise_concern
from app.core.db import open_engine
from app.core.turns import STRETCH
from app.graphql.budget import Budget
from app.graphql.limits import Limits, TooMuch
from app.graphql.router import graphql_router
from app.resources import run
from app.resources.compile import plan
from app.resources.compile.plan import Plans
from tests.faces.graphql_face import MODERN, here, token
from tests.faces.rest_town import caller
from tests.rooms.test_loop import stu
from tests.town import Town

NAME = "stopped"
BRIEF = Limits(seconds=1.5)


@pytest.fixture
async def engine_of_its_own(north: Town) -> AsyncIterator[AsyncEngine]:
    """Yields an engine whose connections can be found in pg_stat_activity."""
    engine = open_engine(north.settings.url_of("api"), name=NAME, pool_size=2)
    yield engine
    await engine.dispose()


@asynccontextmanager
async def locked(town: Town, table: str) -> AsyncIterator[asyncpg.Connection]:
    """Locks a table, so that its readers wait. Yields the connection that has the lock."""
    connection = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        await connection.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield connection
    finally:
        await connection.close()


async def ask(
    town: Town, engine: AsyncEngine, limits: Limits, query: str, variables: dict[str, Any] | None = None, **headers: str
) -> httpx.Response:
    """Sends an operation to an app with these limits, and returns the answer."""
    app = FastAPI()
    app.include_router(graphql_router(here(engine, town.settings), limits))
    sent = {"Authorization": f"Bearer {token(town)}", "Accept": MODERN} | headers
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://aimline.test") as client:
        return await client.post("/graphql", json={"query": query, "variables": variables}, headers=sent)


async def running(connection: asyncpg.Connection) -> list[str]:
    """Returns the states of the engine's connections that are still busy after some seconds of waiting."""
    rows: list[asyncpg.Record] = []
    for _ in range(100):
        rows = await connection.fetch(
            "SELECT state FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'", f"aimline {NAME}"
        )
        if not rows:
            break
        # A connection that was closed ends in the server a moment later.
        await asyncio.sleep(0.05)
    return [row["state"] for row in rows]


@pytest.mark.parametrize(
    ("table", "query", "headers"),
    [
        ("concern", "{ concerns { edges { node { id } } } }", {}),
        ("score", '{ student(id: "sis:sis:amy-1") { scores { value } } }', {}),
        ("score", "{ students { edges { node { scores { value } decisions { id } concerns { id } } } } }", {}),
        ("person", "{ areas { code } }", {"Aimline-Act-For": "sis:sis:teacher-1"}),
    ],
    ids=["page", "batch", "batches", "act-for"],
)
async def test_an_operation_is_stopped_with_its_statement(
    north: Town, engine_of_its_own: AsyncEngine, table: str, query: str, headers: dict[str, str]
) -> None:
    """An operation that runs too long is answered with 503, and its statement in PostgreSQL is ended."""
    async with locked(north, table) as connection:
        answer = await ask(north, engine_of_its_own, BRIEF, query, None, **headers)
        assert answer.status_code == 503
        assert answer.json()["errors"][0]["extensions"]["code"] == "operation.timeout"
        assert answer.json()["extensions"]["cost"] > 0
        assert int(answer.headers["Retry-After"]) > 0
        assert await running(connection) == []
    assert engine_of_its_own.pool.checkedout() == 0  # type: ignore[attr-defined]  # the pool of an engine
    repeated = await ask(north, engine_of_its_own, Limits(), query, None, **headers)
    assert (repeated.status_code, "errors" in repeated.json()) == (200, False), repeated.text


async def test_a_stopped_operation_changes_nothing(north: Town, engine_of_its_own: AsyncEngine) -> None:
    """If an operation is stopped, its commands that were already carried out are undone too."""

    @needs(Can.READ_CONCERNS)
    async def count(work: Work) -> int:
        query = select(func.count()).where(Concern.district_id == north.district_id)
        return int(await work.db.scalar(query) or 0)

    query = """mutation($raise: RaiseConcernInput!, $remove: RemoveScoreInput!) {
      raiseConcern(input: $raise) { concern { id } problems { code } }
      removeScore(input: $remove) { problems { code } }
    }"""
    variables = {
        "raise": {"student": "sis:sis:amy-1", "area": "ela.fluency", "description": "Slow."},
        "remove": {"scoreId": "sco_01m8gz01dvfay8016rynsm5hpq", "because": "Typed wrong."},
    }
    async with locked(north, "score") as connection:
        answer = await ask(north, engine_of_its_own, BRIEF, query, variables)
        assert answer.json()["errors"][0]["extensions"]["code"] == "operation.timeout"
        assert await running(connection) == []
    async with north.unit() as work:
        assert await count(work) == 0


async def test_rows_are_counted_as_they_are_read(north: Town) -> None:
    """If a list without pages has more rows than estimated, the operation ends when the limit on rows is reached."""
    async with north.unit() as work:
        for _ in range(12):
            await raise_concern(work, NewConcern(stu(north, "amy"), "ela.fluency", "Slow."))
    query = '{ student(id: "sis:sis:amy-1") { concerns { id } } }'
    answer = await ask(north, north.engine, Limits(cost=8), query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "cost.exceeded"
    assert answer.json()["extensions"] == {"cost": 6, "costLimit": 8}
    assert "data" not in answer.json()
    assert len((await ask(north, north.engine, Limits(cost=20), query)).json()["data"]["student"]["concerns"]) == 12


async def test_an_answer_is_not_written_out_where_it_is_too_long(north: Town) -> None:
    """An answer that would be too long is refused before it is written as text."""
    async with north.unit() as work:
        for _ in range(5):
            await raise_concern(work, NewConcern(stu(north, "amy"), "ela.fluency", "Slow. " * 600))
    names = " ".join(f"d{number}: description" for number in range(30))
    query = "{ concerns { edges { node { " + names + " } } } }"
    answer = await ask(north, north.engine, Limits(answer=500_000), query)
    assert (answer.status_code, "data" in answer.json()) == (400, False)
    assert answer.json()["errors"][0]["extensions"]["code"] == "answer.too_large"
    assert len((await ask(north, north.engine, Limits(answer=600_000), query)).content) > 500_000


async def test_too_much_text_is_not_sent_by_postgresql(
    app: FastAPI, north: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read with too much text is refused in both APIs, and PostgreSQL does not send the text.

    Rows have texts of up to 8,000 characters. A query within the limit of rows once took 100 MB before it was refused.
    """
    async with north.unit() as work:
        for _ in range(5):
            await raise_concern(work, NewConcern(stu(north, "amy"), "ela.fluency", "Slow. " * 600))
    monkeypatch.setattr(run, "PLANS", Plans())
    for module in (run, plan):
        monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    texts: list[Any] = []
    execute = run._execute

    async def watch(work: Work, sql: str, parameters: Any) -> Any:
        texts.append(await execute(work, sql, parameters))
        return texts[-1]

    monkeypatch.setattr(run, "_execute", needs(Can.READ_CONCERNS)(watch))
    client = caller(app, north)
    listed = await client.get("/v1/concerns")
    assert (listed.status_code, listed.json()["code"]) == (400, "answer.too_large")
    queried = await client.post("/graphql", {"query": "{ concerns { edges { node { description } } } }"})
    assert queried.json()["errors"][0]["extensions"]["code"] == "answer.too_large"
    assert [(size > 15_000, sent) for size, sent in texts] == [(True, None)] * 2
    assert (await client.get("/v1/concerns", limit=1)).status_code == 200


def test_a_budget_ends_at_its_limit() -> None:
    """The budget of an operation counts rows, whether they come in pages, in batches or alone. The limit itself is
    allowed.
    """
    budget = Budget(6)
    budget.take([1, 2, 3, 4])
    budget.take({"a": [1, 2]})
    budget.take([])
    budget.take(None)
    with pytest.raises(TooMuch):
        budget.take([1, 2])


async def test_resolvers_leave_others_their_turn() -> None:
    """Of a thousand resolvers of one batch, only some run before other requests get a turn."""
    budget, resolvers = Budget(10), 200
    turns: list[int] = []
    work = 0

    async def resolve() -> None:
        nonlocal work
        budget._until = 0  # as after a stretch, on a machine of any speed
        await budget.give_turn()
        work += 1

    async def another_request() -> None:
        while work < resolvers:
            turns.append(work)
            await asyncio.sleep(0)

    assert STRETCH < 0.1
    await asyncio.gather(another_request(), *(resolve() for _ in range(resolvers)))
    assert max(after - before for before, after in pairwise(turns)) <= 2
