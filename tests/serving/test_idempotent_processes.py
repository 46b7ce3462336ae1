"""Tests that a command with an idempotency key has one effect, even if several processes get it or one of them dies."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from app.core import ids
from app.settings import Settings
from tests.faces.faulty import concerns_of
from tests.faces.rest_town import caller
from tests.faces.served_api import client, served_api
from tests.town import Town

pytestmark = pytest.mark.long

AT_ONCE = 16


def post(address: str, token: str, key: str, body: dict[str, str]) -> httpx.Response:
    """Raises a concern over a separate connection, and returns the answer."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    with client(address) as http:
        return http.post("/v1/concerns", json=body, headers=headers)


async def test_one_effect_over_processes_and_their_end(settings: Settings, app: FastAPI, north: Town) -> None:
    """Sixteen concurrent requests with one idempotency key, sent to two processes, create one concern.

    If a process is killed during a request and the client sends the request again, one concern is created.
    """
    area = ids.format_id("area", next(iter(north.areas.values())))
    body = {"student": ids.format_id("student", north.students["amy"]), "area": area, "description": "Quiet."}
    token = caller(app, north).token
    pool, loop = ThreadPoolExecutor(AT_ONCE), asyncio.get_running_loop()
    owner = await asyncpg.connect(settings.url_of("owner"))
    try:
        with served_api(settings) as (doomed, first), served_api(settings) as (_, second):
            answers = await asyncio.gather(
                *(
                    loop.run_in_executor(pool, post, (first, second)[number % 2], token, "once", body)
                    for number in range(AT_ONCE)
                )
            )
            assert await concerns_of(north) == ["Quiet."]
            assert {answer.status_code for answer in answers} <= {201, 409}
            assert len({answer.content for answer in answers if answer.status_code == 201}) == 1

            transaction = owner.transaction()
            await transaction.start()
            await owner.execute("LOCK TABLE concern IN EXCLUSIVE MODE")
            lost = loop.run_in_executor(pool, post, first, token, "again", body)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'concern'::regclass"
            async with asyncio.timeout(60):
                while not await owner.fetchval(waiting):  # noqa: ASYNC110  # the database has no event of it
                    await asyncio.sleep(0.01)
            doomed.kill()
            assert isinstance((await asyncio.gather(lost, return_exceptions=True))[0], httpx.TransportError)
            held = await loop.run_in_executor(pool, post, second, token, "again", body)
            assert held.status_code == 409
            await transaction.rollback()
            async with asyncio.timeout(60):
                while True:
                    answer = await loop.run_in_executor(pool, post, second, token, "again", body)
                    if answer.status_code != 409:
                        break
                    await asyncio.sleep(0.05)
            assert answer.status_code == 201
            assert await concerns_of(north) == ["Quiet."] * 2
    finally:
        await owner.close()
        pool.shutdown(wait=False)
