"""Owns one api process: it starts or says in one sentence why not, and ends itself where it answers no more.

A loop that a computation holds can answer neither requests nor SIGTERM. A thread beside it looks whether the loop still
turns, and otherwise ends the process; whoever supervises it starts another.
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from app import main
from app.core.db import UnfitServer
from app.core.metrics import POOL_IN_USE, POOL_LIMIT

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
STUCK = 15.0
"""Seconds without a turn of the loop after which the process is of no use."""
LAST_WORK = 8.0
"""Seconds that closing may take once everybody has been answered."""
BEAT = 0.5
log = structlog.get_logger()


class ServedApp:
    """The app in a process of the server's: the same app, with a watch over its loop."""

    def __init__(
        self, app: Callable[[Any, Receive, Send], Awaitable[None]], engine: AsyncEngine, stuck: float = STUCK
    ) -> None:
        self._app, self._engine, self._stuck = app, engine, stuck

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        async with asyncio.TaskGroup() as beside:
            watch = Watch(self._stuck)
            beating = beside.create_task(self._beat(watch))
            try:
                await self._live(scope, receive, send, watch)
            finally:
                beating.cancel()
                watch.stop()

    async def _live(self, scope: Message, receive: Receive, send: Send, watch: "Watch") -> None:
        has_failed = False

        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                watch.end_within(LAST_WORK)
            return message

        async def sent(message: Message) -> None:
            nonlocal has_failed
            if message["type"] == "lifespan.startup.failed":
                has_failed = True  # its message is a stack trace
            else:
                await send(message)

        try:
            await self._app(scope, received, sent)
        except Exception as error:
            if not has_failed:
                raise
            sys.stderr.write(f"{reason(error)}\n")
            logging.getLogger("uvicorn.error").disabled = True  # it would say the same in other words
            await send({"type": "lifespan.startup.failed", "message": ""})

    async def _beat(self, watch: "Watch") -> None:
        pool = self._engine.pool
        while True:
            watch.turn()
            if isinstance(pool, QueuePool):
                POOL_IN_USE.set(pool.checkedout())
                POOL_LIMIT.set(pool.size() + pool._max_overflow)
            await asyncio.sleep(BEAT)


class Watch:
    """A thread that ends the process when the loop has not turned for a while."""

    def __init__(self, stuck: float = STUCK, end: Callable[[str], None] | None = None) -> None:
        self._stuck, self._end = stuck, end or _end_process
        self._turned = time.monotonic()
        self._last_moment: float | None = None
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def turn(self) -> None:
        """The loop turns."""
        self._turned = time.monotonic()

    def end_within(self, seconds: float) -> None:
        """The process is closing, and is to be gone by then."""
        self._last_moment = time.monotonic() + seconds

    def stop(self) -> None:
        """Nothing is watched any more."""
        self._stopped.set()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._stopped.wait(min(BEAT, self._stuck / 4)):
            now = time.monotonic()
            if now - looked > self._stuck / 2:
                self._turned = (
                    now  # the whole process had been stopped, as a machine that sleeps: the loop has its time
                )
            looked = now
            if now - self._turned > self._stuck:
                self._end("process.stuck")
                return
            if self._last_moment is not None and now > self._last_moment:
                self._end("process.does_not_close")
                return


def _end_process(event: str) -> None:
    log.error(event)
    with contextlib.suppress(Exception):
        faulthandler.dump_traceback(all_threads=True)  # files and lines only: no value
    os._exit(1)


def reason(error: Exception) -> str:
    """Why the process does not start, in one sentence."""
    if isinstance(error, UnfitServer):
        return str(error).splitlines()[0]
    return f"The api did not start ({type(error).__name__}). Is the database running?"


def create() -> ServedApp:
    """The app of one process, over the environment's settings."""
    app = main.create()
    return ServedApp(app, app.state.services.engine)
