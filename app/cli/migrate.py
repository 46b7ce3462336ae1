"""Implements `aimline migrate`, which creates the roles `api` and `worker` if need be, and migrates the schema.

At the end it compares the schema with the one that this version expects (`migrations/schema.txt`). This file exceeds
250 lines so that all steps of a migration are in one place.
"""

import asyncio
import sys
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from app.cli.citus import check_cluster, distribute, is_distributed
from app.core.db import UnfitServer, connect, sqlalchemy_url
from app.core.schema_lines import describe_schema, differences
from app.core.timeouts import Timeouts
from app.settings import Settings

NO_LIMITS = (
    "The owner may not set the timeouts of the roles api and worker. The processes set them when they connect; "
    'behind a pooler that drops this, or on Citus, set them yourself: README, "Timeouts".'
)
REPOSITORY = Path(__file__).parents[2]
EXPECTED = REPOSITORY / "migrations" / "schema.txt"
"""The file with the expected schema after the newest migration, one fact per line.

`aimline schema --write` generates it.
"""
WRONG_OBJECTS = ("42P01", "42P06", "42P07", "42703", "42701", "42704", "42710", "42723", "42883", "3F000")
"""The SQLSTATEs for an object that is missing or already exists."""
MAX_DIFFERENCES = 5
"""The number of differences that an error lists; `aimline schema` lists all of them."""


def alembic_config(settings: Settings, url: str | None = None) -> Config:
    """Returns Alembic's configuration, with the database URL and role names from the settings."""
    config = Config()
    config.set_main_option("script_location", str(REPOSITORY / "migrations"))
    config.attributes["url"] = url or settings.url_of("owner")
    config.attributes["roles"] = {role: settings.role_name(role) for role in ("api", "worker")}
    return config


