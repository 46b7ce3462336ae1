"""Runs the product for a simulated year: a database, an api, a worker, a sandbox district and a webhook receiver."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg

from app.core import ids
from app.sandbox.outsiders import Receiver
from app.sandbox.process import REPOSITORY, Process, is_ready
from app.settings import Settings
from bench.server import migrated

HOST: Final = "127.0.0.1"
READY_SECONDS: Final = 300.0
JOBS_SECONDS: Final = 600.0
TIME_ZONE: Final = "America/Chicago"
SCOPES: Final = "all"
JOBS_LEFT: Final = """
SELECT (SELECT count(*) FROM task WHERE district_id = $1 AND (due <= now() OR leased_until > now()))
     + (SELECT count(*) FROM settlement WHERE district_id = $1 AND state = 'pending' AND due <= now())
     + (SELECT count(*) FROM webhook_delivery WHERE district_id = $1 AND state = 'pending' AND due <= now())
     + (SELECT count(*) FROM sis_run WHERE district_id = $1 AND state IN ('pending', 'running', 'approved'))
"""
"""Counts the jobs that the worker has to do now. An operator reads these tables; no client does."""


class JobsUnfinished(Exception):
    """Raised when the worker does not finish the due jobs in time."""


class Jobs:
    """Waits until the worker has executed all due jobs. It looks for due jobs in the database, as an operator can."""

    def __init__(self, settings: Settings, district_id: UUID) -> None:
        self._settings, self._district_id = settings, district_id

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(self._settings.url_of("owner")))
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()

    def finish(self) -> None:
        """Waits until no job is due; raises `JobsUnfinished` if that takes too long."""
        deadline = time.monotonic() + JOBS_SECONDS
        while left := self._runner.run(self._connection.fetchval(JOBS_LEFT, self._district_id)):
            if time.monotonic() > deadline:
                raise JobsUnfinished(f"{left} jobs are still due after {JOBS_SECONDS:.0f} s.")
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Installation:
    """A running installation, with a sandbox district and the credentials of a client of it."""

    base_url: str
    client_id: str
    client_secret: str
    jobs: Jobs
    receiver: Receiver


@contextlib.contextmanager
def installed() -> Iterator[Installation]:
    """Creates a database and starts the installation in it. Yields the installation, and stops it at the end."""
    with migrated(base_url=f"http://{HOST}:{_free_port()}", sandbox=True, token_seconds=3600) as settings:
        with started(settings, "year") as installation:
            yield installation


@contextlib.contextmanager
def started(settings: Settings, slug: str) -> Iterator[Installation]:
    """Creates a sandbox district in a migrated database, and starts an api, a worker and a receiver for it.

    The district exists before the worker starts, as in production. The api listens on the port of `base_url`.
    """
    port = str(urlsplit(settings.base_url).port)
    with contextlib.ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="aimline-year-")))
        environment = _environment(settings)
        made = json.loads(
            _aimline(environment, "district", "create", slug, "--sandbox", "--time-zone", TIME_ZONE, "--json")
        )
        arguments = ("--district", slug, "--scope", SCOPES, "--name", "the year", "--json")
        client = json.loads(_aimline(environment, "client", "create", *arguments))
        commands = {"api": ["app", "serve", "--host", HOST, "--port", port], "worker": ["app", "worker"]}
        for name, command in commands.items():
            resources.callback(Process(name, folder, command, environment).stop)
        _wait_until_ready(int(port))
        jobs = resources.enter_context(Jobs(settings, ids.parse_id("district", made["id"])))
        receiver = resources.enter_context(Receiver())
        yield Installation(settings.base_url, client["client_id"], client["client_secret"], jobs, receiver)


def _environment(settings: Settings) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("AIMLINE_")}
    return others | {
        "AIMLINE_DATABASE_URL": settings.database_url,
        "AIMLINE_KEY": settings.key,
        "AIMLINE_BASE_URL": settings.base_url,
        "AIMLINE_SANDBOX": "1",
        "AIMLINE_TOKEN_SECONDS": str(settings.token_seconds),
    }


def _aimline(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "app", *arguments]
    finished = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return finished.stdout


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(port):
        if time.monotonic() > deadline:
            raise TimeoutError("The api is not ready.")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
