"""Owns how faults of the database are told apart: by SQLSTATE and by the connection's state, never by a message.

Never answers a caller and never repeats anything: `access.retry` does.
"""

import errno
from collections.abc import Iterator
from enum import Enum

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Fault(Enum):
    """The temporary faults of the database. After each of them the transaction is rolled back."""

    CONCURRENT = "deadlock or failed serialization"
    CLASH = "the same row was inserted by another transaction"
    LOCKED = "a lock was not to be had in time"
    SLOW = "a statement took longer than it may"
    LOST = "the connection was lost"
    UNREACHABLE = "no connection was to be had"


class DatabaseUnreachable(ConnectionError):
    """A connection could not be opened: the server is away, starting, full, or refuses us."""


class CommitLost(Exception):
    """The connection was lost after COMMIT was sent and before its answer came: it may have been carried out."""


SQLSTATES = {
    "23505": Fault.CLASH,
    "40001": Fault.CONCURRENT,
    "40P01": Fault.CONCURRENT,
    "55P03": Fault.LOCKED,
    "57014": Fault.SLOW,
    "25P03": Fault.LOST,  # idle_in_transaction_session_timeout
    "25P04": Fault.LOST,  # transaction_timeout
    "57P01": Fault.LOST,  # terminated by an administrator or a shutdown
    "57P02": Fault.LOST,  # another session crashed
    "57P05": Fault.LOST,  # idle_session_timeout
    "57P03": Fault.UNREACHABLE,  # starting up or shutting down
    "53300": Fault.UNREACHABLE,  # too many connections
    "53200": Fault.UNREACHABLE,  # out of memory
}
NO_LOGIN = "The database refuses the role of this command, or its password. `aimline migrate` makes the roles."
NO_CONNECTION = {
    "28000": NO_LOGIN,
    "28P01": NO_LOGIN,
    "3D000": "The server has no such database. Its name is the last part of AIMLINE_DATABASE_URL.",
    "53300": "The server has no connection left. Try again, or raise its max_connections.",
    "57P03": "The server is starting or shutting down. Try again in a moment.",
}
"""What the server says, by SQLSTATE, when it answers and gives no connection."""
BROKEN = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
DEPTH = 10
"""How many causes of an error are looked at: a failing rollback hides what it was to roll back."""


def sqlstate_of(error: BaseException) -> str | None:
    """Returns the SQLSTATE of an error of SQLAlchemy or asyncpg, if it has one."""
    state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state if isinstance(state, str) else None


def fault_of(error: BaseException) -> Fault | None:
    """Returns the temporary fault of the database behind an error; None for every other error."""
    return next((fault for one in _chain(error) if (fault := _fault(one)) is not None), None)


def why_no_connection(error: BaseException) -> str | None:
    """Returns why a server that answered gave no connection, as a sentence; None for every other error."""
    states = (sqlstate_of(one) for one in _chain(error))
    return next((NO_CONNECTION[state] for state in states if state in NO_CONNECTION), None)


def cause_of(error: BaseException) -> BaseException | None:
    """Returns what an error came of, as a traceback would show it."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def was_sent(error: BaseException) -> bool:
    """Returns whether the statement that failed may have reached the server.

    Where the server has already ended the session, asyncpg refuses to begin the statement: its protocol is not idle.
    """
    return not any(isinstance(one, asyncpg.InternalClientError) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(DEPTH):
        if error is None:
            return
        yield error
        error = cause_of(error)


def _fault(error: BaseException) -> Fault | None:
    if isinstance(error, CommitLost):
        return Fault.LOST
    if isinstance(error, DatabaseUnreachable | PoolTimeout):
        return Fault.UNREACHABLE
    state = sqlstate_of(error)
    if state in SQLSTATES:
        return SQLSTATES[state]
    if state is not None and state.startswith("08"):
        return Fault.LOST
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Fault.LOST
    if isinstance(error, asyncpg.InterfaceError) and "connection is closed" in str(error):
        return Fault.LOST
    if isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in BROKEN):
        return Fault.LOST
    return None
