"""Freezes a process of the product with SIGSTOP while it has a lock that others need."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from app.settings import Settings
from tests.processes import TRUSTS_NOBODY, environment, free_port, warm
from tests.town import Town

PATIENCE = 120.0  # seconds for anything that must come, on however slow a machine


@dataclass
class Frozen:
    """A process of the product that can be frozen and continued."""

    pid: int
    address: str = ""

    def freeze(self) -> None:
        """Stops the process with SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continues the process."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def process(command: list[str], settings: Settings, log: Path, **limits: str) -> Iterator[Frozen]:
    """Starts a process of the product with these settings and limits, and yields it. Kills it at the end, even if
    frozen.
    """
    with log.open("w") as out, open(os.devnull) as nothing:
        streams = [nothing.fileno(), out.fileno(), out.fileno()]
        pid = warm().start(command, environment(settings, **limits), streams)
    try:
        yield Frozen(pid)
    finally:
        warm().kill(pid)


@asynccontextmanager
async def serving(settings: Settings, log: Path, **limits: str) -> AsyncIterator[Frozen]:
    """Starts `aimline serve`, waits until it answers requests, and yields its process."""
    port = free_port()
    with process(["app", "serve", "--port", str(port)], settings, log, **limits) as api:
        api.address = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(trust_env=False, verify=TRUSTS_NOBODY) as client, asyncio.timeout(PATIENCE):
            while True:
                with suppress(httpx.HTTPError):
                    if (await client.get(f"{api.address}/health/ready")).is_success:
                        break
                await asyncio.sleep(0.05)
        yield api


@asynccontextmanager
async def gate(
    town: Town, table: str, role: str, *, at_commit: bool = False
) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    """Makes insertions into a table wait for one district, until the test releases them.

    With `at_commit`, the insertion itself does not wait, but the COMMIT of its transaction does.

    Yields two connections: the first releases the insertions, and the second can see the sessions of `role`. Enter the
    block before a process is started. A trigger delays the insertions. A lock of the table is not used, because it
    would already delay the preparation of the statement.
    """
    name, key = f"gate_{secrets.token_hex(4)}", secrets.randbits(31)
    kind, when = ("CONSTRAINT TRIGGER", "AFTER") if at_commit else ("TRIGGER", "BEFORE")
    deferred = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
    holder = await asyncpg.connect(town.settings.url_of("owner"))
    watcher = await asyncpg.connect(town.settings.url_of(role))
    try:
        await holder.execute(
            f"""CREATE FUNCTION app.{name}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_advisory_xact_lock_shared({key}); RETURN NEW; END $$;
            CREATE {kind} {name} {when} INSERT ON {table} {deferred} FOR EACH ROW
                WHEN (NEW.district_id = '{town.district_id}') EXECUTE FUNCTION app.{name}();
            SELECT pg_advisory_lock({key})"""
        )
        yield holder, watcher
    finally:
        await holder.execute(f"DROP TRIGGER IF EXISTS {name} ON {table}; DROP FUNCTION IF EXISTS app.{name}()")
        await holder.close()
        await watcher.close()


async def blocked_by(connection: asyncpg.Connection, holder: int, most: int = 1) -> list[int]:
    """Waits until `most` sessions wait for a lock that the session `holder` has.

    Returns the process ids of the waiting sessions.
    """
    query = "SELECT pid FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
    async with asyncio.timeout(PATIENCE):
        while len(rows := await connection.fetch(query, holder)) < most:
            await connection.execute("SELECT pg_sleep(0.02)")
    return [row["pid"] for row in rows]


async def freeze_in_transaction(api: Frozen, holder: asyncpg.Connection, watcher: asyncpg.Connection) -> int:
    """Freezes a process in the middle of a transaction, so that it keeps its database locks.

    Before, the process must be waiting to insert a row, because `gate` delays its insertion. After the freeze, the
    insertion is released. Returns the id of the server's process for this transaction.
    """
    (pid,) = await blocked_by(watcher, await holder.fetchval("SELECT pg_backend_pid()"))
    api.freeze()
    await holder.execute("SELECT pg_advisory_unlock_all()")
    idle = "SELECT state LIKE 'idle in transaction%' FROM pg_stat_activity WHERE pid = $1"
    async with asyncio.timeout(PATIENCE):
        while not await watcher.fetchval(idle, pid):
            await watcher.execute("SELECT pg_sleep(0.02)")
    return int(pid)


async def session_ends(watcher: asyncpg.Connection, pid: int) -> None:
    """Waits until the server has ended a database session."""
    async with asyncio.timeout(PATIENCE):
        while await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid):
            await watcher.execute("SELECT pg_sleep(0.05)")
