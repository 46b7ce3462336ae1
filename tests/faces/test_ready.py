"""Tests the health checks: a process that cannot serve reports that, and its log gives the reason."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import structlog
from alembic.script import ScriptDirectory
from fastapi import FastAPI

from app.cli.migrate import alembic_config
from app.core.schema import SchemaState, migrations, schema_state
from app.main import build
from app.rest import health
from app.settings import Settings
from tests.faces.rest_town import plain


@asynccontextmanager
async def changed(settings: Settings, change: str, back: str) -> AsyncIterator[None]:
    """Changes this run's database as the owner, and reverts the change at the end."""
    owner = await asyncpg.connect(settings.url_of("owner"))
    try:
        await owner.execute(change)
        try:
            yield
        finally:
            await owner.execute(back)
    finally:
        await owner.close()


def version(number: str) -> str:
    """Returns SQL that sets the stored schema version to `number`, the number of a migration."""
    return f"UPDATE alembic_version SET version_num = '{number}'"


@pytest.mark.parametrize(
    ("change", "back", "status", "event"),
    [
        (version("0000"), version(migrations()[-1]), 503, "not_ready"),
        (version("9999"), version(migrations()[-1]), 200, "schema_ahead"),
        ("REVOKE SELECT ON alembic_version FROM api", "GRANT SELECT ON alembic_version TO api", 503, "not_ready"),
    ],
    ids=["behind", "ahead", "before the grant"],
)
async def test_a_schema_that_is_behind_is_not_ready(
    *,
    app: FastAPI,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    back: str,
    status: int,
    event: str,
) -> None:
    """With an older schema a process is not ready, and with a newer one it is ready. Both cases are logged."""
    monkeypatch.setattr(health, "migrations", lambda: ("0000", *migrations()))
    async with plain(app) as client:
        async with changed(settings, change, back):
            with structlog.testing.capture_logs() as logs:
                answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (status, {"ok": status == 200})
        (line,) = [one for one in logs if one["event"] == event]
        assert line["reason"].startswith("The schema is ")
        assert (await client.get("/health/ready")).status_code == 200


def test_the_files_of_the_migrations_are_in_alembics_order(settings: Settings) -> None:
    """The newest migration by file name is the one to which alembic upgrades."""
    script = ScriptDirectory.from_config(alembic_config(settings))
    assert [one.revision for one in script.walk_revisions()][::-1] == list(migrations())


def test_a_database_without_a_version_is_behind() -> None:
    """A database without a version, or one whose version cannot be read, is not ready."""
    assert schema_state(None, ("0001", "0002")) is SchemaState.BEHIND
    assert schema_state("0001", ("0001", "0002")) is SchemaState.BEHIND
    assert schema_state("0002", ("0001", "0002")) is SchemaState.CURRENT


@pytest.mark.skipif(bool(os.environ.get("AIMLINE_DATABASE_URL")), reason="The server is on another machine.")
async def test_a_database_that_hangs_is_not_ready(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the database server does not answer, the health check soon says that the process is not ready.

    The test stops the server's process, which is like a disk that hangs. Earlier, the check waited for 40 s.
    """
    monkeypatch.setattr(health, "MAX_SECONDS", 0.5)
    app = build(settings.model_copy(update={"statement_timeout": 600}))  # in place of 30 s, for slow machines
    engine = app.state.services.engine
    async with engine.connect() as connection:
        pid = (await connection.get_raw_connection()).driver_connection.get_server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(120), plain(app) as client:
            answer = await client.get("/health/ready")
    finally:
        os.kill(pid, signal.SIGCONT)
        await engine.dispose()
    assert (answer.status_code, answer.json()) == (503, {"ok": False})
