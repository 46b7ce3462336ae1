"""Tests subscriptions with a client from npm, graphql-ws, over a real WebSocket."""

import asyncio
import json
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.faces.rest_town import caller
from tests.faces.sockets import listening
from tests.faces.test_stream import raise_concern
from tests.processes import environment
from tests.town import Town

pytestmark = pytest.mark.long


async def test_the_client_of_others_gets_an_event(app: FastAPI, north: Town, tools: Path) -> None:
    """The npm client connects, authenticates as its documentation shows, and receives the event of a new concern."""
    client = caller(app, north)
    async with listening(app) as address:
        program = await asyncio.create_subprocess_exec(
            *("node", "subscribe.mjs", f"ws://{address}/graphql", client.token),
            cwd=tools,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert program.stdout is not None
        async with asyncio.timeout(120):
            assert (await program.stdout.readline()).strip() == b"ready"
            services = app.state.services
            while not services.hub.waiting:  # noqa: ASYNC110  # what is awaited has no event
                await asyncio.sleep(0.01)
            concern = await raise_concern(client, north)
            shown = json.loads(await program.stdout.readline())
            assert await program.wait() == 0
    assert shown == {"type": "concern.raised", "subject": concern}
