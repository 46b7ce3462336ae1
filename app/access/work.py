"""Defines the unit of work: a transaction that is bound to one principal. Only a unit of work gives a database session.

A command or a read never commits; `unit` commits when its block ends. `before_commit` registers steps that must run
just before the commit: the events get their numbers, and the disclosure log is written.
"""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import structlog
from asyncpg import PostgresError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.access.audit import DisclosedRecords, log_disclosure
from app.access.permission import MEANING, Can
from app.access.principal import Principal, system_principal
from app.core.crypto import Keyring
from app.core.db import HeldConnection, bound_connection
from app.core.errors import Forbidden, Misuse
from app.core.faults import CommitLost, Fault, fault_of, may_have_been_sent

log = structlog.get_logger()
P = ParamSpec("P")
R = TypeVar("R")
Callback = Callable[["Work"], Awaitable[None]]

ENTER = "SELECT app.enter($1::uuid, $2, $3, $4, $5, $6)"
_open_for: ContextVar["Work | None"] = ContextVar("_open_for", default=None)


class Work:
    """One transaction for one principal. Only functions marked `@needs` can use its database session.

    The session is a SQLAlchemy session, and is created when it is first used. The APIs' reads and the disclosure log
    need no session: they send their SQL text on the driver's connection, in the same transaction.
    """

    def __init__(
        self,
        held: HeldConnection,
        principal: Principal,
        keyring: Keyring,
        operation: str,
    ) -> None:
        self._held, self._driver = held, held.driver
        self._made_session: AsyncSession | None = None
        self._callbacks: dict[str, Callback] = {}
        self._last = ""
        self.principal = principal
        self.keyring = keyring
        self.operation = operation
        self.disclosed = DisclosedRecords()
        self.pending_events: list[Any] = []
        self.pending_weeks: list[Any] = []
        self.week_rows: list[Any] = []
        self._suspended: Principal | None = None
        self.locked_students: set[UUID] = set()
        self.named_subjects: frozenset[str] = frozenset()
        self.named_rows: frozenset[str] = frozenset()
        self.named_measures: frozenset[str] = frozenset()
        self.late_students: frozenset[UUID] = frozenset()

    @property
    def district_id(self) -> UUID:
        """Returns the district of this unit of work."""
        return self.principal.district_id

    @property
    def db(self) -> AsyncSession:
        """Returns the database session; raises `Misuse` outside a function marked `@needs`."""
        if _open_for.get() is not self:
            raise Misuse("The session was reached outside a function marked @needs.")
        return self._session

    @property
    def _session(self) -> AsyncSession:
        """Returns the database session, which is created on its first use."""
        if self._made_session is None:
            self._made_session = AsyncSession(self._held.connection, expire_on_commit=False, autoflush=False)
        return self._made_session

    async def run(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Writes the session's pending changes, then runs an SQL text without SQLAlchemy and returns its rows.

        Raises `Misuse` outside a function marked `@needs`, like `db`.
        """
        if _open_for.get() is not self:
            raise Misuse("The database was reached outside a function marked @needs.")
        await self._flush()
        return await self._send(statement, parameters)

    async def _send(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Runs an SQL text on the driver's connection and returns its rows."""
        try:
            if not self._driver.is_in_transaction():
                await self._driver.begin_bound()
            return await self._driver.run(statement, parameters)
        except BaseException as error:
            await self._abandon_if_cut_off(error)
            raise

    async def _abandon_if_cut_off(self, error: BaseException) -> None:
        """Closes the connection if `error` is a cancellation, because the state of the connection is then unknown.

        SQLAlchemy does the same for its own statements.
        """
        if not isinstance(error, Exception):
            await asyncio.shield(asyncio.create_task(self._held.invalidate()))

    async def _flush(self) -> None:
        if self._made_session is not None:
            await self._made_session.flush()

    def disclose(self, kind: str, students: Iterable[UUID]) -> None:
        """Notes, for the disclosure log, that the caller is shown records of this kind about these students."""
        student_ids = set(students)
        if student_ids:
            self.disclosed.students |= student_ids
            self.disclosed.kinds.add(kind)

    def shown(self) -> tuple[frozenset[str], frozenset[str]]:
        """Returns the ids of the students whose records were shown so far, and the kinds of these records."""
        return frozenset(str(student) for student in self.disclosed.students), frozenset(self.disclosed.kinds)

    def disclose_again(self, students: Iterable[str], kinds: Iterable[str]) -> None:
        """Notes, for the disclosure log, that a stored response is shown to the caller another time.

        `students` are the students whose records the response contains, and `kinds` are the kinds of these records.
        """
        self.disclosed.students |= {UUID(student) for student in students}
        self.disclosed.kinds |= set(kinds)

    def before_commit(self, name: str, callback: Callback, *, last: bool = False) -> None:
        """Registers a callback that runs just before the commit. If the name is registered already, does nothing.

        With `last`, the callback runs after the others; the numbering of events uses this.
        """
        self._callbacks.setdefault(name, callback)
        if last:
            self._last = name

    @asynccontextmanager
    async def as_district(self, name: str) -> AsyncIterator[None]:
        """Runs a block with the rights of the district's own system principal, within this transaction.

        The judging of scores needs this, because it reads students outside the caller's caseload. After the block, an
        extra SQL statement gives the transaction the caller's rights again. `end_district_step` can save this
        statement.
        """
        original = self.principal
        await self._flush()
        self.principal = system_principal(original.district_id, name)
        await self._send(ENTER, self.principal.binding_arguments())
        self._suspended = original
        try:
            yield
            await self._flush()
        finally:
            self.principal = original
            if self._suspended is not None:
                self._suspended = None
                # In a transaction that PostgreSQL has aborted, the previous principal cannot be bound again and need
                # not be.
                with suppress(DBAPIError, PostgresError):
                    await self._send(ENTER, original.binding_arguments())

    def end_district_step(self) -> tuple[str, ...] | None:
        """Ends an `as_district` block, and returns the arguments with which `app.enter` restores the caller's rights.

        The last SQL statement of the block must call `app.enter` with these arguments. Then no extra statement is
        needed to restore the rights. Returns None outside an `as_district` block.
        """
        suspended, self._suspended = self._suspended, None
        return None if suspended is None else suspended.binding_arguments()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Runs a block whose failure does not make the transaction fail.

        If the block fails, its rows, its events and its entries for the disclosure log are discarded.
        """
        events, weeks, locked = list(self.pending_events), list(self.pending_weeks), set(self.locked_students)
        named = self.named_subjects, self.named_rows, self.named_measures, self.late_students
        disclosed = DisclosedRecords(set(self.disclosed.students), set(self.disclosed.kinds))
        try:
            async with self._session.begin_nested():
                yield
        except BaseException:
            # PostgreSQL also releases the locks that were taken since the savepoint.
            self.pending_events, self.pending_weeks, self.locked_students = events, weeks, locked
            self.disclosed = disclosed
            self.named_subjects, self.named_rows, self.named_measures, self.late_students = named
            raise

    async def run_step(self, step: Callable[[], Awaitable[R]]) -> R:
        """Runs `step` and returns its result.

        The step may use the database session, although no permission was checked.

        Only the code that opens and ends units of work uses this; commands and reads never do.
        """
        token = _open_for.set(self)
        try:
            return await step()
        finally:
            _open_for.reset(token)

    async def finish(self) -> None:
        """Runs the registered callbacks; only `unit` calls this method, before it commits."""
        await self._flush()
        for _, callback in sorted(self._callbacks.items(), key=lambda item: item[0] == self._last):
            await self.run_step(functools.partial(callback, self))
        await self._flush()

    async def commit(self) -> None:
        """Commits the transaction; only `unit` calls this method.

        Raises `CommitLost` if the connection is lost after COMMIT was sent, because PostgreSQL may have executed it.
        """
        lost_before = self._driver.is_closed()
        try:
            if self._driver.has_begun:
                await self._driver.commit_begun()
            elif self._made_session is not None:
                await self._made_session.commit()
        except Exception as error:
            if fault_of(error) is Fault.LOST and not lost_before and may_have_been_sent(error):
                raise CommitLost from error
            raise
        except BaseException as error:
            await self._abandon_if_cut_off(error)
            raise

    async def close(self) -> None:
        """Closes the session, which rolls back what was not committed; only `unit` calls this method."""
        if self._made_session is not None:
            await asyncio.shield(asyncio.create_task(self._made_session.close()))


@asynccontextmanager
async def unit(engine: AsyncEngine, principal: Principal, keyring: Keyring, operation: str) -> AsyncIterator[Work]:
    """Opens a unit of work, which is committed when the block succeeds and rolled back when the block raises."""
    async with bound_connection(engine, principal.binding()) as held:
        work = Work(held, principal, keyring, operation)
        try:
            work.before_commit("disclosure", log_disclosure)
            yield work
            events = len(work.pending_events)
            await work.finish()
            await work.commit()
        finally:
            await work.close()
    if events:
        log.info("events.committed", operation=operation, events=events)


def needs(
    *permissions: Can,
) -> Callable[[Callable[Concatenate[Work, P], Awaitable[R]]], Callable[Concatenate[Work, P], Awaitable[R]]]:
    """Returns a decorator that checks these permissions at each call and lets the function use the database."""

    def mark(
        function: Callable[Concatenate[Work, P], Awaitable[R]],
    ) -> Callable[Concatenate[Work, P], Awaitable[R]]:
        if not inspect.iscoroutinefunction(function):
            raise Misuse(f"{function.__qualname__} is marked @needs but is not async.")

        @functools.wraps(function)
        async def guarded(work: Work, /, *args: P.args, **kwargs: P.kwargs) -> R:
            for permission in permissions:
                if not work.principal.may(permission):
                    raise Forbidden(
                        f"This requires the permission {permission.value}. {MEANING.get(permission, '')}".strip(),
                        code="permission.missing",
                    )
            token = _open_for.set(work)
            try:
                return await function(work, *args, **kwargs)
            finally:
                _open_for.reset(token)

        guarded.__needs__ = permissions  # type: ignore[attr-defined]  # read by `required_permissions`
        return guarded

    return mark


def required_permissions(function: Callable[..., Any]) -> tuple[Can, ...]:
    """Returns the permissions that `@needs` has attached to a function; empty if it has none."""
    permissions: tuple[Can, ...] = getattr(function, "__needs__", ())
    return permissions
