"""Runs the migrations as the owner, either on a database or as an SQL script."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.db import sqlalchemy_url
from app.settings import Settings


def _run(connection: Connection | None, **options: Any) -> None:
    context.configure(connection=connection, transaction_per_migration=True, **options)
    if connection is not None and context.config.attributes.get("citus"):
        # A foreign key to a table that is on every node can only be added shard by shard, in the same transaction.
        connection.exec_driver_sql("SET citus.multi_shard_modify_mode = 'sequential'")
        connection.commit()
    with context.begin_transaction():
        context.run_migrations()


async def _online() -> None:
    url = context.config.attributes.get("url") or Settings().url_of("owner")
    engine = create_async_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        # A migration that waits long for a lock would block every request behind it.
        await connection.exec_driver_sql("SET lock_timeout = '5s'")
        await connection.commit()
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


if context.is_offline_mode():
    # The SQL has no parameters, and the default parameter style would double each %.
    _run(None, url="postgresql://", dialect_name="postgresql", dialect_opts={"paramstyle": "named"}, literal_binds=True)
else:
    asyncio.run(_online())
