"""Creates and drops the databases that tests make on the server."""

import asyncio

import asyncpg

ATTEMPTS = 100
PAUSE = 0.1


async def run_statement(url: str, statement: str) -> None:
    """Executes a statement in a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def drop_database(url: str, name: str) -> None:
    """Drops a database if it exists, and ends the owner's sessions in it. Tries again while the database is in use.

    The owner cannot end the processes of autovacuum or the sessions of other roles. Autovacuum ends when a drop without
    FORCE is tried. The other sessions belong to processes that are ending.
    """
    for attempt in range(ATTEMPTS):
        force = " WITH (FORCE)" if attempt % 2 == 0 else ""
        try:
            await run_statement(url, f"DROP DATABASE IF EXISTS {name}{force}")
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectInUseError):
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(PAUSE)
        else:
            return
