"""Creates the database engine and its connections, which refuse to begin a transaction without a principal.

`BEGIN` and the statement that binds the principal are sent as one message, because a second round trip would cost a
quarter of the throughput.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    FromClause,
    MetaData,
    Select,
    event,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from app.core.bound import BoundConnection
from app.core.errors import Misuse
from app.core.faults import DatabaseUnreachable, why_no_connection
from app.core.timeouts import Timeouts

CONVENTION = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}
Value = TypeVar("Value")
MINIMUM_VERSION = 17
OVERFLOW = 2
"""How many connections a busy pool can have at most, as a multiple of the pool's normal size."""
FOR_MANY_ROWS = (text("SET LOCAL work_mem = '64MB'"), text("SET LOCAL enable_nestloop = off"))
"""The settings of a transaction that reads a whole district. Each SET must be sent in a separate message."""


Bound: TypeAlias = Value | ColumnElement[Value]
"""A value for a statement, or a parameter of a statement that is built once and executed with several values."""


class Base(DeclarativeBase):
    """The declarative base class of every table."""

    metadata = MetaData(naming_convention=CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class Tenant:
    """Mixin for a table whose rows each belong to one district; the district's id is the first column of every key."""

    district_id: Mapped[UUID] = mapped_column(primary_key=True)


class TenantRow(Tenant):
    """Mixin for a table whose rows belong to one district and have ids of their own."""

    id: Mapped[UUID] = mapped_column(primary_key=True)


class HasChangeTime:
    """Mixin for a row that stores the time of its last change. The list filter `updated_since` uses this time.

    Every update through a mapped class sets the column. An UPDATE that is written as SQL text must set it itself; a
    test finds statements that do not.
    """

    __mapper_args__: ClassVar[dict[str, Any]] = {"eager_defaults": False}

    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now(), deferred=True)


def lateral_lookup(query: Select[*tuple[Any, ...]], name: str) -> FromClause:
    """Returns a subquery that PostgreSQL executes once for each row of the outer query (LATERAL), by an index.

    The `OFFSET` in the subquery keeps PostgreSQL from rewriting it into a join. For a district that has just been
    loaded, the planner estimates one or two rows, so a join would scan the whole table for every outer row.
    """
    return query.offset(literal_column("0")).lateral(name)


async def plan_for_many_rows(db: AsyncSession) -> None:
    """Sets up the rest of the transaction for statements that read the rows of a whole district.

    Under row-level security, the planner expects one or two rows where there are a hundred thousand. It would therefore
    choose nested loops, which compare every row with every other. This function turns nested loops off, so that the
    planner uses hash joins, and provides enough memory for the hash tables.
    """
    for setting in FOR_MANY_ROWS:
        await db.execute(setting)


def json_text(value: Any) -> str:
    """Returns a value as the JSON text that is sent for a parameter of the type `jsonb`."""
    # `default=str` is for the driver's UUID class, which the encoder does not know.
    return orjson.dumps(value, default=str).decode()


def sqlalchemy_url(url: str) -> URL:
    """Converts a postgresql:// URL into the form that SQLAlchemy's asyncpg dialect expects."""
    return make_url(url).set(drivername="postgresql+asyncpg")


async def _open_connection(*options: Any, answer_within: float, **keywords: Any) -> BoundConnection:
    """Opens a connection; raises `DatabaseUnreachable` when that fails for any reason.

    The connection ends if the server does not answer a message within `answer_within` seconds.
    """
    try:
        connection: BoundConnection = await asyncpg.connect(*options, **keywords)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnreachable("The database refused a connection or did not answer.") from error
    connection.limit_answers(answer_within)
    return connection


