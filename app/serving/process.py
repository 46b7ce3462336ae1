"""Runs one api process: reports a failed start in one sentence, and ends the process if it no longer answers.

An event loop that is blocked by a computation can answer neither requests nor SIGTERM. A separate thread checks that
the loop still runs, and otherwise ends the process, which the supervisor then replaces.
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
from app.serving.memory import INTERVAL, return_free_memory

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
STUCK = 15.0
"""The seconds without activity of the event loop after which the process is ended."""
LAST_WORK = 8.0
"""The seconds that the shutdown may take after the last request was answered."""
BEAT = 0.5
log = structlog.get_logger()


class ServedApp:
    """The ASGI app of one server process. While it runs, a `Watch` ends the process if the event loop hangs."""

    def __init__(
        self, app: Callable[[Any, Receive, Send], Awaitable[None]], engine: AsyncEngine, stuck: float = STUCK
    ) -> None:
        self._app, self._engine, self._stuck = app, engine, stuck

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        async with asyncio.TaskGroup() as tasks:
            watch = Watch(self._stuck)
            heartbeat = tasks.create_task(self._beat(watch))
            try:
                await self._live(scope, receive, send, watch)
            finally:
                heartbeat.cancel()
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
                has_failed = True  # the exception's message is a stack trace
            else:
                await send(message)

        try:
            await self._app(scope, received, sent)
        except Exception as error:
            if not has_failed:
                raise
            sys.stderr.write(f"{reason(error)}\n")
            logging.getLogger("uvicorn.error").disabled = True  # the log line would repeat the same message
            await send({"type": "lifespan.startup.failed", "message": ""})

    async def _beat(self, watch: "Watch") -> None:
        pool = self._engine.pool
        returned_at = time.monotonic()
        while True:
            watch.turn()
            if time.monotonic() - returned_at > INTERVAL:
                return_free_memory()
                returned_at = time.monotonic()
            if isinstance(pool, QueuePool):
                POOL_IN_USE.set(pool.checkedout())
                POOL_LIMIT.set(pool.size() + pool._max_overflow)
            await asyncio.sleep(BEAT)


class Watch:
    """Watches the process from a thread, and ends the process if it hangs.

    It hangs if the event loop has not run for `stuck` seconds, or if the shutdown takes longer than its deadline
    allows.
    """

    def __init__(self, stuck: float = STUCK, end: Callable[[str], None] | None = None) -> None:
        self._stuck, self._end = stuck, end or _end_process
        self._last_turn = time.monotonic()
        self._deadline: float | None = None
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def turn(self) -> None:
        """Records that the event loop has just run."""
        self._last_turn = time.monotonic()

    def end_within(self, seconds: float) -> None:
        """Makes the watching thread end the process by force if it still runs after this number of seconds."""
        self._deadline = time.monotonic() + seconds

    def stop(self) -> None:
        """Stops watching the process."""
        self._stopped.set()

    def _watch(self) -> None:
        checked_at = time.monotonic()
        while not self._stopped.wait(min(BEAT, self._stuck / 4)):
            now = time.monotonic()
            if now - checked_at > self._stuck / 2:
                self._last_turn = now  # the whole process was suspended, as on a sleeping machine: give the loop time
            checked_at = now
            if now - self._last_turn > self._stuck:
                self._end("process.stuck")
                return
            if self._deadline is not None and now > self._deadline:
                self._end("process.does_not_close")
                return


def _end_process(event: str) -> None:
    log.error(event)
    with contextlib.suppress(Exception):
        faulthandler.dump_traceback(all_threads=True)  # only files and lines, no values
    os._exit(1)


def reason(error: Exception) -> str:
    """Returns a sentence that explains why the process failed to start."""
    if isinstance(error, UnfitServer):
        return str(error).splitlines()[0]
    return f"The api did not start ({type(error).__name__}). Is the database running?"


def create() -> ServedApp:
    """Returns the app of one process, built from the environment's settings."""
    app = main.create()
    return ServedApp(app, app.state.services.engine)
