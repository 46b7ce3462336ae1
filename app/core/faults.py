"""Classifies database faults by SQLSTATE and by the state of the connection, never by a message.

`access.retry` decides which faults are retried, and which error the caller gets if a fault remains.
"""

import errno
from collections.abc import Iterable, Iterator
from enum import Enum
from uuid import UUID

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Fault(Enum):
    """A temporary fault of the database, which rolls the transaction back."""

    CONCURRENT = "deadlock or failed serialization"
    CLASH = "the same row was inserted by another transaction"
    LOCKED = "a lock was not available in time"
    SLOW = "a statement took longer than allowed"
    LOST = "the connection was lost"
    UNREACHABLE = "no connection was available"
    UNWRITABLE = "the server could not write"


class DatabaseUnreachable(ConnectionError):
    """Raised when a connection cannot be opened: the server is down, starting or full, or refuses the connection."""


class ChangedMeanwhile(Exception):
    """Raised when a unit of work needs a lock that it should have taken earlier, for example on a row that is new.

    All units of work take their locks in the same order, so that no two of them wait for each other. The unit of work
    must therefore start again, and take the missing lock at its place in this order. `students` has the ids of all
    students that it must then lock at once.
    """

    def __init__(self, students: Iterable[UUID] = ()) -> None:
        super().__init__()
        self.students = frozenset(students)


class CommitLost(Exception):
    """Raised when the connection is lost between COMMIT and its answer, so the transaction may have been committed."""


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
    "53000": Fault.UNREACHABLE,  # out of another resource
    "53200": Fault.UNREACHABLE,  # out of memory
    "53400": Fault.UNREACHABLE,  # a limit of the server's configuration, such as the number of open files
    "53100": Fault.UNWRITABLE,  # the disk is full
    "58000": Fault.UNWRITABLE,  # an error of the server's operating system
    "58030": Fault.UNWRITABLE,  # an error of the server's disk
    "25006": Fault.UNWRITABLE,  # a standby, or a managed server that was made read-only because its disk is full
}
NO_LOGIN = "The database refuses the role of this command, or its password. `aimline migrate` makes the roles."
NO_CONNECTION = {
    "28000": NO_LOGIN,
    "28P01": NO_LOGIN,
    "3D000": "The server has no such database. Its name is the last part of AIMLINE_DATABASE_URL.",
    "53300": "The server has no connection left. Try again, or raise its max_connections.",
    "57P03": "The server is starting or shutting down. Try again in a moment.",
}
"""The sentences that explain why a running server has refused a connection, keyed by SQLSTATE."""
BROKEN = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
MAX_CAUSES = 10
"""The largest number of chained causes of an error that are examined.

An error that is raised by a rollback hides the original error, which is then one of its causes.
"""


def sqlstate_of(error: BaseException) -> str | None:
    """Returns the SQLSTATE of a SQLAlchemy or asyncpg error, or None."""
    state = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
    return state if isinstance(state, str) else None


def fault_of(error: BaseException) -> Fault | None:
    """Returns the temporary database fault that caused an error, or None if there is none."""
    return next((fault for cause in causes_of(error) if (fault := _fault(cause)) is not None), None)


def students_to_lock(error: BaseException) -> frozenset[UUID]:
    """Returns the ids of the students that must be locked first when a unit of work runs again.

    It is empty unless the unit of work failed with `ChangedMeanwhile`.
    """
    return frozenset(
        student for cause in causes_of(error) if isinstance(cause, ChangedMeanwhile) for student in cause.students
    )


def why_no_connection(error: BaseException) -> str | None:
    """Returns a sentence that explains why a server refused the connection, or None for any other error."""
    states = (sqlstate_of(cause) for cause in causes_of(error))
    return next((NO_CONNECTION[state] for state in states if state in NO_CONNECTION), None)


def cause_of(error: BaseException) -> BaseException | None:
    """Returns the exception that a traceback of `error` would print as its cause, or None."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def may_have_been_sent(error: BaseException) -> bool:
    """Returns whether the statement that failed with this error may have reached the server.

    It was certainly not sent if asyncpg refused it because the server had already ended the session.
    """
    return not any(isinstance(cause, asyncpg.InternalClientError) for cause in causes_of(error))


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and its causes, as a traceback would print them; at most `MAX_CAUSES`."""
    for _ in range(MAX_CAUSES):
        if error is None:
            return
        yield error
        error = cause_of(error)


def _fault(error: BaseException) -> Fault | None:
    if isinstance(error, CommitLost):
        return Fault.LOST
    if isinstance(error, ChangedMeanwhile):
        return Fault.CONCURRENT
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
    if isinstance(error, asyncpg.InternalClientError):
        return Fault.LOST  # the driver refuses a statement, because the server has ended the session
    if isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in BROKEN):
        return Fault.LOST
    return None