async def make_roles(settings: Settings, *, reset: bool = False) -> None:
    """Creates `api` and `worker` as plain roles, unless the settings have separate database URLs for them.

    An existing role whose password does not come from this installation's key may belong to another installation on the
    same server. If `reset` is set, such a role gets the password from this installation's key. Otherwise
    `UnfitServer` is raised.
    """
    urls = {"api": settings.api_database_url, "worker": settings.worker_database_url}
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        existing = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in (role for role in urls if not urls[role]):
            # Only a hexadecimal digest goes into the statement, which takes no parameters.
            login = f"{role} LOGIN PASSWORD '{settings.keyring.password(role)}'"
            if role not in existing:
                await connection.execute(f"CREATE ROLE {login}")
            elif reset:
                await connection.execute(f"ALTER ROLE {login}")
            elif not await _can_log_in(settings.url_of(role)):
                raise UnfitServer(
                    f"The role {role} exists and does not accept this key's password. Use the key it was "
                    f"created with, set AIMLINE_{role.upper()}_DATABASE_URL, or run: aimline migrate --reset-roles"
                )
    except asyncpg.InsufficientPrivilegeError:
        raise UnfitServer(
            "The owner may not create the roles api and worker. Create them yourself and set "
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
        return True  # The password was accepted, so only the right to connect is still missing.
    await connection.close()
    return True


async def limit_database(settings: Settings) -> None:
    """Lets the roles `api` and `worker` connect to the database, and revokes their rights to create objects.

    Only the owner may create temporary views, because such a view can replace a table in statements that name the table
    without its schema. Raises `UnfitServer` if the owner cannot revoke a right that another role granted.
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
            f"The run-time roles may still create objects ({', '.join(excess)}), and the owner cannot revoke it. As "
            f'the database\'s owner, run: REVOKE TEMPORARY, CREATE ON DATABASE "{name}" FROM {takers}; '
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
"""SQL for the rights to create objects that the run-time roles still have."""


async def limit_roles(settings: Settings) -> bool:
    """Sets the timeouts of the roles `api` and `worker` in this database; returns False if the owner may not set them.

    These timeouts are for the database sessions whose timeouts Aimline cannot set itself: sessions behind a pooler that
    drops a client's start-up settings, and sessions that the coordinator of Citus opens on its nodes.
    """
    connection = await connect(settings.url_of("owner"), "owner")
    database = sqlalchemy_url(settings.url_of("owner")).database
    # The worker uses one role for webhooks and syncs, so the role gets the longer limits of the two.
    limits: dict[str, Timeouts] = {"api": settings.timeouts, "worker": settings.sync_timeouts}
    try:
        for role, timeouts in limits.items():
            for name, value in timeouts.of_sessions().items():
                role_in_database = f'ROLE "{settings.role_name(role)}" IN DATABASE "{database}"'
                await connection.execute(f"ALTER {role_in_database} SET {name} = '{value}'")
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await connection.close()
    return True


async def current_version(settings: Settings) -> str | None:
    """Returns the database's revision, or None if the database contains nothing of Aimline.

    Raises `UnfitServer` for a database that has tables of Aimline but no revision, as after an interrupted restore.
    """
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        if await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NOT NULL"):
            version: str | None = await connection.fetchval("SELECT max(version_num) FROM public.alembic_version")
            if version is not None:
                return version
        if await connection.fetchval("SELECT to_regnamespace('app') IS NULL"):
            return None
    finally:
        await connection.close()
    raise UnfitServer("The database has a schema `app` and no version: a restore ended early. Begin with an empty one.")


def expected_schema() -> tuple[str, list[str]]:
    """Returns the revision that `migrations/schema.txt` describes, and the lines that describe the schema."""
    first, *lines = EXPECTED.read_text().splitlines()
    return first.removeprefix("revision "), lines


async def schema_differences(settings: Settings) -> list[str]:
    """Returns the differences between the database's schema and the schema that the newest revision expects.

    The list is empty if the schemas are equal. If the database is at another revision, the list states only this
    difference.
    """
    expected, lines = expected_schema()
    version = await current_version(settings)
    if version != expected:
        return [f"the version is {version or 'none'}, not {expected}: run aimline migrate"]
    connection = await connect(settings.url_of("owner"), "owner")
    try:
        roles = {role: settings.role_name(role) for role in ("api", "worker")}
        return differences(lines, await describe_schema(connection, roles))
    finally:
        await connection.close()


def check_schema(settings: Settings) -> None:
    """Raises `UnfitServer` if the database's schema differs from the schema that its revision expects."""
    deviations = asyncio.run(schema_differences(settings))
    if deviations:
        more = (
            f"\n… and {len(deviations) - MAX_DIFFERENCES} more; see all with: aimline schema"
            if len(deviations) > MAX_DIFFERENCES
            else ""
        )
        raise UnfitServer(
            "The schema is not what its version says: it was restored or changed by other means than migrations. "
            "Restore a backup into an empty database (docs/backup.md).\n"
            f"{chr(10).join(deviations[:MAX_DIFFERENCES])}{more}"
        )


def migrate(settings: Settings, *, reset_roles: bool = False, check: bool = True, citus: bool = False) -> None:
    """Creates the roles, runs every pending migration, and compares the schema with the expected one.

    * If `check` is false, the schema is not compared. The command that generates the expected schema needs this.
    * If `citus` is true, the tables and their rows are distributed by district. If the database is distributed already,
      new tables are always distributed.
    """
    asyncio.run(make_roles(settings, reset=reset_roles))
    asyncio.run(limit_database(settings))
    if not asyncio.run(limit_roles(settings)):
        print(NO_LIMITS, file=sys.stderr)
    is_empty = asyncio.run(current_version(settings)) is None
    distributes = asyncio.run(is_distributed(settings)) or (citus and is_empty)
    if citus:
        asyncio.run(check_cluster(settings))
    _upgrade(settings, citus=distributes)
    if citus:
        asyncio.run(distribute(settings))
    if check and expected_schema()[0] == head_revision(settings):
        # If the revisions differ, a developer added a migration without its expected schema, which a test reports.
        check_schema(settings)


def head_revision(settings: Settings) -> str | None:
    """Returns the newest migration revision of this version of Aimline."""
    return ScriptDirectory.from_config(alembic_config(settings)).get_current_head()


def check_revision(settings: Settings, revision: str, subject: str) -> None:
    """Raises `UnfitServer` for a revision that this version of Aimline does not know.

    `subject` begins the error's sentence, such as `The backup`.
    """
    try:
        ScriptDirectory.from_config(alembic_config(settings)).get_revision(revision)
    except CommandError:
        raise UnfitServer(
            f"{subject} is of version {revision}, of a newer Aimline than this one ({head_revision(settings)})."
        ) from None


def _upgrade(settings: Settings, *, citus: bool = False) -> None:
    version = asyncio.run(current_version(settings))
    if version is not None:
        check_revision(settings, version, "The database")
    if version != head_revision(settings):
        config = alembic_config(settings)
        config.attributes["citus"] = citus
        _run_migrations(config, version)


def _run_migrations(config: Config, version: str | None) -> None:
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", "")
        if state in WRONG_OBJECTS:
            raise UnfitServer(
                f"A migration does not fit the schema (SQLSTATE {state}), which is not what version "
                f"{version or 'none'} says. Restore a backup into an empty database (docs/backup.md)."
            ) from None
        raise
