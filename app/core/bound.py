"""Defines the database connection that the driver uses. It refuses to begin a transaction without a principal.

`BEGIN` and the statement that binds the principal are sent as one message, because a second round trip would cost a
quarter of the throughput. Reads that do not need SQLAlchemy run directly on the driver, from BEGIN to COMMIT, with a
third of the processor time that SQLAlchemy takes. If code later uses a SQLAlchemy session in such a transaction, the
session takes the transaction over and ends it.

The server limits the time of a statement itself. If the server no longer answers at all, for example because its
machine or its disk hangs, `AnswerLimit` ends the connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final

import asyncpg

from app.core.errors import Misuse
from app.core.timeouts import keep_alive

MESSAGES: Final = frozenset(
    ("query", "prepare", "bind_execute", "bind_execute_many", "bind", "execute", "close_portal", "close_statement")
)
"""The driver's methods that send a message and wait for its answer.

COPY is left out, because it may wait for its own input.
"""


class AnswerLimit:
    """The driver's protocol object, with a limit for the time until the server answers a message.

    If the limit of `seconds` is exceeded, calls `end`, which must end the connection. The driver then raises an error
    for the message. A limit of the driver itself (`command_timeout`) would ask the server to cancel the statement, and
    would wait for the answer.
    """

    def __init__(self, protocol: Any, seconds: float, end: Callable[[], None]) -> None:
        self._protocol, self._seconds, self._end = protocol, seconds, end

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._protocol, name)
        if name in MESSAGES:
            value = self._limited(value)
            setattr(self, name, value)
        return value

    def _limited(self, send: Any) -> Any:
        loop = asyncio.get_running_loop()

        @wraps(send)
        async def send_in_time(*arguments: Any, **keywords: Any) -> Any:
            timer = loop.call_later(self._seconds, self._end)
            try:
                return await send(*arguments, **keywords)
            finally:
                timer.cancel()

        return send_in_time


class BoundConnection(asyncpg.Connection):
    """A connection on which each transaction must be bound to a principal when it begins.

    For this, an SQL statement that sets the principal (the binding statement) is sent together with BEGIN.
    """

    binding: str | None = None
    checked_out = False
    _protocol: Any
    _begun: Any = None
    """The transaction that `begin_bound` began; None once SQLAlchemy has joined the transaction or it has ended."""

    def __init__(self, protocol: Any, transport: Any, *options: Any, **keywords: Any) -> None:
        super().__init__(protocol, transport, *options, **keywords)
        keep_alive(transport)

    def limit_answers(self, seconds: float) -> None:
        """Ends this connection if the server does not answer a message within this number of seconds."""
        self._protocol = AnswerLimit(self._protocol, seconds, self.terminate)

    def bind(self, statement: str) -> None:
        """Stores the statement that binds the next transaction to its principal. It is sent with the next BEGIN.

        Raises `Misuse` if a transaction is open, because that transaction belongs to another principal.
        """
        if self.has_open_transaction:
            raise Misuse("The connection still has a transaction of another principal.")
        self.binding = statement

    @property
    def has_open_transaction(self) -> bool:
        """Returns whether a transaction is open or may be open.

        A transaction may be open if the message that was to begin or end it was interrupted.
        """
        begun = self._top_xact  # type: ignore[attr-defined]  # the driver has no public name for it
        return begun is not None or self.is_in_transaction()

    def transaction(self, **options: Any) -> Any:
        """Returns a transaction that the caller starts. Raises `Misuse` if `bind` has not set a principal for it.

        The error is raised here, before asyncpg counts the transaction as begun, so that the connection stays usable.
        If `begin_bound` has begun a transaction, the result is an object through which SQLAlchemy continues and ends
        this transaction.
        """
        if self._begun is not None:
            begun, self._begun = self._begun, None
            return _JoinedTransaction(begun)
        if self.checked_out and self.binding is None and not self.is_in_transaction():
            raise Misuse("A transaction began without a principal.")
        return super().transaction(**options)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Executes a query. A BEGIN is sent together with the statement that binds the transaction to its principal."""
        if query.startswith("BEGIN") and self.binding is not None:
            query, self.binding = f"{query} {self.binding}", None
        return str(await super().execute(query, *args, timeout=timeout))

    @property
    def has_begun(self) -> bool:
        """Returns whether a transaction of `begin_bound` is open and not taken over by a SQLAlchemy session."""
        return self._begun is not None and not self.is_closed()

    async def begin_bound(self) -> None:
        """Begins a transaction on the driver, bound to the principal that `bind` has set.

        If a SQLAlchemy session is used later, it takes this transaction over.
        """
        transaction = self.transaction()
        await transaction.start()
        self._begun = transaction

    async def run(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Runs a statement in the open transaction and returns its rows.

        Each connection prepares a statement only once.
        """
        return list(await self.fetch(statement, *parameters))

    async def commit_begun(self) -> None:
        """Commits the transaction that `begin_bound` began."""
        begun, self._begun = self._begun, None
        await begun.commit()

    async def roll_back_begun(self) -> None:
        """Rolls back the transaction that `begin_bound` began."""
        begun, self._begun = self._begun, None
        await begun.rollback()


class _JoinedTransaction:
    """A transaction of `begin_bound`, with the methods by which SQLAlchemy continues and ends a transaction."""

    def __init__(self, begun: Any) -> None:
        self._begun = begun

    async def start(self) -> None:
        """Does nothing, because `begin_bound` has already begun the transaction."""

    async def commit(self) -> None:
        """Commits the transaction."""
        await self._begun.commit()

    async def rollback(self) -> None:
        """Rolls the transaction back."""
        await self._begun.rollback()
