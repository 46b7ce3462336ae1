"""Tests that a slow or dead endpoint, or one with very many events, delays no other endpoint or district."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch
from uuid import UUID

from app.settings import Settings
from app.webhooks.deliver import DELIVERIES
from app.webhooks.dispatcher import IN_FLIGHT, OF_ONE_DISTRICT
from app.webhooks.send import Sender
from app.worker import deliveries
from tests.rooms.webhook_town import Receiver, happen, lay, register
from tests.town import Town

SOON = 120.0  # seconds, for a loaded machine
PATIENT = partial(Sender, timeout=10 * SOON)
"""Waits for a receiver that does not answer for longer than any of these tests may take."""


@dataclass
class Bare:
    """A receiver in this process that accepts requests and answers when the test allows it."""

    answers: asyncio.Event = field(default_factory=asyncio.Event)
    came: int = 0
    waiting: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                self.came += 1
                self.waiting += 1
                await self.answers.wait()
                self.waiting -= 1
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def bare(folder: Path, *, answers: bool) -> AsyncIterator[tuple[Bare, Receiver]]:
    """Yields a receiver in this process. With `answers`, it answers at once; otherwise only when the test allows it."""
    ours = Bare()
    if answers:
        ours.answers.set()
    async with await asyncio.start_server(ours.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield ours, Receiver(f"http://127.0.0.1:{port}/", folder / "secrets")
        ours.answers.set()


@asynccontextmanager
async def delivering(
    settings: Settings, only: set[UUID], let_go: Bare
) -> AsyncIterator[Callable[[Callable[[], bool]], Awaitable[None]]]:
    """Yields a function that sends the deliveries of these districts until a condition is true.

    At the end, the receiver `let_go` answers all waiting requests.
    """
    with patch("app.worker.Sender", PATIENT):
        async with deliveries(settings) as ours:

            async def until(done: Callable[[], bool]) -> None:
                async with asyncio.timeout(SOON):
                    while not done():
                        await ours.run_once(only)
                        await asyncio.sleep(0.01)  # lets what is in flight go on

            try:
                yield until
            finally:
                let_go.answers.set()


async def test_an_endpoint_that_does_not_answer_delays_no_other(
    north: Town, settings: Settings, tmp_path: Path
) -> None:
    """An endpoint that does not answer does not delay the deliveries of another one."""
    async with bare(tmp_path, answers=False) as (dead, to_dead), bare(tmp_path, answers=True) as (well, to_well):
        await register(north, to_dead)
        await register(north, to_well)
        async with north.unit() as work:
            for _ in range(40):
                lay(work, north)
        async with delivering(settings, {north.district_id}, dead) as until:
            await until(lambda: well.came == 40)
            assert 0 < dead.came == dead.waiting <= DELIVERIES.at_once


async def test_a_district_full_of_dead_endpoints_delays_no_other_district(
    north: Town, south: Town, settings: Settings, tmp_path: Path
) -> None:
    """South gets its delivery at once, although the deliveries of North wait for receivers that do not answer.

    North has more such deliveries than the process sends at the same time.
    """
    async with bare(tmp_path, answers=False) as (dead, to_dead), bare(tmp_path, answers=True) as (well, to_well):
        for _ in range(20):
            await register(north, to_dead)
        await register(south, to_well)
        async with north.unit() as work:
            for _ in range(DELIVERIES.at_once):
                lay(work, north)
        assert 20 * DELIVERIES.at_once > IN_FLIGHT
        async with delivering(settings, {north.district_id, south.district_id}, dead) as until:
            await until(lambda: dead.waiting == OF_ONE_DISTRICT)
            await happen(south)
            await until(lambda: well.came == 1)
            assert dead.waiting == OF_ONE_DISTRICT


async def test_a_flood_leaves_another_district_its_share(
    north: Town, south: Town, settings: Settings, tmp_path: Path
) -> None:
    """While two thousand deliveries of one district are due, another district's delivery is among the first sent."""
    async with bare(tmp_path, answers=True) as (loud, to_loud), bare(tmp_path, answers=True) as (well, to_well):
        for _ in range(4):
            await register(north, to_loud)
        await register(south, to_well)
        async with north.unit() as work:
            for _ in range(500):
                lay(work, north)
        await happen(south)
        async with delivering(settings, {north.district_id, south.district_id}, loud) as until:
            await until(lambda: well.came == 1)
            assert loud.came < 500
