"""`aimline migrate`: makes the run-time roles where they are missing and brings the schema up to date."""

import asyncio
import sys
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

from app.cli.limits import limit_roles
from app.core.db import UnfitServer, connect, sqlalchemy_url
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


async def limit_database(settings: Settings) -> None:
    """Lets the run-time roles connect, and takes from them what they could make objects with.

    A temporary view can take the place of a table in whatever names that table without its schema, so nobody but the
    owner may make one. Raises `UnfitServer` where the right comes from somebody whose grants the owner cannot revoke.
    """
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        name = sqlalchemy_url(settings.url_of("owner")).database
        roles = [settings.role_name(role) for role in ("api", "worker")]
        takers = ", ".join(["PUBLIC", *(f'"{role}"' for role in roles)])
        for role in roles:
            await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO "{role}"')
        await connection.execute(f'REVOKE TEMPORARY, CREATE ON DATABASE "{name}" FROM {takers}')
        await connection.execute(f"REVOKE CREATE ON SCHEMA public FROM {takers}")
        excess = await connection.fetchval(EXCESS, roles)
    finally:
        await connection.close()
    if excess:
        raise UnfitServer(
            f"The run-time roles may still make objects ({', '.join(excess)}), and the owner cannot revoke it. As the "
            f'database\'s owner, run: REVOKE TEMPORARY, CREATE ON DATABASE "{name}" FROM {takers}; '
            f"REVOKE CREATE ON SCHEMA public FROM {takers}"
        )


EXCESS = """
SELECT array_agg(r.role || ': ' || r.privilege ORDER BY r.role, r.privilege) FROM (
    SELECT role, p.privilege FROM unnest($1::text[]) AS role, unnest(ARRAY['TEMPORARY', 'CREATE']) AS p(privilege)
    WHERE has_database_privilege(role, current_database(), p.privilege)
    UNION ALL SELECT role, 'CREATE in public' FROM unnest($1::text[]) AS role
    WHERE has_schema_privilege(role, 'public', 'CREATE')
) AS r
"""
"""What the roles can make objects with, after the rights were revoked."""


def migrate(settings: Settings, *, reset_roles: bool = False) -> None:
    """Roles, then every migration that is missing."""
    asyncio.run(make_roles(settings, reset=reset_roles))
    asyncio.run(limit_database(settings))
    if not asyncio.run(limit_roles(settings)):
        print(NO_LIMITS, file=sys.stderr)
    command.upgrade(alembic_config(settings), "head")
