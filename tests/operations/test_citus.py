"""Tests, without Citus, the queries by which the product recognizes a server with the extension.

A database whose catalogue lists an extension `citus` takes its place, because the product reads nothing more of it.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from app.cli.migrate import is_distributed, migrate
from app.core.crypto import generate_key
from app.core.db import UnfitServer, check_server
from app.core.embedded import EmbeddedPostgres
from app.settings import Settings
from tests.conftest import FAST

ROLE = "plain"
RENAME = "UPDATE pg_extension SET extname = 'citus' WHERE extname = 'plpgsql'"
STAND_INS = """
CREATE SCHEMA stand_in AUTHORIZATION owner;
CREATE TABLE stand_in.pg_dist_partition (logicalrelid regclass, of text, colocated text);
GRANT ALL ON stand_in.pg_dist_partition TO owner;
CREATE FUNCTION stand_in.create_reference_table(name regclass) RETURNS void LANGUAGE sql AS
$$ INSERT INTO stand_in.pg_dist_partition VALUES (name, NULL, NULL) $$;
CREATE FUNCTION stand_in.create_distributed_table(name regclass, of text, colocate_with text) RETURNS void LANGUAGE sql
AS $$ INSERT INTO stand_in.pg_dist_partition VALUES (name, of, colocate_with) $$;
ALTER ROLE owner SET search_path = public, stand_in
"""
"""Functions of Citus's names that write down what they were asked for."""


@pytest.fixture
async def server_of_its_own(tmp_path: Path) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """The address of a plain role, and an administrator's connection to the same database."""
    with EmbeddedPostgres(tmp_path, settings=FAST) as server:
        administrator = await asyncpg.connect(server.url("postgres"))
        await administrator.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'of-a-test'")
        url = make_url(server.url()).set(username=ROLE, password="of-a-test")
        try:
            yield url.render_as_string(hide_password=False), administrator
        finally:
            await administrator.close()


async def test_a_role_whose_principal_stays_on_one_node_is_refused(
    server_of_its_own: tuple[str, asyncpg.Connection],
) -> None:
    """Reads would show no rows, in silence; the sentence has the statement that repairs it."""
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
    """Every table once, all on the node of their district; what has no district is on every node.

    It is refused without the extension and over tables that are there. What was distributed stays so without asking.
    """
    with EmbeddedPostgres(tmp_path, settings=FAST) as server:
        settings = Settings(database_url=server.url(), key=generate_key("k1"))
        administrator = await asyncpg.connect(server.url("postgres"))
        try:
            with pytest.raises(UnfitServer, match="no Citus extension"):
                await asyncio.to_thread(migrate, settings, citus=True)
            await administrator.execute(f"{STAND_INS}; {RENAME}")
            assert not await is_distributed(settings, requested=False)
            await asyncio.to_thread(migrate, settings, citus=True)
            assert await is_distributed(settings, requested=False)
            rows = await administrator.fetch("SELECT logicalrelid::text, of, colocated FROM stand_in.pg_dist_partition")
            tables = await administrator.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            )
            assert sorted(row[0] for row in rows) == sorted({row[0] for row in tables} - {"alembic_version"})
            assert {row[0] for row in rows if row[1] is None} == {"district", "client", "client_secret"}
            assert {row[2] for row in rows if row[1] == "district_id"} == {"default", "district_lock"}
            await administrator.execute("DELETE FROM stand_in.pg_dist_partition")
            with pytest.raises(UnfitServer, match="not distributed"):
                await asyncio.to_thread(migrate, settings, citus=True)
        finally:
            await administrator.close()
