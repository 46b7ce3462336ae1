"""Reports each statement that units of work send, through SQLAlchemy or directly through the driver."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.bound import BoundConnection
from tests.functions import inner_statements

Watcher = Callable[[BoundConnection, str], None]

_watchers: list[Watcher] = []
_run = BoundConnection.run


async def _watched_run(connection: BoundConnection, statement: str, parameters: Sequence[Any]) -> list[Any]:
    for watcher in _watchers:
        watcher(connection, statement)
    rows = await _run(connection, statement, parameters)
    composite = composite_columns(rows[0]) if rows else []
    assert not composite, f"Citus cannot pass on composite values ({', '.join(composite)}): {statement}"
    return rows


def composite_columns(row: asyncpg.Record) -> list[str]:
    """Returns the columns of a row that hold a composite value, or an array of them."""
    return [
        name
        for name, value in row.items()
        if isinstance(value[0] if isinstance(value, list) and value else value, tuple | asyncpg.Record)
    ]


BoundConnection.run = _watched_run  # type: ignore[method-assign, assignment]  # watched


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Calls `watcher` with every SQL statement that is sent during the block, and with the connection that sends it.

    If a statement calls a function of the database, `watcher` is also called with each statement of this function.
    """

    def watch(connection: BoundConnection, statement: str) -> None:
        watcher(connection, statement)
        for inner in inner_statements(statement):
            watcher(connection, inner)

    def look(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        watch(connection.connection.driver_connection, statement)

    event.listen(Engine, "before_cursor_execute", look)
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)
        event.remove(Engine, "before_cursor_execute", look)


@contextmanager
def statements_sent(engine: AsyncEngine) -> Iterator[list[str]]:
    """Yields a list of the statements that this engine's units of work send within the block.

    Statements that are sent directly to the driver are included, for any engine. BEGIN and COMMIT are not included.
    """
    statements: list[str] = []

    def keep(*arguments: Any) -> None:
        statements.append(arguments[2])

    def keep_of_driver(_connection: BoundConnection, statement: str) -> None:
        statements.append(statement)

    event.listen(engine.sync_engine, "before_cursor_execute", keep)
    _watchers.append(keep_of_driver)
    try:
        yield statements
    finally:
        _watchers.remove(keep_of_driver)
        event.remove(engine.sync_engine, "before_cursor_execute", keep)
