"""Runs a PostgreSQL that can be stopped, and processes of the product that can be killed, for tests with faults.

A process is killed when it logs a given line. The server is used by nothing else.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import asyncpg
import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.db import open_engine
from app.core.embedded import EmbeddedPostgres
from app.settings import Settings
from tests.prepared import fast_server, kept_folder, lay_database, over_database
from tests.processes import TRUSTS_NOBODY, environment, free_port, warm
from tests.warm import Warm

# Not synchronous_commit: a server that is killed would lose what it had said was committed, and nobody could be blamed.
FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "100"}
PATIENCE = 120.0  # seconds for a process to come to a point

LOADED = ("app", "app.worker")  # modules that a process has loaded already, and is forked for


@dataclass
class Process:
    """A process of the product, whose log is read line by line."""

    log: IO[str]
    end: Callable[[], None]
    killed: bool = False

    async def until(self, *points: str) -> str:
        """Reads the log until the process has logged one of the events `points`, and returns this event."""
        return await asyncio.wait_for(asyncio.to_thread(self._read, points), PATIENCE)

    def _read(self, points: tuple[str, ...]) -> str:
        for line in self.log:
            with suppress(ValueError):
                if (point := json.loads(line).get("event")) in points:
                    return str(point)
        raise AssertionError(f"The process ended before it came to {' or '.join(points)}.")

    def kill(self) -> None:
        """Kills the process with SIGKILL."""
        if not self.killed:
            self.killed = True
            self.end()


@dataclass
class Machine:
    """A PostgreSQL server, the settings for it, and engines as the roles of api and worker."""

    postgres: EmbeddedPostgres
    settings: Settings
    engine: AsyncEngine
    worker_engine: AsyncEngine
    warm: Warm
    running: list[Process] = field(default_factory=list)

    def start(self, module: str, *arguments: str) -> Process:
        """Starts a Python module of the product, or of these tests, as a process with the settings of this machine."""
        env = environment(self.settings, PYTHONUNBUFFERED="1")
        reads, writes = os.pipe()
        with os.fdopen(writes, "wb") as log:
            if module in LOADED:
                with open(os.devnull) as nothing:
                    streams = [nothing.fileno(), log.fileno(), log.fileno()]
                    pid = self.warm.start([module, *arguments], env, streams)
                end = partial(self.warm.kill, pid)
            else:
                command = [sys.executable, "-m", module, *arguments]
                popen = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
                end = partial(_end, popen)
        self.running.append(Process(os.fdopen(reads), end))
        return self.running[-1]

    def end_all(self) -> None:
        """Kills all processes that are still running."""
        for process in self.running:
            process.kill()
            process.log.close()
        self.running.clear()

    async def restart_server(self, how: signal.Signals) -> None:
        """Stops PostgreSQL with the signal `how`, starts it again, and closes the pools' connections to the old server.

        SIGINT is a fast shutdown, SIGQUIT is an immediate one, and SIGKILL kills the server.
        """
        pid = int((self.postgres.folder / "pgdata" / "postmaster.pid").read_text().split("\n")[0])
        os.kill(pid, how)
        self.postgres.stop()
        self.postgres.start()
        await self.close_pools()

    async def close_pools(self) -> None:
        """Closes the idle connections of the pools, including those to a server that has ended."""
        await self.engine.dispose()
        await self.worker_engine.dispose()

    async def sessions_end(self, *names: str) -> None:
        """Waits until the server has ended every session with one of these application names."""
        connection = await asyncpg.connect(self.settings.url_of("worker"))
        try:
            while await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = ANY ($1::text[])",
                list(names),
            ):
                await connection.execute("SELECT pg_sleep(0.02)")
        finally:
            await connection.close()

    async def serve(self) -> tuple[Process, str]:
        """Starts the api on a free port; returns the process and its address once it answers."""
        port = free_port()
        process, address = self.start("app", "serve", "--port", str(port)), f"http://127.0.0.1:{port}"
        until = time.monotonic() + PATIENCE
        async with httpx.AsyncClient(trust_env=False, verify=TRUSTS_NOBODY) as client:
            while time.monotonic() < until:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{address}/health/ready")).is_success:
                        return process, address
                await asyncio.sleep(0.05)
        raise TimeoutError("The api did not come up.")


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.kill()
    popen.wait()


@asynccontextmanager
async def machine(folder: Path) -> AsyncIterator[Machine]:
    """Yields a new server with a migrated database. Everything that runs on it is ended afterwards."""
    with fast_server(folder / "server", kept_folder(folder), FAST) as (postgres, server):
        settings = over_database(server, "aimline_faults").model_copy(
            update={"sandbox": True, "base_url": "http://aimline.test"}
        )
        await lay_database(server, settings, "aimline_faults")
        made = Machine(
            postgres,
            settings,
            open_engine(settings.url_of("api"), name="faults"),
            open_engine(settings.url_of("worker"), name="faults"),
            warm(),
        )
        try:
            yield made
        finally:
            made.end_all()
            await made.close_pools()
