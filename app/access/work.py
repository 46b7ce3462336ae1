"""Owns the unit of work: one transaction sealed to one principal. The only way to a session.

Nobody below the door commits. What must happen last (numbering events, the disclosure log) is laid by
the rooms as a finisher and runs just before the commit.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.access.audit import DisclosedRecords, log_disclosure
from app.access.permission import MEANING, Can
from app.access.principal import Principal, house_principal
from app.core.crypto import Keyring
from app.core.db import BoundConnection, set_binding
from app.core.errors import Forbidden, Misuse
from app.core.faults import CommitLost, Fault, fault_of, was_sent

log = structlog.get_logger()
P = ParamSpec("P")
R = TypeVar("R")
Finisher = Callable[["Work"], Awaitable[None]]

_open_for: ContextVar["Work | None"] = ContextVar("_open_for", default=None)


class Work:
    """One transaction for one principal; `db` opens only inside a function marked `@needs`."""

    def __init__(self, session: AsyncSession, principal: Principal, keyring: Keyring, operation: str) -> None:
        self._session = session
        self._finishers: dict[str, Finisher] = {}
        self._last = ""
        self.principal = principal
        self.keyring = keyring
        self.operation = operation
        self.disclosed = DisclosedRecords()
        self.pending_events: list[Any] = []
        self.pending_weeks: list[Any] = []
        self.locked_students: set[UUID] = set()
        self.named_subjects: frozenset[str] = frozenset()

    @property
    def district_id(self) -> UUID:
        """The district that this work is sealed to."""
        return self.principal.district_id

    @property
    def db(self) -> AsyncSession:
        """The session. Raises `Misuse` outside a function marked `@needs`."""
        if _open_for.get() is not self:
            raise Misuse("The session was reached outside a function marked @needs.")
        return self._session

    def disclose(self, kind: str, students: Iterable[UUID]) -> None:
        """Notes that a record of this kind about these students goes to the caller."""
        found = set(students)
        if found:
            self.disclosed.students |= found
            self.disclosed.kinds.add(kind)

    def before_commit(self, name: str, finisher: Finisher, *, last: bool = False) -> None:
        """Registers a function to run just before the commit, once a name; `last` is for the numbering of events."""
        self._finishers.setdefault(name, finisher)
        if last:
            self._last = name

    @asynccontextmanager
    async def as_district(self, name: str) -> AsyncIterator[None]:
        """Runs a step as the district itself, in this transaction: judging needs whom a caseload hides."""
        asked = self.principal
        await self._session.flush()
        self.principal = house_principal(asked.district_id, name)
        await self._session.execute(text(self.principal.binding()))
        try:
            yield
            await self._session.flush()
        finally:
            self.principal = asked
            # In a transaction that PostgreSQL has already aborted nothing can run, and nothing needs to.
            with suppress(DBAPIError):
                await self._session.execute(text(asked.binding()))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that can fail alone: its rows, events and disclosures go when it fails."""
        events, weeks, locked = list(self.pending_events), list(self.pending_weeks), set(self.locked_students)
        named = self.named_subjects
        shown = DisclosedRecords(set(self.disclosed.students), set(self.disclosed.kinds))
        try:
            async with self._session.begin_nested():
                yield
        except BaseException:
            # PostgreSQL gives up the locks that were taken since the savepoint.
            self.pending_events, self.pending_weeks, self.locked_students = events, weeks, locked
            self.disclosed, self.named_subjects = shown, named
            raise

    async def finish(self) -> None:
        """Runs the finishers; the door calls this and commits."""
        await self._session.flush()
        for _, finisher in sorted(self._finishers.items(), key=lambda item: item[0] == self._last):
            token = _open_for.set(self)
            try:
                await finisher(self)
            finally:
                _open_for.reset(token)
        await self._session.flush()


@asynccontextmanager
async def unit(engine: AsyncEngine, principal: Principal, keyring: Keyring, operation: str) -> AsyncIterator[Work]:
    """Opens a unit of work; commits when the block ends well, rolls back when it does not."""
    async with engine.connect() as connection:
        driver = await set_binding(connection, principal.binding())
        async with AsyncSession(connection, expire_on_commit=False, autoflush=False) as session:
            work = Work(session, principal, keyring, operation)
            work.before_commit("disclosure", log_disclosure)
            yield work
            events = len(work.pending_events)
            await work.finish()
            await _commit(session, driver)
    if events:
        log.info("events.committed", operation=operation, events=events)


async def _commit(session: AsyncSession, driver: BoundConnection) -> None:
    """Commits; raises `CommitLost` where the connection is lost after COMMIT was sent: it may have been carried out."""
    lost_before = driver.is_closed()
    try:
        await session.commit()
    except Exception as error:
        if fault_of(error) is Fault.LOST and not lost_before and was_sent(error):
            raise CommitLost from error
        raise


def needs(
    *permissions: Can,
) -> Callable[[Callable[Concatenate[Work, P], Awaitable[R]]], Callable[Concatenate[Work, P], Awaitable[R]]]:
    """Marks a command or a read with the permissions that it asks for, and opens the session to it."""

    def mark(
        function: Callable[Concatenate[Work, P], Awaitable[R]],
    ) -> Callable[Concatenate[Work, P], Awaitable[R]]:
        if not inspect.iscoroutinefunction(function):
            raise Misuse(f"{function.__qualname__} is marked @needs and is not async.")

        @functools.wraps(function)
        async def guarded(work: Work, /, *args: P.args, **kwargs: P.kwargs) -> R:
            for permission in permissions:
                if not work.principal.may(permission):
                    raise Forbidden(
                        f"This needs the permission {permission.value}. {MEANING.get(permission, '')}".strip(),
                        code="permission.missing",
                    )
            token = _open_for.set(work)
            try:
                return await function(work, *args, **kwargs)
            finally:
                _open_for.reset(token)

        guarded.__needs__ = permissions  # type: ignore[attr-defined]  # the mark that faces and tests read
        return guarded

    return mark


def required_permissions(function: Callable[..., Any]) -> tuple[Can, ...]:
    """The permissions that a function was marked with; none when it was not marked."""
    found: tuple[Can, ...] = getattr(function, "__needs__", ())
    return found
