"""Tests that `aimline migrate` fails on an unexpected schema, and that `aimline schema` lists the differences."""

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from app.cli.migrate import EXPECTED, expected_schema
from app.cli.schema import schema_text
from app.core.schema_lines import describe_schema, differences
from app.settings import Settings
from tests.databases import drop_database
from tests.operations.conftest import as_owner, with_database
from tests.processes import aimline

ROLES = {"api": "api", "worker": "worker"}


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Yields the owner's connection to the migrated database."""
    connection = await asyncpg.connect(settings.url_of("owner"))
    yield connection
    await connection.close()


async def test_the_file_is_what_the_migrations_make(owner: asyncpg.Connection) -> None:
    """The committed file of schema lines equals the schema that the migrations create."""
    assert await schema_text(owner, ROLES) == EXPECTED.read_text(), "Run: aimline schema --write"


CHANGES = [
    ("DROP POLICY tenant ON concern", "missing: policy public.concern.tenant"),
    ("DROP POLICY owner ON concern", "missing: policy public.concern.owner"),
    ("ALTER POLICY tenant ON concern USING (true)", "missing: policy public.concern.tenant"),
    ("ALTER POLICY tenant ON concern TO api", "unexpected: policy public.concern.tenant permissive command=* to <api>"),
    ("CREATE POLICY more ON concern TO PUBLIC USING (true)", "unexpected: policy public.concern.more"),
    ("ALTER TABLE concern NO FORCE ROW LEVEL SECURITY", "missing: relation public.concern"),
    ("ALTER TABLE concern DISABLE ROW LEVEL SECURITY", "missing: relation public.concern"),
    ("REVOKE INSERT ON concern FROM api", "missing: grant INSERT on public.concern to <api>"),
    ("GRANT DELETE ON concern TO api", "unexpected: grant DELETE on public.concern to <api>"),
    ("GRANT SELECT ON concern TO PUBLIC", "unexpected: grant SELECT on public.concern to PUBLIC"),
    (
        "GRANT SELECT (client_secret_sealed) ON sis_source TO api",
        "unexpected: grant SELECT on public.sis_source.client",
    ),
    ("GRANT CREATE ON SCHEMA public TO worker", "unexpected: grant CREATE on schema public to <worker>"),
    ("DROP FUNCTION app.district_directory(text)", "missing: function app.district_directory"),
    ("ALTER FUNCTION app.district_directory(text) RESET search_path", "missing: function app.district_directory"),
    ("GRANT EXECUTE ON FUNCTION app.district_directory(text) TO PUBLIC", "unexpected: grant EXECUTE"),
    (
        "CREATE OR REPLACE FUNCTION app.enter(district uuid, reach text, schools text, students text, opens text) "
        "RETURNS void LANGUAGE plpgsql AS 'BEGIN END'",
        "missing: function app.enter",
    ),
    ("CREATE FUNCTION app.more() RETURNS int LANGUAGE sql AS 'SELECT 1'", "unexpected: function app.more()"),
    (
        "CREATE FUNCTION public.more() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "unexpected: function public.more()",
    ),
    ("ALTER TABLE concern ADD COLUMN more text", "unexpected: column public.concern.more"),
    ("ALTER TABLE concern DROP COLUMN state CASCADE", "missing: column public.concern.state"),
    ("ALTER TABLE concern ALTER COLUMN state DROP NOT NULL", "missing: column public.concern.state"),
    ("ALTER TABLE concern DROP CONSTRAINT concern_pkey CASCADE", "missing: constraint public.concern.concern_pkey"),
    ("DROP TABLE concern CASCADE", "missing: relation public.concern"),
    ("DROP SCHEMA staging CASCADE", "missing: schema staging"),
    ("CREATE TABLE app.more (a int)", "unexpected: relation app.more"),
    (
        "CREATE TRIGGER more BEFORE UPDATE ON concern FOR EACH ROW "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "unexpected: trigger public.concern.more",
    ),
]
ADDITIONS = [
    "CREATE TABLE public.of_other_software (a int PRIMARY KEY); CREATE INDEX ON public.of_other_software (a)",
    "CREATE INDEX of_an_administrator ON concern (district_id, state)",
    "CREATE ROLE report_reader; GRANT SELECT ON concern TO report_reader",
    "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
]


async def _after(owner: asyncpg.Connection, change: str) -> list[str]:
    transaction = owner.transaction()
    await transaction.start()
    try:
        await owner.execute("SET LOCAL lock_timeout = '10s'")
        await owner.execute(change)
        return differences(expected_schema()[1], await describe_schema(owner, ROLES))
    finally:
        await transaction.rollback()


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[change[:40] for change, _ in CHANGES])
async def test_a_change_is_found(owner: asyncpg.Connection, change: str, words: str) -> None:
    """A changed policy, grant, function, column, constraint, table, trigger or schema is reported as a difference."""
    differences_after = await _after(owner, change)
    assert [line for line in differences_after if line.startswith(words)], differences_after


@pytest.mark.parametrize("change", ADDITIONS, ids=[change[:40] for change in ADDITIONS])
async def test_an_administrators_addition_is_none(owner: asyncpg.Connection, change: str) -> None:
    """`aimline migrate` accepts what an administrator adds: other tables, an index, a role that only reads."""
    assert await _after(owner, change) == []


async def test_migrate_fails_on_what_is_not_its_version(server: Settings) -> None:
    """`aimline migrate` exits with 1 if the schema is not that of its version, as after a restore without policies."""
    name = f"aimline_broken_{secrets.token_hex(4)}"
    await as_owner(server, f"CREATE DATABASE {name}")
    broken = with_database(server, name)
    try:
        assert aimline(broken, "migrate").returncode == 0
        assert aimline(broken, "schema").stdout.startswith("The schema is the one of version")
        for table in ("concern", "person", "score"):
            await as_owner(broken, f"DROP POLICY tenant ON {table}")
            await as_owner(broken, f"DROP POLICY owner ON {table}")
        failed = aimline(broken, "migrate")
        assert failed.returncode == 1
        assert "is not what its version says" in failed.stderr
        assert "and 1 more" in failed.stderr
        done = aimline(broken, "schema")
        assert (done.returncode, len(done.stdout.splitlines())) == (1, 6)
        await as_owner(broken, "UPDATE alembic_version SET version_num = '9999'")
        newer = aimline(broken, "migrate")
        assert (newer.returncode, "of a newer Aimline" in newer.stderr) == (1, True), newer.stderr
        await as_owner(broken, "DROP TABLE alembic_version")
        lost = aimline(broken, "migrate")
        assert (lost.returncode, "no version" in lost.stderr) == (1, True), lost.stderr
    finally:
        await drop_database(server.url_of("owner"), name)


async def test_a_migration_over_other_tables_says_so(server: Settings) -> None:
    """If a database already has a table that a migration creates, the error says that the migration does not fit the
    schema.

    The error does not say that the database cannot be reached.
    """
    name = f"aimline_behind_{secrets.token_hex(4)}"
    await as_owner(server, f"CREATE DATABASE {name}")
    behind = with_database(server, name)
    try:
        await as_owner(behind, "CREATE TABLE concern (id integer)")
        failed = aimline(behind, "migrate")
        assert failed.returncode == 1
        assert "does not fit the schema (SQLSTATE 42P07)" in failed.stderr
    finally:
        await drop_database(server.url_of("owner"), name)