def open_engine(url: str, *, name: str, pool_size: int = 10, timeouts: Timeouts = Timeouts()) -> AsyncEngine:
    """Creates a database engine whose connections refuse to begin a transaction without a principal.

    `name` appears as the application in pg_stat_activity. The timeouts are set when a database session starts. Setting
    them in each transaction would cost a round trip, and on a sharded database a SET cannot share a message with BEGIN.
    """
    engine = create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=pool_size * (OVERFLOW - 1),
        pool_timeout=timeouts.connect,
        # The connection that was used last is used next: its server process still has plans and pages in its cache.
        pool_use_lifo=True,
        # A parameter may be a child's name: it must not reach a log through an exception.
        hide_parameters=True,
        json_serializer=json_text,
        json_deserializer=orjson.loads,
        connect_args={
            "async_creator_fn": _open_connection,
            "connection_class": BoundConnection,
            # By default, asyncpg plans a statement of more than 15 kB each time; a nested read may be longer.
            "max_cacheable_statement_size": 0,
            # By default, asyncpg forgets a statement after five minutes. PostgreSQL would then plan it for its values
            # again, five times on each connection; that takes up to 60 times as long as running its general plan.
            "max_cached_statement_lifetime": 0,
            "timeout": timeouts.connect,
            "answer_within": timeouts.answer,
            "server_settings": {
                "application_name": f"aimline {name}",
                # A server may be configured to log the parameters of failing statements; our sessions turn that off.
                "log_parameter_max_length_on_error": "0",
                # A nested read is one large statement, which JIT would take longer to compile than it runs.
                "jit": "off",
                **timeouts.server_settings(),
            },
        },
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def reset_binding(connection: Any, _record: Any, _proxy: Any) -> None:
        driver = connection.driver_connection
        if driver.is_closed() or driver.has_open_transaction:
            # PostgreSQL was restarted, or a message was cut off. SQLAlchemy then opens another connection, and the
            # request does not fail.
            raise DisconnectionError
        driver.checked_out = True
        # The previous user may have set a binding without beginning a transaction; the next user must not get it.
        driver.binding = None

    @event.listens_for(engine.sync_engine, "reset")
    def end_transaction(connection: Any, _record: Any, state: Any) -> None:
        driver = connection.driver_connection
        if state.terminate_only or driver.is_closed():
            return
        if driver.has_begun:
            # SQLAlchemy rolls back its own transaction only; this one was begun on the driver.
            connection.run_async(lambda driver: driver.roll_back_begun())

    return engine


def connections_of(engine: AsyncEngine) -> int:
    """Returns the largest number of connections that an engine opens. The engine must come from `open_engine`."""
    pool = engine.pool
    if not isinstance(pool, QueuePool):
        raise Misuse("This engine has no pool with a limit.")
    return pool.size() * OVERFLOW


async def set_binding(connection: AsyncConnection, statement: str) -> BoundConnection:
    """Stores the statement that binds the connection's next transaction to a principal.

    Returns the driver's connection.
    """
    driver = _bindable((await connection.get_raw_connection()).driver_connection)
    driver.bind(statement)
    return driver


def _bindable(driver: Any) -> BoundConnection:
    if not isinstance(driver, BoundConnection):
        raise Misuse("This engine's connections cannot be bound.")
    return driver


class HeldConnection:
    """A connection from an engine's pool. Its next transaction will be bound to a principal.

    SQLAlchemy's own connection object is created when it is first needed, because most reads do not need one.
    """

    def __init__(self, engine: AsyncEngine, pooled: PoolProxiedConnection) -> None:
        self._engine, self._pooled = engine, pooled
        self._connection: AsyncConnection | None = None
        self.driver: BoundConnection = _bindable(pooled.driver_connection)
        self._ending = asyncio.Lock()
        self._is_closed = False

    @property
    def connection(self) -> AsyncConnection:
        """Returns SQLAlchemy's connection, which closes with this one."""
        if self._connection is None:
            connection = Connection(self._engine.sync_engine, self._pooled)
            self._connection = AsyncConnection(self._engine, connection)
        return self._connection

    async def invalidate(self) -> None:
        """Closes the connection to the server, because its state is unknown.

        Does nothing if this object is closed already: a task may be cancelled again while it waits for this method, and
        then close the object meanwhile.
        """
        async with self._ending:
            if not self._is_closed:
                await self.connection.invalidate()

    async def close(self) -> None:
        """Gives the connection back to the pool; a transaction that is still open is rolled back first."""
        async with self._ending:
            self._is_closed = True
            if self._connection is None:
                await greenlet_spawn(self._pooled.close)
            else:
                await self._connection.close()


