"""Tests a managed PostgreSQL server: there is no superuser, and an administrator has created roles with other names."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from app.core.db import check_server
from app.core.embedded import EmbeddedPostgres
from app.settings import Settings
from tests.operations.conftest import Installation, as_owner, in_thread
from tests.prepared import FAST
from tests.processes import environment, warm

pytestmark = pytest.mark.long

NAMES = {"owner": "school-owner", "api": "school api", "worker": "school.worker"}
"""Names of roles that must be quoted everywhere."""
PASSWORD = "of-a-managed-role"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def managed(source: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yields the settings of another server whose owner may create neither roles nor databases."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("managed"), settings=FAST) as server:
        in_thread(lambda: asyncio.run(_provide(server.url("postgres", "postgres"))))

        def address(role: str) -> str:
            url = make_url(server.url()).set(username=NAMES[role], password=PASSWORD, database="first")
            return url.render_as_string(hide_password=False)

        yield Settings(
            database_url=address("owner"),
            api_database_url=address("api"),
            worker_database_url=address("worker"),
            key=source.settings.key,
        )


async def _provide(url: str) -> None:
    """Creates the roles and two databases, as the administrator of a server does."""
    connection = await asyncpg.connect(url)
    try:
        for name in NAMES.values():
            await connection.execute(
                f"CREATE ROLE {_quoted(name)} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD '{PASSWORD}'"
            )
        for database in ("first", "second"):
            await connection.execute(f"CREATE DATABASE {database} OWNER {_quoted(NAMES['owner'])}")
    finally:
        await connection.close()


async def _run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    more = {
        "AIMLINE_API_DATABASE_URL": settings.api_database_url,
        "AIMLINE_WORKER_DATABASE_URL": settings.worker_database_url,
    }
    return await asyncio.to_thread(warm().run, ["aimline", *arguments], environment(settings, **more))


async def test_there_and_back_without_a_superuser(source: Installation, managed: Settings, tmp_path: Path) -> None:
    """A backup can be restored without a superuser on a server with other role names.

    A backup of the restored database can be restored too. Policies and grants get the new role names. The restore needs
    only the rights of a database owner. A sync run that waits for approval in the source does not wait any more after
    the restore.
    """
    assert (await _run(source.settings, "backup", str(tmp_path / "one"))).returncode == 0
    restored = await _run(managed, "restore", str(tmp_path / "one"), "--json")
    assert restored.returncode == 0, restored.stderr
    for role in ("api", "worker"):
        await check_server(managed.url_of(role), role)
    connection = await asyncpg.connect(managed.url_of("api"))
    try:
        enter = "SELECT app.enter($1, 'district', '{}', '{}', '{}')"
        async with connection.transaction():
            assert await connection.fetchval("SELECT count(*) FROM person") == 0, "no district is bound"
            await connection.execute(enter, source.town.district_id)
            assert await connection.fetchval("SELECT count(*) FROM person") > 40
    finally:
        await connection.close()
    for command in ("schema", "migrate"):
        repeated = await _run(managed, command)
        assert repeated.returncode == 0, repeated.stderr
    moved = await _run(managed, "backup", str(tmp_path / "two"), "--json")
    assert moved.returncode == 0, moved.stderr
    second = managed.model_copy(
        update={
            name: make_url(getattr(managed, name)).set(database="second").render_as_string(hide_password=False)
            for name in ("database_url", "api_database_url", "worker_database_url")
        }
    )
    done = await _run(second, "restore", str(tmp_path / "two"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == json.loads(restored.stdout)["rows"]
    assert json.loads(moved.stdout)["roles"] == NAMES
    held = await as_owner(second, "SELECT DISTINCT state FROM sis_run")
    assert "held" not in {row["state"] for row in held}
