"""Tests, without Citus itself, how the product treats a server with the PostgreSQL extension Citus.

The tests give another installed extension the name `citus`. The product recognizes Citus only by this name.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from app.cli.citus import ForeignKey, LocalTable, distribution_statements, is_distributed
from app.cli.district import open_district
from app.cli.migrate import migrate
from app.core.crypto import generate_key
from app.core.db import UnfitServer, check_server, open_engine
from app.core.embedded import EmbeddedPostgres
from app.core.schema_lines import describe_schema
from app.settings import Settings
from tests.prepared import FAST

pytestmark = pytest.mark.long

ROLE = "plain"
RENAME = "UPDATE pg_extension SET extname = 'citus' WHERE extname = 'plpgsql'"
STAND_INS = """
CREATE SCHEMA stand_in AUTHORIZATION owner;
CREATE TABLE stand_in.pg_dist_partition (logicalrelid regclass, of text, colocated text);
GRANT ALL ON stand_in.pg_dist_partition TO owner;
CREATE TABLE stand_in.pg_dist_node (nodename text, nodeport integer, result text);
GRANT ALL ON stand_in.pg_dist_node TO owner;
CREATE FUNCTION stand_in.run_command_on_workers(command text)
RETURNS TABLE (nodename text, nodeport integer, success boolean, result text) LANGUAGE sql AS
$$ SELECT n.nodename, n.nodeport, true, n.result FROM stand_in.pg_dist_node n $$;
CREATE FUNCTION stand_in.create_reference_table(name regclass) RETURNS void LANGUAGE sql AS
$$ INSERT INTO stand_in.pg_dist_partition VALUES (name, NULL, NULL) $$;
CREATE FUNCTION stand_in.create_distributed_table(name regclass, of text, colocate_with text) RETURNS void LANGUAGE sql
AS $$ INSERT INTO stand_in.pg_dist_partition VALUES (name, of, colocate_with) $$;
ALTER ROLE owner SET search_path = public, stand_in
"""
"""Functions with the names of Citus's, which record their calls."""


@pytest.fixture
async def server_of_its_own(tmp_path: Path) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """Yields two things: the address of a server for a role without special rights, and an administrator's connection
    to the same database.
    """
    with EmbeddedPostgres(tmp_path, settings=FAST) as server:
        administrator = await asyncpg.connect(server.url("postgres"))
        await administrator.execute(
            f"CREATE ROLE {ROLE} LOGIN PASSWORD 'of-a-test'; CREATE TABLE public.alembic_version (version_num text); "
            f"GRANT SELECT ON public.alembic_version TO {ROLE}"
        )
        url = make_url(server.url()).set(username=ROLE, password="of-a-test")
        try:
            yield url.render_as_string(hide_password=False), administrator
        finally:
            await administrator.close()


async def test_a_role_whose_principal_stays_on_one_node_is_refused(
    server_of_its_own: tuple[str, asyncpg.Connection],
) -> None:
    """On Citus, a role is refused if its session settings do not reach the other nodes. The error names the correction.

    With such a role, reads would return no rows and no error.
    """
    url, administrator = server_of_its_own
    await check_server(url, "api")
    await administrator.execute(RENAME)
    repair = f"ALTER ROLE \"{ROLE}\" SET citus.propagate_set_commands = 'local'"
    with pytest.raises(UnfitServer, match=re.escape(repair)):
        await check_server(url, "api")
    await administrator.execute(f"ALTER ROLE {ROLE} SET citus.propagate_set_commands = 'none'")
    with pytest.raises(UnfitServer, match="no rows and no error"):
        await check_server(url, "worker")
    await administrator.execute(repair)
    await check_server(url, "api")


async def test_an_empty_database_is_distributed_by_district(tmp_path: Path) -> None:
    """An empty database can be distributed on Citus.

    Tables with a district are distributed by district. All other tables are copied to every node. Without the
    extension, this is refused. Tables that are distributed already are not distributed again.
    """
    with EmbeddedPostgres(tmp_path, settings=FAST) as server:
        settings = Settings(database_url=server.url(), key=generate_key("k1"))
        administrator = await asyncpg.connect(server.url("postgres"))
        try:
            with pytest.raises(UnfitServer, match="no Citus extension"):
                await asyncio.to_thread(migrate, settings, citus=True)
            await administrator.execute(f"{STAND_INS}; {RENAME}")
            assert not await is_distributed(settings)
            for _ in range(2):
                await asyncio.to_thread(migrate, settings, citus=True)
                assert await is_distributed(settings)
                await _must_be_distributed(administrator)
        finally:
            await administrator.close()


