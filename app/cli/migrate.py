"""`aimline migrate`: makes the run-time roles where they are missing and brings the schema up to date."""

import asyncio
import sys
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

from app.core.db import UnfitServer, connect, sqlalchemy_url
from app.core.timeouts import Timeouts
from app.settings import Settings

NO_LIMITS = (
    "The owner may not set the timeouts of the roles api and worker. The processes ask for them when they connect; "
    'behind a pooler that drops this, or on Citus, set them yourself: README, "Timeouts".'
)
REPOSITORY = Path(__file__).parents[2]


def alembic_config(settings: Settings, url: str | None = None) -> Config:
    """Alembic's configuration in code: the address and the role names come from the settings."""
    config = Config()
    config.set_main_option("script_location", str(REPOSITORY / "migrations"))
    config.attributes["url"] = url or settings.url_of("owner")
    config.attributes["roles"] = {role: settings.role_name(role) for role in ("api", "worker")}
    return config


async def make_roles(settings: Settings, *, reset: bool = False) -> None:
    """Makes `api` and `worker` as plain roles when their addresses follow from the owner's.

    A role that is there and does not take the password of this key may serve another installation on the same
    server: it is refused in a sentence, unless `reset` says to set the password anew.
    """
    given = {"api": settings.api_database_url, "worker": settings.worker_database_url}
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        found = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in (role for role in given if not given[role]):
            # Only a hexadecimal digest goes into the statement, which takes no parameters.
            login = f"{role} LOGIN PASSWORD '{settings.keyring.password(role)}'"
            if role not in found:
                await connection.execute(f"CREATE ROLE {login}")
            elif reset:
                await connection.execute(f"ALTER ROLE {login}")
            elif not await _can_log_in(settings.url_of(role)):
                raise UnfitServer(
                    f"The role {role} exists and does not take the password that this key gives. Use the key it was "
                    f"made with, set AIMLINE_{role.upper()}_DATABASE_URL, or run: aimline migrate --reset-roles"
                )
    except asyncpg.InsufficientPrivilegeError:
        raise UnfitServer(
            "The owner may not make the roles api and worker. Make them yourself and set "
            "AIMLINE_API_DATABASE_URL and AIMLINE_WORKER_DATABASE_URL."
        ) from None
    finally:
        await connection.close()


async def _can_log_in(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url)
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        return False
    except asyncpg.InsufficientPrivilegeError:
        return True  # The password was taken; only the grant to connect is still missing.
    await connection.close()
    return True


async def grant_connect(settings: Settings) -> None:
    """Lets the run-time roles into the database, and nobody else make objects there."""
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        name = sqlalchemy_url(settings.url_of("owner")).database
        for role in ("api", "worker"):
            await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO "{settings.role_name(role)}"')
    finally:
        await connection.close()


async def limit_roles(settings: Settings) -> bool:
    """Sets the timeouts of both roles in this database; returns False where the owner may not set a role's.

    They hold where a session is not started by us: behind a pooler that drops what a client asks for at its start, and
    on the nodes of Citus, whose sessions belong to the coordinator.
    """
    connection = await connect(settings.url_of("owner"), "owner")
    database = sqlalchemy_url(settings.url_of("owner")).database
    # The worker has one role for webhooks and syncs: the role has the longer limits of the two.
    limits: dict[str, Timeouts] = {"api": settings.timeouts, "worker": settings.sync_timeouts}
    try:
        for role, timeouts in limits.items():
            for name, value in timeouts.of_sessions().items():
                whose = f'ROLE "{settings.role_name(role)}" IN DATABASE "{database}"'
                await connection.execute(f"ALTER {whose} SET {name} = '{value}'")
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await connection.close()
    return True


def migrate(settings: Settings, *, reset_roles: bool = False) -> None:
    """Roles, then every migration that is missing."""
    asyncio.run(make_roles(settings, reset=reset_roles))
    asyncio.run(grant_connect(settings))
    if not asyncio.run(limit_roles(settings)):
        print(NO_LIMITS, file=sys.stderr)
    command.upgrade(alembic_config(settings), "head")
