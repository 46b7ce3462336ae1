"""Owns how a GraphQL request becomes a unit of work: token, principal, person acted for, one session. Holds no rule."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
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
from app.core.errors import Misuse, NotFound
from app.core.writer_share import WriterShare
from app.graphql.budget import Budget
from app.graphql.loaders import Loaders
from app.graphql.prepare import Prepared
from app.roster.caseload import bound_to_person

ACT_FOR = "Aimline-Act-For"
P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


class Installation(Protocol):
    """What the face runs on."""

    @property
    def engine(self) -> AsyncEngine:
        """An engine of bound connections, as the role `api`."""

    @property
    def keyring(self) -> Keyring:
        """The key-encryption keys."""

    @property
    def tokens(self) -> Tokens:
        """What reads access tokens."""

    @property
    def writers(self) -> WriterShare:
        """The writers' share of the engine's connections."""


class OperationContext:
    """The context of one operation. Resolvers run at once and share one session: a lock puts them in a row."""

    def __init__(self, work: Work, prepared: Prepared, budget: Budget) -> None:
        self.work, self.prepared, self.budget = work, prepared, budget
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loaders = Loaders(self.read)

    async def read(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Calls a room's read when no other resolver is at the session."""
        async with self._session():
            if self.budget.exceeded is not None:
                raise self.budget.exceeded
            rows = await function(self.work, *args, **kwargs)
            self.budget.take(rows)
        await self.budget.give_turn()
        return rows

    async def found(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """As `read`; None for what is not there or not this caller's to see."""
        try:
            return await self.read(function, *args, **kwargs)
        except NotFound:
            return None

    async def load(self, function: Callable[[Work, list[UUID]], Awaitable[Mapping[UUID, V]]], key: UUID) -> V | None:
        """What a batch read gives for one key; the keys of one level of the query are asked for together."""
        row = await self._loaders.load(function, key)
        await self.budget.give_turn()
        return row

    async def load_each(
        self, function: Callable[[Work, list[UUID]], Awaitable[Mapping[UUID, V]]], keys: list[UUID]
    ) -> list[V]:
        """As `load` for several keys; what is not there, or not this caller's to see, is left out."""
        rows = await asyncio.gather(*(self.load(function, key) for key in keys))
        return [row for row in rows if row is not None]

    async def once(self, function: Callable[[Work], Awaitable[V]]) -> V:
        """What a read of the whole gives, read once an operation."""
        rows = await self._loaders.once(function)
        await self.budget.give_turn()
        return rows

    async def write(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Calls a room's command in a savepoint: it fails alone. What was loaded before it is read anew after it."""
        async with self._session():
            self._loaders = Loaders(self.read)
            async with self.work.savepoint():
                return await function(self.work, *args, **kwargs)

    async def stop(self) -> None:
        """Cancels what is still at the session, and waits for it to end: a statement ends in PostgreSQL as well.

        Batch reads run in tasks of their own, which the end of the operation does not end. What has been cancelled
        already is not cancelled again, since that would cut off the message that ends its statement.
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


def asks(
    description: str, *functions: Callable[..., Any], name: str | None = None
) -> Callable[[Callable[..., Any]], StrawberryField]:
    """A field whose description in the SDL names the permissions of the functions behind it."""
    permissions = list(dict.fromkeys(can for function in functions for can in required_permissions(function)))
    if not permissions:
        raise Misuse("A field tells which marked functions stand behind it.")
    named = " ".join(f"`{can.value}` ({MEANING.get(can, can.value).rstrip('.')})." for can in permissions)

    def field(resolver: Callable[..., Any]) -> StrawberryField:
        made: StrawberryField = strawberry.field(resolver, name=name, description=f"{description}\n\nAsks for: {named}")
        return made

    return field


def client_of(request: Request, installation: Installation) -> Principal:
    """The client whose token this is; raises `Unauthenticated`. Reads no row."""
    client = installation.tokens.read_header(request.headers.get("Authorization"))
    request.state.principal = client
    return client


async def principal_of(request: Request, installation: Installation, client: Principal) -> Principal:
    """Who asks. With a person named, the person's role and caseload bind the client."""
    act_for = request.headers.get(ACT_FOR)
    if act_for is None:
        return client
    return await bound_to_person(installation.engine, installation.keyring, client, act_for)
