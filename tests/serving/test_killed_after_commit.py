"""Tests a request whose process is killed after the database has committed, before the caller gets the answer.

The caller can find out what happened: a repetition with the same idempotency key gets the answer and writes nothing,
and without a key the change feed shows the change.
"""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from app.settings import Settings
from tests.faces.faulty import MUTATION, concerns_of
from tests.faces.rest_town import caller
from tests.freezing import PATIENCE, blocked_by, gate
from tests.processes import TRUSTS_NOBODY, free_port
from tests.serving.test_processes import served
from tests.town import Town

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform != "linux", reason="Only Linux lists the children of a process in a file."),
]
KEYED = MUTATION.replace("mutation ($input: RaiseConcernInput!)", "mutation ($input: RaiseConcernInput!, $key: String)")
KEYED = KEYED.replace("(input: $input)", "(input: $input, idempotencyKey: $key)")


def workers_of(supervisor: int) -> list[int]:
    """Returns the ids of the processes that serve requests."""
    started = []
    for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                started.append(int(pid))
    return started


def signal_all(processes: list[int], number: signal.Signals) -> None:
    """Sends a signal to these processes; one may have been replaced already."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def raise_concern(http: httpx.AsyncClient, face: str, key: str | None, new: dict[str, str]) -> httpx.Response:
    """Raises a concern over REST or GraphQL, with or without an idempotency key."""
    if face == "graphql":
        return await http.post("/graphql", json={"query": KEYED, "variables": {"input": new, "key": key}})
    return await http.post("/v1/concerns", json=new, headers={} if key is None else {"Idempotency-Key": key})


def id_in(answer: httpx.Response) -> str | None:
    """Returns the id of the concern in an answer of either API, or None if it was refused."""
    if answer.status_code not in (200, 201):
        return None
    body: Any = answer.json()
    if "data" in body:
        body = ((body["data"] or {}).get("raiseConcern") or {}).get("concern")
    return body and str(body["id"])


async def until_ready(http: httpx.AsyncClient, gone: list[int], supervisor: int) -> None:
    """Waits until a new process answers."""
    async with asyncio.timeout(5 * PATIENCE):
        while True:
            new = set(workers_of(supervisor)) - set(gone)
            with suppress(httpx.HTTPError):
                if new and (await http.get("/health/ready")).is_success:
                    return
            await asyncio.sleep(0.1)


async def test_the_outcome_can_be_found_out(settings: Settings, app: FastAPI, north: Town, tmp_path: Path) -> None:
    """Both processes are killed with SIGKILL, between COMMIT and its answer or while PostgreSQL executes COMMIT.

    The change is made once. A request with the same key gets 409 while the commit runs, and then the first answer.
    Without a key, the change feed has the change, and its subject is the new row.
    """
    asks = caller(app, north)
    port = free_port()
    log = (tmp_path / "api.log").open("w")
    new = {
        "student": ids.format_id("student", north.students["amy"]),
        "area": ids.format_id("area", next(iter(north.areas.values()))),
    }
    cases = [("graphql", True, "after"), ("rest", True, "during"), ("rest", False, "after")]
    more = {"AIMLINE_LOCK_TIMEOUT": "100", "AIMLINE_STATEMENT_TIMEOUT": "200"}
    async with (
        gate(north, "concern", "api", at_commit=True) as (holder, watcher),
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {asks.token}"},
            timeout=PATIENCE,
            trust_env=False,
            verify=TRUSTS_NOBODY,
        ) as http,
    ):
        session = await holder.fetchval("SELECT pg_backend_pid()")
        held = await holder.fetchval(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND pid = $1", session
        )
        with log, served(settings, "app", "serve", "--port", str(port), "--workers", "2", log=log, **more) as serving:
            await until_ready(http, [], serving.pid)
            for number, (face, is_keyed, when) in enumerate(cases, 1):
                key = f"key {number}" if is_keyed else None
                body = new | {"description": f"Case {number}"}
                feed = (await asks.get("/v1/events")).json()["next"]
                lost = asyncio.create_task(raise_concern(http, face, key, body))
                await blocked_by(watcher, session)
                workers = workers_of(serving.pid)
                signal_all(workers, signal.SIGSTOP)
                if when == "after":
                    await holder.execute("SELECT pg_advisory_unlock_all()")
                    await _until_committed(north, number)
                signal_all(workers, signal.SIGKILL)
                with pytest.raises(httpx.TransportError):
                    await lost
                await until_ready(http, workers, serving.pid)
                if when == "during":
                    early = await raise_concern(http, face, key, body)
                    assert (early.status_code, early.headers.get("retry-after") is not None) == (409, True), early.text
                    await holder.execute("SELECT pg_advisory_unlock_all()")
                    await _until_committed(north, number)
                made = (await asks.get("/v1/events", after=feed)).json()["items"]
                assert [item["type"] for item in made] == ["concern.raised"]
                if is_keyed:
                    assert id_in(await raise_concern(http, face, key, body)) == made[0]["data"]["subject"]
                assert sorted(await concerns_of(north)) == [f"Case {one}" for one in range(1, number + 1)]
                await holder.execute(f"SELECT pg_advisory_lock({held})")


async def _until_committed(town: Town, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(await concerns_of(town)) < count:  # noqa: ASYNC110  # the database has no event of it
            await asyncio.sleep(0.02)
