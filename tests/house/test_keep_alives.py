"""Tests that both ends of a TCP connection between the product and PostgreSQL notice that the other end is lost."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.core.child import unprivileged
from app.core.db import open_engine
from app.core.embedded import EmbeddedPostgres
from app.core.postgres_wheel import binary
from app.core.postgres_wheel import environment as postgres_environment
from app.core.timeouts import IDLE, INTERVAL, PROBES, UNACKNOWLEDGED
from tests.processes import free_port

SERVER = {
    "tcp_keepalives_idle": IDLE,
    "tcp_keepalives_interval": INTERVAL,
    "tcp_keepalives_count": PROBES,
    "tcp_user_timeout": UNACKNOWLEDGED * 1000,
}
"""The keep-alive settings of a session in PostgreSQL, which show what the server has set on its socket."""


@pytest.fixture
def tcp_url(tmp_path: Path) -> Iterator[str]:
    """Starts a PostgreSQL server that listens on TCP, unlike the embedded server, and yields the owner's URL."""
    with EmbeddedPostgres(tmp_path / "cluster", settings={"fsync": "off"}) as embedded:
        password = (embedded.folder / "owner.password").read_text()
    port = free_port()
    options = ["-c", "listen_addresses=127.0.0.1", "-p", str(port), "-c", "unix_socket_directories="]
    server = subprocess.Popen(
        [binary("postgres"), "-D", embedded.folder / "pgdata", *options, "-c", "fsync=off"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=postgres_environment(),
        start_new_session=True,
        **unprivileged(signal.SIGINT),
    )
    try:
        yield f"postgresql://owner:{password}@127.0.0.1:{port}/aimline"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


@pytest.mark.long
async def test_both_ends_of_a_pool_connection_send_keep_alives(tcp_url: str) -> None:
    """A connection of the pool has TCP keep-alives at both ends, with our times.

    Without them, a process whose database host was switched off waits for hours, and the session of a process that was
    switched off keeps its locks as long.
    """
    await _wait_until_ready(tcp_url)
    engine = open_engine(tcp_url, name="tests keep-alives")
    try:
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            rows = await driver.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY ($1)", list(SERVER))
            ours = driver._transport.get_extra_info("socket")
            options = [
                ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                *(ours.getsockopt(socket.IPPROTO_TCP, number) for number in _numbers()),
            ]
    finally:
        await engine.dispose()
    assert {row["name"]: int(row["setting"]) for row in rows} == SERVER
    assert [bool(options[0]), *options[1:]] == [True, IDLE, INTERVAL, PROBES]


def _numbers() -> list[int]:
    """Returns the numbers of the socket options for the times of keep-alives; macOS has another name for the first."""
    names = vars(socket)
    return [
        names.get("TCP_KEEPIDLE") or names["TCP_KEEPALIVE"],
        names["TCP_KEEPINTVL"],
        names["TCP_KEEPCNT"],
    ]


async def _wait_until_ready(url: str) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError, asyncpg.PostgresError):
                await (await asyncpg.connect(url)).close()
                return
            await asyncio.sleep(0.05)
