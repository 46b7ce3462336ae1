"""Protects an installation on Citus, without Citus: what the product asks a server that has the extension.

A database whose catalogue names an extension `citus` stands in for one: the product reads nothing more of it.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from app.core.db import UnfitServer, check_server
from app.core.embedded import EmbeddedPostgres
from tests.conftest import FAST

ROLE = "plain"


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
    await administrator.execute("UPDATE pg_extension SET extname = 'citus' WHERE extname = 'plpgsql'")
    repair = f"ALTER ROLE \"{ROLE}\" SET citus.propagate_set_commands = 'local'"
    with pytest.raises(UnfitServer, match=re.escape(repair)):
        await check_server(url, "api")
    await administrator.execute(f"ALTER ROLE {ROLE} SET citus.propagate_set_commands = 'none'")
    with pytest.raises(UnfitServer, match="no rows and no error"):
        await check_server(url, "worker")
    await administrator.execute(repair)
    await check_server(url, "api")
