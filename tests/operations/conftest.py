"""Provides an installation with every kind of row that a backup must contain, and empty databases to restore into."""

import asyncio
import json
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from app.cli.backup import contents
from app.core.db import connect, open_engine
from app.main import build
from app.settings import Settings
from app.webhooks.service import NewEndpoint, register_endpoint
from tests.databases import drop_database
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.prepared import lay_database
from tests.processes import environment, warm
from tests.rooms.webhook_town import SANDBOX, happen
from tests.sis.roster_zip import Export, sync
from tests.town import Town, found_town

PARTS = 3
SIS_SECRET = "s3cret-of-a-source"


@dataclass
class Installation:
    """A database with a district that has events, secrets, a waiting upload and a sync run that waits for approval."""

    settings: Settings
    town: Town
    caller: Caller
    endpoint_id: UUID
    held_run: UUID
    cursor: str
    """A cursor of the feed after its last event."""
    made: list[str] = field(default_factory=list)


def with_database(settings: Settings, name: str, **more: str) -> Settings:
    """Returns the same settings with another database of the server."""
    urls = {"database_url": settings.database_url, **{key: value for key, value in more.items() if value}}
    changed = {key: make_url(url).set(database=name).render_as_string(hide_password=False) for key, url in urls.items()}
    return settings.model_copy(update=changed)


async def as_owner(settings: Settings, statement: str, *values: object) -> list[asyncpg.Record]:
    """Returns the rows of a statement, executed as the owner."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def empty(server: Settings) -> AsyncIterator[Callable[[], "EmptyDatabase"]]:
    """Yields a function that creates empty databases on the server; they are dropped at the end."""
    made: list[str] = []

    def make() -> EmptyDatabase:
        made.append(f"aimline_empty_{secrets.token_hex(4)}")
        return EmptyDatabase(server, made[-1])

    yield make
    for name in made:
        await drop_database(server.url_of("owner"), name)


@dataclass
class EmptyDatabase:
    """A database that is created when its settings are first requested."""

    server: Settings
    name: str

    async def settings(self) -> Settings:
        """Creates the database if needed, and returns settings for it."""
        await as_owner(self.server, f"CREATE DATABASE {self.name}")
        return with_database(self.server, self.name)


@asynccontextmanager
async def installed(settings: Settings, folder: Path) -> AsyncIterator[Installation]:
    """Fills a migrated database, and yields it as an `Installation`."""
    async with AsyncExitStack() as stack:
        engines: list[AsyncEngine] = []
        for role in ("api", "worker"):
            engines.append(open_engine(settings.url_of(role), name=f"tests {role}", pool_size=3))
            stack.push_async_callback(engines[-1].dispose)
        app = build(settings)
        stack.push_async_callback(app.state.services.engine.dispose)
        town = await found_town("north", engines[0], engines[1], settings)
        async with town.unit() as work:
            endpoint, _ = await register_endpoint(
                work, NewEndpoint("http://127.0.0.1:18099/hook", ("concern.raised",)), SANDBOX
            )
        asks = caller(app, town, CLIENT_SCOPES)
        held = await hold_a_sync(town, folder)
        await _send_a_zip(asks)
        for _ in range(3):
            await happen(town)
        page = (await asks.get("/v1/events")).json()
        yield Installation(settings, town, asks, endpoint.id, held, page["next"])


async def hold_a_sync(town: Town, folder: Path) -> UUID:
    """Runs a sync that removes most students of a class and must therefore wait for approval. Returns the run's id."""
    export = Export()
    await sync(town, export, folder)
    export.without("enrollments", *(f"e{n}" for n in range(0, 24, 2)))
    report = await sync(town, export, folder)
    assert report.state == "held"
    return report.run_id


async def _send_a_zip(asks: Caller) -> None:
    rest = {
        "name": "rest",
        "kind": "oneroster-1.2",
        "url": "https://sis.example.org/ims/oneroster/rostering/v1p2",
        "client_id": "north",
        "client_secret": SIS_SECRET,
    }
    made = await asks.post("/v1/sis-sources", rest)
    assert made.status_code == 201, made.text
    made = await asks.post("/v1/sis-sources", {"name": "sent", "kind": "oneroster-csv", "url": "upload:"})
    path = f"/v1/sis-sources/{made.json()['id']}/roster"
    sent = await asks.ask("POST", path, content=Export().packed(), headers={"Content-Type": "application/zip"})
    assert sent.status_code == 202, sent.text


@pytest.fixture(scope="module")
async def source(server: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    """Yields the installation that the tests back up."""
    name = f"aimline_source_{secrets.token_hex(4)}"
    settings = with_database(server, name).model_copy(update={"sandbox": True, "base_url": "http://aimline.test"})
    await lay_database(server, settings, name)
    async with installed(settings, tmp_path_factory.mktemp("source")) as installation:
        yield installation
    await drop_database(server.url_of("owner"), name)


def in_thread(run: Callable[[], None]) -> None:
    """Runs a function that starts its own event loop, such as `migrate`, in a thread."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(run).result()


async def run_aimline(settings: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with these settings and returns its result."""
    command = ["aimline", *arguments]
    return await asyncio.to_thread(warm().run, command, environment(settings, **more))


async def rows_of_tables(settings: Settings) -> dict[str, Any]:
    """Returns, for each table, a digest of its rows and their number."""
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        return {
            table: [
                tuple(row)
                for row in await connection.fetch(
                    f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {table} AS t"
                )
            ]
            for table in await contents.own_tables(connection)
        }
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def backup(source: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a backup of a database in which a sync waits for approval and an upload waits for the worker."""
    folder = tmp_path_factory.mktemp("backups") / "one"
    done = await run_aimline(source.settings, "backup", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["tables"]["public.person"] > 40
    assert manifest["tables"]["public.sis_upload"] > 0
    return folder