@asynccontextmanager
async def bound_connection(engine: AsyncEngine, statement: str) -> AsyncIterator[HeldConnection]:
    """Yields a connection from the pool. Its next transaction is bound to a principal by `statement`.

    After the `async with` block, the connection goes back to the pool. If the block failed, a rollback is sent to the
    server first. A separate task does this (as in SQLAlchemy), because a cancellation must not interrupt the rollback.
    After a commit, nothing is sent to the server, so no task is needed.
    """
    held = HeldConnection(engine, await greenlet_spawn(engine.sync_engine.raw_connection))
    try:
        held.driver.bind(statement)
        yield held
    except BaseException:
        await asyncio.shield(asyncio.create_task(held.close()))
        raise
    await held.close()


CONNECTION_ERRORS = (
    OSError,
    TimeoutError,
    ssl.SSLError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""The errors that a driver raises when the server cannot be reached or disconnects during a query."""


class UnfitServer(RuntimeError):
    """Raised for a database server that is too old or unreachable, or a role that can bypass row-level security."""


async def connect(url: str, purpose: str) -> asyncpg.Connection:
    """Opens a plain connection; raises `UnfitServer` when the server cannot be reached or is too old."""
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except CONNECTION_ERRORS as error:
        reason = None if purpose == "owner" else why_no_connection(error)
        detail = reason or f"{type(error).__name__}: {error}"
        raise UnfitServer(f"The database is out of reach as {purpose}: {detail}") from None
    version = connection.get_server_version().major
    if version < MINIMUM_VERSION:
        await connection.close()
        raise UnfitServer(f"Aimline needs PostgreSQL {MINIMUM_VERSION} or newer; this server is {version}.")
    return connection


async def check_server(url: str, purpose: str) -> None:
    """Checks that a database server and the role of its URL are suitable.

    Raises `UnfitServer` for a server that is too old, a role that could bypass row-level security, a role that lacks a
    setting which Citus needs, or a database without a schema that the role may read.
    """
    connection = await connect(url, purpose)
    try:
        row = await connection.fetchrow(
            """SELECT r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
                      EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                              WHERE n.nspname IN ('public', 'app') AND c.relkind IN ('r', 'p', 'v')
                                AND pg_has_role(r.oid, c.relowner, 'MEMBER')) AS owns,
                      (SELECT has_table_privilege(c.oid, 'SELECT')
                       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE n.nspname = 'public' AND c.relname = 'alembic_version') AS may_read,
                      EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') AS citus,
                      current_setting('citus.propagate_set_commands', true) AS propagates
               FROM pg_roles r WHERE r.rolname = current_user"""
        )
        await connection.close()
    except CONNECTION_ERRORS as error:
        raise UnfitServer(
            f"The database disconnected during the check of the {purpose}: {type(error).__name__}."
        ) from None
    finally:
        connection.terminate()
    if row is None:
        raise UnfitServer(f"The {purpose} runs as a role that the server does not list.")
    reasons = [
        reason
        for flag, reason in (
            (row["rolsuper"], "is a superuser"),
            (row["rolbypassrls"], "has BYPASSRLS"),
            (row["rolcreaterole"], "has CREATEROLE"),
            (row["owns"], "owns tables"),
        )
        if flag
    ]
    if reasons:
        raise UnfitServer(
            f"The {purpose} may not run as the role {row['rolname']!r}, which {' and '.join(reasons)}: "
            "such a role bypasses row-level security. Use a role without these rights."
        )
    if row["citus"] and row["propagates"] != "local":
        raise UnfitServer(
            f"On Citus the {purpose} needs its principal on every node; without it, reads show no rows and no error. "
            f"As an administrator, run: ALTER ROLE \"{row['rolname']}\" SET citus.propagate_set_commands = 'local'"
        )
    if row["may_read"] is None:
        raise UnfitServer(f"The {purpose} cannot start: the database has no schema. Run: aimline migrate")
    if not row["may_read"]:
        raise UnfitServer(
            f"The {purpose} cannot start: the role {row['rolname']!r} may not read the schema. The first `aimline "
            "migrate` and the end of `aimline restore` give this right to the roles that are configured then."
        )
