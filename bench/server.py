"""Provides a new migrated database for a benchmark, which is dropped at the end.

The database is on the embedded server in a temporary folder, or on the server of `AIMLINE_DATABASE_URL`.
"""

import asyncio
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from app.cli.migrate import migrate
from app.core.crypto import generate_key
from app.core.embedded import EmbeddedPostgres
from app.settings import Settings

SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB"}


@contextmanager
def migrated(**options: Any) -> Iterator[Settings]:
    """Yields the settings of a fresh database; `options` are further settings of the product."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with _server(folder) as server:
            database = f"aimline_bench_{secrets.token_hex(4)}"
            asyncio.run(as_owner(server, f"CREATE DATABASE {database}"))
            url = make_url(server.url_of("owner")).set(database=database).render_as_string(hide_password=False)
            settings = server.model_copy(update={"database_url": url, **options})
            try:
                migrate(settings)
                yield settings
            finally:
                asyncio.run(_drop(server, database))


async def _drop(server: Settings, database: str) -> None:
    """Drops a database. If it is still in use, tries again for a minute.

    PostgreSQL may be vacuuming the tables, and the database's owner may not end that process.
    """
    for _ in range(60):
        try:
            await as_owner(server, f"DROP DATABASE {database} WITH (FORCE)")
            return
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectInUseError):
            await asyncio.sleep(1)
    print(f"The database {database} is still in use and was not dropped.")


async def as_owner(settings: Settings, statement: str) -> Any:
    """Runs a statement as the owner of the database and returns its first value."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@contextmanager
def _server(folder: Path) -> Iterator[Settings]:
    server = Settings()
    if server.database_url:
        key = server.key or (server.key_file.read_text() if server.key_file else generate_key("k1"))
        yield server.model_copy(update={"key": key})
        return
    with EmbeddedPostgres(folder / "server", settings=SERVER) as postgres:
        yield Settings(database_url=postgres.url("owner"), key=generate_key("k1"))