async def test_a_filled_database_is_distributed_with_its_keys_and_policies(tmp_path: Path) -> None:
    """Distributing a filled database on Citus is refused while a node lacks the roles.

    Afterwards each table is distributed once, and schema and rows are unchanged.
    """
    with EmbeddedPostgres(tmp_path, settings=FAST) as server:
        settings = Settings(database_url=server.url(), key=generate_key("k1"))
        administrator = await asyncpg.connect(server.url("postgres"))
        try:
            await asyncio.to_thread(migrate, settings)
            engine = open_engine(settings.url_of("worker"), name="test")
            await open_district(engine, settings.keyring, "north", "North", "America/Chicago")
            await engine.dispose()
            before = await _lines(settings)
            await administrator.execute(f"{STAND_INS}; {RENAME}")
            await administrator.execute("INSERT INTO stand_in.pg_dist_node VALUES ('worker-1', 5432, '1')")
            with pytest.raises(UnfitServer, match=r"worker-1:5432.*Create them there first"):
                await asyncio.to_thread(migrate, settings, citus=True)
            assert not await is_distributed(settings)
            await administrator.execute("UPDATE stand_in.pg_dist_node SET result = '2'")
            await asyncio.to_thread(migrate, settings, citus=True)
            await _must_be_distributed(administrator)
            assert await _lines(settings) == before
            assert await administrator.fetchval("SELECT count(*) FROM district WHERE slug = 'north'") == 1
            unlogged = "SELECT count(*) FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'"
            assert await administrator.fetchval(unlogged) == 0, "an unlogged table blocks the move of a district"
        finally:
            await administrator.close()


def test_the_statements_come_in_an_order_that_a_cluster_accepts() -> None:
    """Foreign keys are dropped before any table is distributed, and created after all tables are distributed.

    Forced row-level security is switched off only while tables are distributed.
    """
    tables = [
        LocalTable("public.a", forced=True),
        LocalTable("staging.b", unlogged=True),
        LocalTable("public.district"),
    ]
    tables += [LocalTable("public.alembic_version"), LocalTable("public.district_lock", forced=True)]
    keys = [ForeignKey("public.a", "a_fkey", "FOREIGN KEY (district_id) REFERENCES district(district_id)")]
    assert distribution_statements(tables, keys) == [
        "SET LOCAL citus.multi_shard_modify_mode = 'sequential'",
        "ALTER TABLE public.a DROP CONSTRAINT a_fkey",
        "ALTER TABLE public.a NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE public.district_lock NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE staging.b SET LOGGED",
        "SELECT create_reference_table('public.district')",
        "SELECT create_distributed_table('public.district_lock', 'district_id', colocate_with => 'default')",
        "SELECT create_distributed_table('public.a', 'district_id', colocate_with => 'public.district_lock')",
        "SELECT create_distributed_table('staging.b', 'district_id', colocate_with => 'public.district_lock')",
        "ALTER TABLE public.a ADD CONSTRAINT a_fkey FOREIGN KEY (district_id) REFERENCES district(district_id)",
        "ALTER TABLE public.a FORCE ROW LEVEL SECURITY",
        "ALTER TABLE public.district_lock FORCE ROW LEVEL SECURITY",
    ]
    assert len(distribution_statements([], [])) == 1


async def _must_be_distributed(administrator: asyncpg.Connection) -> None:
    rows = await administrator.fetch("SELECT logicalrelid::text, of, colocated FROM stand_in.pg_dist_partition")
    tables = await administrator.fetch(
        "SELECT oid::regclass::text FROM pg_class "
        "WHERE relnamespace::regnamespace::text IN ('public', 'staging') AND relkind = 'r'"
    )
    assert sorted(row[0] for row in rows) == sorted({row[0] for row in tables} - {"alembic_version"})
    assert {row[0] for row in rows if row[1] is None} == {"district", "client", "client_secret"}
    colocated = {row[2].removeprefix("public.") for row in rows if row[1] == "district_id"}
    assert colocated == {"default", "district_lock"}


async def _lines(settings: Settings) -> list[str]:
    owner = await asyncpg.connect(settings.url_of("owner"))
    try:
        roles = {purpose: settings.role_name(purpose) for purpose in ("api", "worker")}
        return sorted(await describe_schema(owner, roles))
    finally:
        await owner.close()
