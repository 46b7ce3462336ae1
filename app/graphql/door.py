"""Turns a GraphQL request into a unit of work: token, principal, person acted for, one session.

It contains no rules.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import UUID

import strawberry
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from strawberry.types.field import StrawberryField

from app.access.authenticate import Tokens
from app.access.permission import MEANING
from app.access.principal import Principal
from app.access.work import Work, required_permissions
from app.core.crypto import Keyring
from app.core.errors import Misuse, NotFound, PreconditionRequired
from app.core.writer_share import WriterShare
from app.graphql.budget import Budget
from app.graphql.loaders import Loaders
from app.graphql.prepare import Prepared
from app.requests.preconditions import ExpectedVersion
from app.roster.caseload import bound_to_person

ACT_FOR = "Aimline-Act-For"
NEEDS = "needs"
"""The key in a field's metadata under which its required permissions are stored."""
P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class Installation(Protocol):
    """The objects of the process that the GraphQL API uses."""

    @property
    def engine(self) -> AsyncEngine:
        """Returns the engine of the role `api`, whose connections are bound to a principal."""

    @property
    def keyring(self) -> Keyring:
        """Returns the key-encryption keys."""

    @property
    def tokens(self) -> Tokens:
        """Returns the verifier of access tokens."""

    @property
    def writers(self) -> WriterShare:
        """Returns the share of the engine's connections that writers may use."""


@dataclass(frozen=True, slots=True)
class CommandTerms:
    """The terms of one mutation: its response key, the version that its caller expects, and whether one is missing."""

    response_key: str
    expected: ExpectedVersion | None = None
    lacks_version: bool = False


class OperationContext:
    """The context of one operation. Resolvers run concurrently and share one session, so a lock serializes them."""

    def __init__(self, work: Work, prepared: Prepared, budget: Budget) -> None:
        self.work, self.prepared, self.budget = work, prepared, budget
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loaders = Loaders(self.read)
        self.terms = CommandTerms("")
        self.done: set[str] = set()
        """The response keys of the mutations whose command has succeeded."""

    async def read(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Calls a room's read function while no other resolver uses the session."""
        async with self._session():
            if self.budget.exceeded is not None:
                raise self.budget.exceeded
            rows = await function(self.work, *args, **kwargs)
            self.budget.take(rows)
        await self.budget.give_turn()
        return rows

    async def read_or_none(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """Calls `read`; returns None if the row does not exist or the caller may not see it."""
        try:
            return await self.read(function, *args, **kwargs)
        except NotFound:
            return None

    async def load(self, function: Callable[[Work, list[UUID]], Awaitable[Mapping[UUID, V]]], key: UUID) -> V | None:
        """Returns a batch read's row for one key; the keys of one level of the query are read together."""
        row = await self._loaders.load(function, key)
        await self.budget.give_turn()
        return row

    async def load_each(
        self, function: Callable[[Work, list[UUID]], Awaitable[Mapping[UUID, V]]], keys: list[UUID]
    ) -> list[V]:
        """Returns the rows that `load` returns for several keys, without those that the caller may not see."""
        rows = await asyncio.gather(*(self.load(function, key) for key in keys))
        return [row for row in rows if row is not None]

    async def once(self, function: Callable[[Work], Awaitable[V]]) -> V:
        """Returns the result of a read without keys, which runs at most once in an operation."""
        rows = await self._loaders.once(function)
        await self.budget.give_turn()
        return rows

    async def write(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Calls a room's command in a savepoint, so that its failure does not undo other commands.

        Rows that were loaded before the command are read again after it.
        """
        async with self._session():
            self._loaders = Loaders(self.read)
            if self.terms.lacks_version:
                raise PreconditionRequired
            async with self.work.savepoint():
                expected = self.terms.expected
                async with nullcontext() if expected is None else expected.held(self.work):
                    result = await function(self.work, *args, **kwargs)
            self.done.add(self.terms.response_key)
            return result

    async def stop(self) -> None:
        """Cancels the tasks that still use the session and waits for them, so that their statements in PostgreSQL end
        too.

        Batch reads run in separate tasks, which do not end with the operation. A task that was cancelled before is not
        cancelled again, because that would cut off the message that ends its statement.
        """
        running = self._tasks - {asyncio.current_task()}
        for task in running:
            if task.cancelling() == 0:
                task.cancel()
        if running:
            await asyncio.wait(running)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        if task is None:
            raise Misuse("The session was reached outside a task.")
        self._tasks.add(task)
        try:
            async with self._lock:
                yield
        finally:
            self._tasks.discard(task)


Info = strawberry.Info[OperationContext, None]


def guarded_field(
    description: str, *functions: Callable[..., Any], name: str | None = None
) -> Callable[[Callable[..., Any]], StrawberryField]:
    """Returns a decorator that makes a field; its description in the SDL lists the permissions of `functions`."""
    permissions = list(dict.fromkeys(can for function in functions for can in required_permissions(function)))
    if not permissions:
        raise Misuse("A guarded field names the marked functions that it calls.")
    permission_texts = " ".join(f"`{can.value}` ({MEANING.get(can, can.value).rstrip('.')})." for can in permissions)

    def field(resolver: Callable[..., Any]) -> StrawberryField:
        guarded: StrawberryField = strawberry.field(
            resolver,
            name=name,
            description=f"{description}\n\nNeeds: {permission_texts}",
            metadata={NEEDS: frozenset(permissions)},
        )
        return guarded

    return field


def client_of(request: Request, installation: Installation) -> Principal:
    """Returns the principal of the request's client; raises `Unauthenticated`. Reads no row."""
    client = installation.tokens.read_header(request.headers.get("Authorization"))
    request.state.principal = client
    return client


async def principal_of(request: Request, installation: Installation, client: Principal) -> Principal:
    """Returns the caller's principal; if the request acts for a person, that person's role and caseload restrict it."""
    act_for = request.headers.get(ACT_FOR)
    if act_for is None:
        return client
    return await bound_to_person(installation.engine, installation.keyring, client, act_for)
