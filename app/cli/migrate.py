"""`aimline migrate`: makes the run-time roles where they are missing and brings the schema up to date."""

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

from app.core.db import UnfitServer, sqlalchemy_url
from app.settings import Settings

REPOSITORY = Path(__file__).parents[2]


def alembic_config(settings: Settings, url: str | None = None) -> Config:
    """Alembic's configuration in code: the address and the role names come from the settings."""
    config = Config()
    config.set_main_option("script_location", str(REPOSITORY / "migrations"))
    config.attributes["url"] = url or settings.url_of("owner")
    config.attributes["roles"] = {role: settings.role_name(role) for role in ("api", "worker")}
    return config


async def make_roles(settings: Settings) -> None:
    """Makes `api` and `worker` as plain roles when their addresses follow from the owner's."""
    given = {"api": settings.api_database_url, "worker": settings.worker_database_url}
    connection = await asyncpg.connect(settings.url_of("owner"))
    try:
        found = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in ("api", "worker"):
            if given[role]:
                continue
            # Only a hexadecimal digest goes into the statement, which takes no parameters.
            password = settings.keyring.password(role)
            verb = "ALTER" if role in found else "CREATE"
            await connection.execute(f"{verb} ROLE {role} LOGIN PASSWORD '{password}'")
    except asyncpg.InsufficientPrivilegeError:
        raise UnfitServer(
            "The owner may not make the roles api and worker. Make them yourself and set "
            "AIMLINE_API_DATABASE_URL and AIMLINE_WORKER_DATABASE_URL."
        ) from None
    finally:
        await connection.close()


async def grant_connect(settings: Settings) -> None:
    """Lets the run-time roles into the database, and nobody else make objects there."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    try:
        name = sqlalchemy_url(settings.url_of("owner")).database
        for role in ("api", "worker"):
            await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO "{settings.role_name(role)}"')
    finally:
        await connection.close()


def migrate(settings: Settings) -> None:
    """Roles, then every migration that is missing."""
    asyncio.run(make_roles(settings))
    asyncio.run(grant_connect(settings))
    command.upgrade(alembic_config(settings), "head")
