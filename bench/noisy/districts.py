"""Provides two districts of the same size, each with a client, and the product's api in a separate process."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.authenticate import Tokens
from app.access.directory import Grant, KnownClient
from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.cli.district import open_district
from app.core.ids import new_id
from app.roster.models import Org, Person
from app.settings import Settings

SCOPES = ("roster:read",)


@needs(Can.SYNC_ROSTER)
async def _add_students(work: Work, count: int) -> None:
    school = new_id()
    of = {"district_id": work.district_id}
    await work.db.execute(insert(Org).values(**of, id=school, name="School", type="school"))
    lists: dict[str, Any] = {"grades": ["03"], "user_ids": [], "agent_sourced_ids": [], "pinned": []}
    person = {**of, "role": "student", "is_student": True, "enabled": True, "school_ids": [school], **lists}
    rows = [{**person, "id": new_id(), "given_name": f"Given{n}", "family_name": f"Family{n:05}"} for n in range(count)]
    await work.db.execute(insert(Person), rows)


async def open_with_students(engine: AsyncEngine, settings: Settings, slug: str, count: int) -> UUID:
    """Creates a district with a number of students and returns its id."""
    district_id = await open_district(engine, settings.keyring, slug, slug, "UTC")
    async with unit(engine, system_principal(district_id, "bench"), settings.keyring, "bench") as work:
        await _add_students(work, count)
    return district_id


def token_of(settings: Settings, district_id: UUID, base_url: str, scopes: tuple[str, ...] = SCOPES) -> str:
    """Returns an access token for a new client of a district. The token is requested from the api."""
    grant = Grant(district_id, "bench", frozenset(scopes), ())
    client = KnownClient(new_id(), "bench", (), (grant,))
    return Tokens(settings.keyring, base_url, 3600).issue(client, grant, scopes).token


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Runs `aimline serve` with one process and yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}"
    settings_values = {"DATABASE_URL": settings.database_url, "KEY": settings.key, "SANDBOX": "1", "BASE_URL": base_url}
    settings_values["CONCURRENCY"] = str(settings.concurrency)
    settings_values |= {name: str(getattr(settings, name.lower())) for name in ("DISTRICT_REQUESTS", "CLIENT_REQUESTS")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIMLINE_")}
    env = {**inherited, **{f"AIMLINE_{name}": value for name, value in settings_values.items()}}
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(base_url)
            yield base_url
        finally:
            process.terminate()


def _wait_until_ready(base_url: str) -> None:
    until = time.monotonic() + 180  # a busy machine takes long
    while time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"{base_url}/health/ready"):  # noqa: S310  # our own address
            return
        time.sleep(0.1)
    raise TimeoutError("The api did not start.")
