"""Owns the engine and the connection that cannot begin without a binding. Never knows who is bound, or why.

`BEGIN` and the binding travel as one message: a second round trip would cost a quarter of the throughput.
"""

import ssl
from datetime import datetime
from typing import Any, ClassVar, cast
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import DateTime, FromClause, MetaData, Select, event, literal_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import QueuePool

from app.core.errors import Misuse
from app.core.faults import DatabaseUnreachable
from app.core.timeouts import Timeouts, keep_alive

CONVENTION = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}
MINIMUM_VERSION = 17
OVERFLOW = 2
"""A busy pool opens so many times its size."""


class Base(DeclarativeBase):
    """Every table of ours."""

    metadata = MetaData(naming_convention=CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class Tenant:
    """A row of one district: the district leads every key."""

    district_id: Mapped[UUID] = mapped_column(primary_key=True)


class TenantRow(Tenant):
    """A row of one district with an id of its own."""

    id: Mapped[UUID] = mapped_column(primary_key=True)


def lateral_lookup(query: Select[*tuple[Any, ...]], name: str) -> FromClause:
    """A subquery that is run for each row it names, by an index, and is never rewritten into a join.

    Of a district that has just been loaded the planner believes that it has a row or two, and would go through all of
    them for every row beside it. OFFSET is what it may not rewrite across.
    """
    return query.offset(literal_column("0")).lateral(name)


class BoundConnection(asyncpg.Connection):
    """A connection whose transactions begin with the binding laid on it; without one they do not begin."""

    binding: str | None = None
    checked_out = False

    def __init__(self, protocol: Any, transport: Any, *options: Any, **more: Any) -> None:
        super().__init__(protocol, transport, *options, **more)
        keep_alive(transport)

    def bind(self, statement: str) -> None:
        """Lays the statement that the next BEGIN carries; it serves once."""
        self.binding = statement

    def transaction(self, **options: Any) -> Any:
        """Refuses here, before asyncpg counts a transaction as begun, and so leaves the connection fit for use."""
        if self.checked_out and self.binding is None and not self.is_in_transaction():
            raise Misuse("A transaction began without a principal.")
        return super().transaction(**options)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        if query.startswith("BEGIN") and self.binding is not None:
            query, self.binding = f"{query} {self.binding}", None
        return str(await super().execute(query, *args, timeout=timeout))


def sqlalchemy_url(url: str) -> URL:
    """A postgresql:// address as SQLAlchemy's asyncpg dialect takes it."""
    return make_url(url).set(drivername="postgresql+asyncpg")


async def _open_connection(*options: Any, **more: Any) -> BoundConnection:
    """Opens a connection; raises `DatabaseUnreachable` where there is none to be had, whatever the reason."""
    try:
        connection = await asyncpg.connect(*options, **more)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnreachable("The database gave no connection.") from error
    return cast(BoundConnection, connection)


def open_engine(url: str, *, name: str, pool_size: int = 10, timeouts: Timeouts = Timeouts()) -> AsyncEngine:
    """An engine of bound connections. `name` shows in pg_stat_activity.

    The timeouts are set when a session starts. A SET at each transaction would cost a round trip, and may not share
    the message of BEGIN on many nodes.
    """
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=pool_size * (OVERFLOW - 1),
        pool_timeout=timeouts.connect,
        # A parameter may be a child's name: it must not reach a log through an exception.
        hide_parameters=True,
        json_serializer=lambda value: orjson.dumps(value, default=str).decode(),
        json_deserializer=orjson.loads,
        connect_args={
            "async_creator_fn": _open_connection,
            "connection_class": BoundConnection,
            "timeout": timeouts.connect,
            "server_settings": {
                "application_name": f"aimline {name}",
                # An operator's server may log the parameters of a statement that fails; of ours it does not.
                "log_parameter_max_length_on_error": "0",
                **timeouts.server_settings(),
            },
        },
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def seal(connection: Any, _record: Any, _proxy: Any) -> None:
        driver = connection.driver_connection
        if driver.is_closed():
            # PostgreSQL was restarted: take another connection in place of failing a request.
            raise DisconnectionError
        driver.checked_out = True
        # Whoever had it before may have begun nothing: their binding must not serve the next.
        driver.binding = None

    return engine


def connections_of(engine: AsyncEngine) -> int:
    """Returns how many connections an engine that `open_engine` made opens at most."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        raise Misuse("This engine has no pool with a limit.")
    return pool.size() * OVERFLOW


async def set_binding(connection: AsyncConnection, statement: str) -> BoundConnection:
    """Lays the binding of the transaction that comes next on this connection; returns the driver's connection."""
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    if not isinstance(driver, BoundConnection):
        raise Misuse("This engine's connections cannot be bound.")
    driver.bind(statement)
    return driver


AWAY = (OSError, TimeoutError, ssl.SSLError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection raises when the server is not there, or goes away while it is asked."""


class UnfitServer(RuntimeError):
    """A server too old, out of reach, or a role that row-level security does not hold."""


async def connect(url: str, purpose: str) -> asyncpg.Connection:
    """A plain connection; raises `UnfitServer` where there is none to be had, or the server is too old."""
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except AWAY as error:
        raise UnfitServer(f"The database is out of reach as {purpose}: {type(error).__name__}: {error}") from None
    found = connection.get_server_version().major
    if found < MINIMUM_VERSION:
        await connection.close()
        raise UnfitServer(f"Aimline needs PostgreSQL {MINIMUM_VERSION} or newer; this server is {found}.")
    return connection


async def check_server(url: str, purpose: str) -> None:
    """Refuses, in one sentence, a server too old, a role that could pass row-level security, or an unfit Citus."""
    connection = await connect(url, purpose)
    try:
        row = await connection.fetchrow(
            """SELECT r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
                      EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                              WHERE n.nspname IN ('public', 'app') AND c.relkind IN ('r', 'p', 'v')
                                AND pg_has_role(r.oid, c.relowner, 'MEMBER')) AS owns,
                      EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS citus,
                      current_setting('citus.propagate_set_commands', true) AS propagates
               FROM pg_roles r WHERE r.rolname = current_user"""
        )
        await connection.close()
    except AWAY as error:
        raise UnfitServer(f"The database went away while the {purpose} asked it: {type(error).__name__}.") from None
    finally:
        connection.terminate()
    if row is None:
        raise UnfitServer(f"The {purpose} runs as a role that the server does not list.")
    unfit = [
        words
        for flag, words in (
            (row["rolsuper"], "is a superuser"),
            (row["rolbypassrls"], "has BYPASSRLS"),
            (row["rolcreaterole"], "has CREATEROLE"),
            (row["owns"], "owns tables"),
        )
        if flag
    ]
    if unfit:
        raise UnfitServer(
            f"The {purpose} may not run as the role {row['rolname']!r}, which {' and '.join(unfit)}: "
            "such a role passes row-level security. Give it a plain role."
        )
    if row["citus"] and row["propagates"] != "local":
        raise UnfitServer(
            f"On Citus the {purpose} needs its principal on every node; without it, reads show no rows and no error. "
            f"As an administrator, run: ALTER ROLE \"{row['rolname']}\" SET citus.propagate_set_commands = 'local'"
        )
