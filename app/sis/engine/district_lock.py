"""Takes and describes the advisory lock that keeps a district from running two syncs at once.

Never begins or ends a run.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.work import Work, needs
from app.sis.engine.run import APPLIES, LOCK, lock_of
from app.sis.port import AlreadyRunning

# The lock belongs to a database session outside any transaction. If a frozen process sends nothing for this time, the
# server ends its session, and with it the lock. A healthy process sends four queries within this time.
SILENCE = """
SELECT set_config('idle_session_timeout', current_setting('idle_in_transaction_session_timeout'), false),
       (SELECT setting::integer FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout') / 1000.0 AS seconds
"""
BEATS = 4
UNLIMITED = 60.0  # seconds between two queries if the server has no such timeout
HOLDER = text(
    """SELECT a.application_name AS name, a.query_start AS since,
           extract(epoch FROM clock_timestamp() - a.state_change) AS silent, a.state = 'active' AS busy
    FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
      AND l.classid::bigint IN (:lock, :applies) AND l.objid::bigint = :key
    ORDER BY l.classid DESC LIMIT 1"""
)


@asynccontextmanager
async def district_sync_lock(engine: AsyncEngine, district_id: UUID) -> AsyncIterator[None]:
    """Takes the district's sync lock on a separate connection, outside any transaction, until the context ends.

    Raises `AlreadyRunning` if another process has it.
    """
    key = lock_of(district_id)
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        if not await driver.fetchval("SELECT pg_try_advisory_lock($1::integer, $2::integer)", LOCK, key):
            raise AlreadyRunning("A sync of this district is running. Try again when it has ended.")
        ended = asyncio.Event()
        heartbeat = asyncio.create_task(_keep_alive(driver, float((await driver.fetchrow(SILENCE))["seconds"]), ended))
        try:
            yield
        finally:
            ended.set()
            try:
                await heartbeat
                await driver.fetchval("SELECT pg_advisory_unlock($1::integer, $2::integer)", LOCK, key)
                await driver.execute("RESET idle_session_timeout")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await connection.invalidate()  # the connection is broken, and its lock is released


async def _keep_alive(driver: Any, silence: float, ended: asyncio.Event) -> None:
    """Sends a query several times within the session's idle timeout, until the run has ended."""
    while not ended.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(silence / BEATS or UNLIMITED):
                await ended.wait()
        if not ended.is_set():
            try:
                await driver.fetchval("SELECT 1")
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                return  # the lock is lost; the run is refused when it tries to write


@needs(Can.SYNC_ROSTER)
async def describe_holder(work: Work) -> str:
    """Returns a sentence that says which process is syncing the district, and since when it has been silent."""
    names = {"lock": LOCK, "applies": APPLIES, "key": lock_of(work.district_id) % (1 << 32)}
    row = (await work.db.execute(HOLDER, names)).one_or_none()
    if row is None:
        return "Another sync of this district has just ended."
    silent = int(row.silent or 0)
    if row.busy:
        return f"Another process ({row.name}) is writing a sync of this district, for {silent} seconds by now."
    return (
        f"Another process ({row.name}) holds this district's syncs and was last heard of {silent} seconds ago. "
        "If it is frozen, the database ends its session by itself."
    )
