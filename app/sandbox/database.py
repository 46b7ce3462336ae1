"""Empties the playground's database for `--fresh`; this is possible for the embedded server only."""

import asyncio

import asyncpg

from app.core.embedded import SUPERUSER, EmbeddedPostgres

DATABASE = "aimline"


def recreate_database(postgres: EmbeddedPostgres) -> None:
    """Deletes the embedded server's database with everything in it, and creates an empty one."""
    asyncio.run(_recreate(postgres.url(SUPERUSER, "postgres")))


async def _recreate(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {DATABASE} OWNER owner")
    finally:
        await connection.close()
