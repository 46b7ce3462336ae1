"""Tests the embedded PostgreSQL: it keeps rows, survives kill -9, and is not accessible to others."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app.core.embedded import EmbeddedPostgres
from app.core.postgres_wheel import EmbeddedPostgresError

REPO = Path(__file__).parents[2]
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "16MB"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path / "one", settings=QUICK) as running:
        yield running


async def ask(server: EmbeddedPostgres, sql: str, role: str = "owner") -> object:
    connection = await asyncpg.connect(server.url(role))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.folder / "pgdata" / "postmaster.pid").read_text().splitlines()[0])


async def test_rows_outlive_a_restart(server: EmbeddedPostgres) -> None:
    """Committed rows are there after a stop and a start, under the same passwords."""
    await ask(server, "CREATE TABLE kept AS SELECT 42 AS n")
    before = server.url()
    server.stop()
    server.start()
    assert server.url() == before
    assert await ask(server, "SELECT n FROM kept") == 42


async def test_a_killed_server_starts_again(tmp_path: Path) -> None:
    """After kill -9 the next start recovers committed rows, in spite of a stale postmaster.pid and socket."""
    with EmbeddedPostgres(tmp_path / "one", settings={"fsync": "off"}) as server:
        await ask(server, "CREATE TABLE kept AS SELECT 42 AS n")
        os.kill(postmaster(server), signal.SIGKILL)
        server.stop()
        server.start()
        assert await ask(server, "SELECT n FROM kept") == 42


async def test_a_backend_at_work_does_not_outlive_its_server_for_long(tmp_path: Path) -> None:
    """After kill -9 of the server, a running query can keep the shared memory in use. The next start of the server ends
    this query.
    """
    with EmbeddedPostgres(tmp_path / "one", settings=QUICK) as server:
        connection = await asyncpg.connect(server.url())
        backend = connection.get_server_pid()
        busy = asyncio.ensure_future(
            connection.execute("SELECT count(*) FROM (SELECT generate_series(1, 10000000000)) s")
        )
        async with asyncio.timeout(120):
            while (
                await ask(server, f"SELECT state FROM pg_stat_activity WHERE pid = {backend}", "postgres") != "active"
            ):
                assert not busy.done()
        os.kill(postmaster(server), signal.SIGKILL)
        server.stop()
        server.start()
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)):
            await busy


STARTER = """
import sys, time
from pathlib import Path
from app.core.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print("up", flush=True)
time.sleep(600)
"""


def test_a_killed_starter_does_not_hold_the_folder(tmp_path: Path) -> None:
    """Two processes that start a server in one folder exclude each other. After kill -9 of the first, the second can
    start.
    """
    folder = tmp_path / "one"
    command = [sys.executable, "-c", STARTER, str(folder)]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as starter:
        try:
            assert starter.stdout is not None
            assert starter.stdout.readline() == "up\n"
            with pytest.raises(EmbeddedPostgresError, match="Another process runs"):
                EmbeddedPostgres(folder).start()
        finally:
            starter.kill()
    with EmbeddedPostgres(folder, settings=QUICK) as server:
        assert postmaster(server) > 0


async def test_a_lost_socket_folder_is_made_again(server: EmbeddedPostgres) -> None:
    """If the folder of the server's socket was deleted, for example by a cleaner of temporary files, it is created
    again.
    """
    where = server.url().split("host=")[1].split("&")[0]
    server.stop()
    shutil.rmtree(where, ignore_errors=True)  # the server may have removed it as it ended
    server.start()
    assert await ask(server, "SELECT 1") == 1


async def test_two_servers_side_by_side(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Servers in two folders share neither rows nor passwords."""
    with EmbeddedPostgres(tmp_path / "two", settings=QUICK) as other:
        await ask(server, "CREATE TABLE mine (n int)")
        assert await ask(other, "SELECT to_regclass('mine')") is None
        assert other.url() != server.url()


async def test_no_tcp_and_no_trust(server: EmbeddedPostgres) -> None:
    """The server listens on its socket only, and every line of pg_hba requires a password."""
    assert await ask(server, "SHOW listen_addresses") == ""
    assert server.url().split("host=")[1].startswith("/")
    lines = [line.split() for line in (server.folder / "pgdata" / "pg_hba.conf").read_text().splitlines()]
    methods = {words[-1] for words in lines if words and not words[0].startswith("#")}
    assert methods == {"scram-sha-256"}
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url(), password="guess")


async def test_the_owner_is_no_superuser(server: EmbeddedPostgres) -> None:
    """The owner's role is no superuser and cannot bypass row-level security, as on a managed cloud database."""
    powers = "SELECT ROW(rolsuper, rolbypassrls, rolcreaterole, rolcreatedb) FROM pg_roles WHERE rolname = 'owner'"
    assert await ask(server, powers) == (False, False, True, True)
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert await ask(server, owner) == "owner"


async def test_secrets_are_for_their_owner_only(server: EmbeddedPostgres) -> None:
    """Folder, cluster and password files are closed to other users of the machine."""
    assert {path.stat().st_mode & 0o777 for path in server.folder.glob("*.password")} == {0o600}
    assert (server.folder / "pgdata").stat().st_mode & 0o777 == 0o700
    assert server.folder.stat().st_mode & 0o777 == 0o700


async def test_the_text_order_is_of_the_build(server: EmbeddedPostgres) -> None:
    """Texts are ordered by PostgreSQL's own locale, so that no upgrade of the operating system changes an index."""
    provider = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'aimline'"
    assert await ask(server, provider) == "bC.UTF-8"


def test_a_wrong_setting_is_said_at_once(tmp_path: Path) -> None:
    """A wrong setting is reported at once, and not after a timeout. The error contains PostgreSQL's own message."""
    with pytest.raises(EmbeddedPostgresError, match=r"did not start; .* says:\n.*max_connections"):
        EmbeddedPostgres(tmp_path / "one", settings=QUICK | {"max_connections": "many"}).start()
