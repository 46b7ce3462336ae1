"""Tests that other callers continue while a frozen process has the district's event counter locked.

Uses real processes: one is stopped by SIGSTOP in the middle of a write, while another one serves.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core.ids import format_id
from tests.faces.faulty import code_of, concerns_of
from tests.faces.rest_town import caller
from tests.freezing import blocked_by, freeze_in_transaction, gate, serving, session_ends
from tests.processes import TRUSTS_NOBODY
from tests.town import Town

PATIENT = {"AIMLINE_LOCK_TIMEOUT": "60", "AIMLINE_IDLE_TIMEOUT": "120"}


@asynccontextmanager
async def client_of(app: FastAPI, town: Town, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """Returns a client of a process, with a token of the district."""
    headers = {"Authorization": f"Bearer {caller(app, town).token}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=address, headers=headers, timeout=120, limits=limits, trust_env=False, verify=TRUSTS_NOBODY
    ) as client:
        yield client


def concern(town: Town, description: str) -> dict[str, str]:
    """Returns the input for a concern about amy."""
    student, area = format_id("student", town.students["amy"]), format_id("area", town.areas["ela"])
    return {"student": student, "area": area, "description": description}


@pytest.mark.long
async def test_a_healthy_api_answers_beside_a_frozen_one(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """While one process is frozen, 22 writers get 503 with Retry-After. Reads and the readiness check still succeed.

    The pool has eight connections, so the writers would otherwise occupy all of them.
    """
    healthy = {"AIMLINE_LOCK_TIMEOUT": "3", "AIMLINE_CONNECT_TIMEOUT": "3", "AIMLINE_POOL_SIZE": "4"}
    async with (
        gate(north, "event", "api") as (holder, watcher),
        serving(north.settings, tmp_path / "frozen.log", **PATIENT) as frozen,
        serving(north.settings, tmp_path / "healthy.log", **healthy) as api,
        client_of(app, north, frozen.address) as to_frozen,
        client_of(app, north, api.address) as to_api,
    ):
        stuck = asyncio.create_task(to_frozen.post("/v1/concerns", json=concern(north, "Stuck.")))
        pid = await freeze_in_transaction(frozen, holder, watcher)
        body = concern(north, "Waiting.")
        writers = [asyncio.create_task(to_api.post("/v1/concerns", json=body)) for _ in range(22)]
        await blocked_by(watcher, pid)
        for path in ("/v1/concerns", "/health/ready", "/v1/students") * 3:
            assert (await to_api.get(path)).status_code == 200, path
        query = {"query": "{ concerns { edges { node { id } } } }"}
        assert (await to_api.post("/graphql", json=query)).json()["data"] == {"concerns": {"edges": []}}
        answers = await asyncio.gather(*writers)
        assert {one.status_code for one in answers} == {503}
        # A writer that has waited too long for its turn is refused before it reaches the database.
        assert {"database.busy"} <= {code_of(one) for one in answers} <= {"database.busy", "queue.timeout"}
        assert all(one.headers["retry-after"] for one in answers)
        stuck.cancel()
    await asyncio.wait([stuck])
    assert await concerns_of(north) == []


async def test_a_frozen_api_loses_what_it_holds(app: FastAPI, north: Town, tmp_path: Path) -> None:
    """PostgreSQL ends the transaction of a frozen API process after the idle time limit, and so releases its locks.

    Once the process continues, it executes the request again, and the request has one effect.
    """
    short = PATIENT | {"AIMLINE_IDLE_TIMEOUT": "1"}
    async with (
        gate(north, "event", "api") as (holder, watcher),
        serving(north.settings, tmp_path / "frozen.log", **short) as frozen,
        serving(north.settings, tmp_path / "healthy.log", **PATIENT) as api,
        client_of(app, north, frozen.address) as to_frozen,
        client_of(app, north, api.address) as to_api,
    ):
        stuck = asyncio.create_task(to_frozen.post("/v1/concerns", json=concern(north, "Late.")))
        pid = await freeze_in_transaction(frozen, holder, watcher)
        written = await to_api.post("/v1/concerns", json=concern(north, "In time."))
        assert written.status_code == 201, written.text
        await session_ends(watcher, pid)
        frozen.thaw()
        assert (await stuck).status_code == 201, (await stuck).text
    assert sorted(await concerns_of(north)) == ["In time.", "Late."]


@pytest.mark.parametrize("name", ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"])
async def test_the_roles_have_limits_of_their_own(north: Town, name: str) -> None:
    """`aimline migrate` sets timeouts on both roles, so that they apply behind a pooler too."""
    for role in ("api", "worker"):
        plain = await asyncpg.connect(north.settings.url_of(role))
        try:
            assert await plain.fetchval("SELECT current_setting($1)", name) != "0", (role, name)
        finally:
            await plain.close()
