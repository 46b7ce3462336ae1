"""Tests that the roles `api` and `worker` cannot get the owner's rights, even if a role's password is stolen."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.cli.migrate import limit_database
from app.core.db import UnfitServer
from app.settings import Settings

TRAP = """
CREATE FUNCTION pg_temp.caught() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'caught: %', current_user;
END $$
"""
TABLES = """
SELECT c.relname::text AS name,
       string_agg(format('NULL::%s AS %I', format_type(a.atttypid, a.atttypmod), a.attname), ', '
                  ORDER BY a.attnum) AS columns
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
GROUP BY c.relname
"""
DEFINERS = """
SELECT format('SELECT * FROM %s(%s)', p.oid::regproc,
              (SELECT string_agg(format('NULL::%s', format_type(one, NULL)), ', ' ORDER BY place)
               FROM unnest(p.proargtypes) WITH ORDINALITY AS u(one, place))) AS call
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND has_function_privilege(p.oid, 'EXECUTE')
"""
OBJECTS = (
    "CREATE TEMP TABLE person (id uuid)",
    "CREATE TEMP VIEW person AS SELECT 1 AS id",
    "CREATE FUNCTION pg_temp.planted() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE TABLE public.planted (id uuid)",
    "CREATE VIEW public.planted AS SELECT 1 AS id",
    "CREATE FUNCTION public.planted() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION app.planted() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA planted",
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "ALTER FUNCTION app.enter(uuid, text, text, text, text) SECURITY DEFINER",
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "GRANT {owner} TO CURRENT_USER",
)


@pytest.fixture(params=["api", "worker"])
async def role(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Yields a plain connection as a run-time role, like that of somebody who has stolen its password."""
    connection = await asyncpg.connect(settings.url_of(request.param))
    yield connection
    await connection.close()


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Yields the owner's connection."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    yield connection
    await connection.close()


@pytest.mark.parametrize("statement", OBJECTS)
async def test_a_running_role_makes_nothing_and_becomes_nobody(
    statement: str, role: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    """Neither run-time role can create an object in place of a table, or take on another role."""
    name = await owner.fetchval("SELECT quote_ident(current_user)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await role.execute(statement.format(owner=name))


async def test_no_function_is_led_to_a_table_of_its_caller(role: asyncpg.Connection, owner: asyncpg.Connection) -> None:
    """No function with the owner's rights reads a temporary view in place of a table.

    The test grants the right to create temporary objects, to show that the functions are safe even then.
    """
    role_name = await role.fetchval("SELECT quote_ident(current_user)")
    database = await owner.fetchval("SELECT quote_ident(current_database())")
    tables = await owner.fetch(TABLES)
    await owner.execute(f"GRANT TEMPORARY ON DATABASE {database} TO {role_name}")
    try:
        await role.execute(TRAP)
        for table in tables:
            await role.execute(f'CREATE TEMP VIEW "{table["name"]}" AS SELECT {table["columns"]} FROM pg_temp.caught()')
        with pytest.raises(asyncpg.RaiseError, match="caught"):
            await role.execute("SELECT * FROM district")
        calls = [row["call"] for row in await role.fetch(DEFINERS)]
        assert len(calls) >= 2
        for call in calls:
            await role.execute(call)
    finally:
        await owner.execute(f"REVOKE TEMPORARY ON DATABASE {database} FROM {role_name}")


async def test_a_right_that_cannot_be_revoked_stops_the_migration(
    settings: Settings, owner: asyncpg.Connection
) -> None:
    """If the migration cannot revoke a right of `worker`, it stops. The error has the statement that revokes the
    right.
    """
    database = await owner.fetchval("SELECT quote_ident(current_database())")
    worker = f'"{settings.role_name("worker")}"'
    await owner.execute(f"CREATE ROLE planted_maker; GRANT TEMPORARY ON DATABASE {database} TO planted_maker")
    try:
        await owner.execute(f"GRANT planted_maker TO {worker}")
        with pytest.raises(UnfitServer, match=r"worker: TEMPORARY.*REVOKE TEMPORARY"):
            await limit_database(settings)
    finally:
        await owner.execute(f"REVOKE ALL ON DATABASE {database} FROM planted_maker; DROP ROLE planted_maker")
    await limit_database(settings)
