"""Opens the unit of work of a GraphQL operation: verifies the token, and looks up the person that the client acts for.

The resolvers of the operation share one database session.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from uuid import UUID

import strawberry
from graphql import FieldNode
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from strawberry.dataloader import DataLoader
from strawberry.types.field import StrawberryField

from app.access.admission import Admission
from app.access.authenticate import Tokens
from app.access.principal import Principal
from app.access.retry import run_with_retry
from app.access.work import Work, required_permissions
from app.core.address import Allowed
from app.core.crypto import Keyring
from app.core.errors import Misuse, PreconditionRequired
from app.core.writer_share import WriterShare
from app.events.hub import FeedHub
from app.graphql.budget import Budget
from app.graphql.prepare import Prepared
from app.graphql.types import NEEDS, with_permissions
from app.requests.origins import Origins
from app.requests.preconditions import ExpectedVersion
from app.resources.run import Answer
from app.team.caseload import ACT_FOR, bound_to_person, only_person

P = ParamSpec("P")
R = TypeVar("R")


class Installation(Protocol):
    """The objects of the running process that the GraphQL API needs, such as the database engine."""

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
        """Returns the object that limits how many of the engine's connections are in use for writing at once."""

    @property
    def webhook_allowed(self) -> Allowed:
        """Returns the networks that webhooks may reach."""

    @property
    def sis_allowed(self) -> Allowed:
        """Returns the networks that syncs may reach."""

    @property
    def base_url(self) -> str:
        """Returns the address of the service, for links."""

    @property
    def hub(self) -> FeedHub:
        """Returns the object that wakes the event streams of this process when there are new events."""

    @property
    def admission(self) -> Admission:
        """Returns the object that counts the requests of this process in quotas, and decides when each request runs."""

    @property
    def origins(self) -> Origins:
        """Returns the origins that clients have registered."""


@dataclass(frozen=True, slots=True)
class CommandTerms:
    """The parts of a request that concern the command of one mutation field.

    * `response_key` is the field's name in the response: its alias, if it has one.
    * `expected` is the version that the caller expects the command's row to have.
    * `lacks_version` is true if a version is required but was not sent.
    """

    response_key: str
    expected: ExpectedVersion | None = None
    lacks_version: bool = False


class OperationContext:
    """The context that the resolvers of one operation share.

    Resolvers run concurrently and share one database session, so a lock lets them use it one after another.
    """

    def __init__(self, work: Work, prepared: Prepared, budget: Budget, installation: Installation) -> None:
        self.work, self.prepared, self.budget, self.installation = work, prepared, budget, installation
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.loaders: dict[FieldNode, DataLoader[UUID, Any]] = {}
        """The data loaders that read the rows returned by commands, keyed by the GraphQL field that shows the rows."""
        self.terms = CommandTerms("")
        self.done: set[str] = set()
        """The response keys of the mutations whose command has succeeded."""

    async def read(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Calls a read function of another package, and returns its result.

        During the call, no other resolver can use the database session.
        """
        async with self.session():
            if self.budget.exceeded is not None:
                raise self.budget.exceeded
            rows = await function(self.work, *args, **kwargs)
            self.budget.take(rows)
        await self.budget.give_turn()
        return rows

    async def read_roots(self, function: Callable[[Work], Awaitable[list[Answer]]]) -> list[Answer]:
        """Calls `function`, which reads rows of resources, and returns its answers.

        The rows that were read are counted against the operation's budget. During the call, no other resolver can use
        the database session.
        """
        async with self.session():
            if self.budget.exceeded is not None:
                raise self.budget.exceeded
            answers = await function(self.work)
            self.budget.count(sum(answer.rows for answer in answers))
        await self.budget.give_turn()
        return answers

    async def write(
        self, function: Callable[Concatenate[Work, P], Awaitable[R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Calls a command of another package, and returns its result.

        The command runs in a savepoint. If it fails, only its own changes are undone.
        """
        async with self.session():
            if self.terms.lacks_version:
                raise PreconditionRequired
            async with self.work.savepoint():
                expected = self.terms.expected
                async with nullcontext() if expected is None else expected.held(self.work):
                    result = await function(self.work, *args, **kwargs)
            self.done.add(self.terms.response_key)
            return result

    async def stop(self) -> None:
        """Cancels the tasks that still use the session, and waits until PostgreSQL has ended their statements.

        Loaders run in separate tasks, which do not end with the operation. A task that is already being cancelled is
        not cancelled again, because a second cancellation would interrupt the message that ends its statement.
        """
        running = self._tasks - {asyncio.current_task()}
        for task in running:
            if task.cancelling() == 0:
                task.cancel()
        if running:
            await asyncio.wait(running)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Waits until no other resolver uses the session, and then reserves the session until the block ends."""
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
    description: str,
    *functions: Callable[..., Any],
    name: str | None = None,
    make: Callable[..., Any] = strawberry.field,
) -> Callable[[Callable[..., Any]], StrawberryField]:
    """Returns a decorator that turns a resolver into a GraphQL field.

    `functions` are the functions with `@needs` that the resolver calls. The permissions that they require are appended
    to the field's description in the SDL. `make` is Strawberry's function that creates the field.
    """
    permissions = list(dict.fromkeys(can for function in functions for can in required_permissions(function)))
    if not permissions:
        raise Misuse("A guarded field names the marked functions that it calls.")

    def field(resolver: Callable[..., Any]) -> StrawberryField:
        guarded: StrawberryField = make(
            resolver,
            name=name,
            description=with_permissions(description, permissions),
            metadata={NEEDS: frozenset(permissions)},
        )
        return guarded

    return field


def client_of(request: Request, installation: Installation) -> Principal:
    """Returns the principal of the client that the request's token belongs to; raises `Unauthenticated`."""
    client = installation.tokens.read_header(request.headers.get("Authorization"))
    request.state.principal = client
    return client


async def principal_of(request: Request, installation: Installation, client: Principal) -> Principal:
    """Returns the client's principal. If the request names a person to act for, that person's rights restrict it."""
    return await _bound(installation, client, only_person(request.headers.getlist(ACT_FOR)))


async def authorize(installation: Installation, authorization: str | None, act_for: str | None) -> Principal:
    """Returns the principal of a caller, given the values of the headers Authorization and Aimline-Act-For.

    Raises `Unauthenticated` for an invalid token, `Unavailable` if the database cannot be read, and other errors if the
    person to act for has no access.
    """
    client = installation.tokens.read_header(authorization)
    return await run_with_retry(partial(_bound, installation, client, act_for), reads=True)


async def _bound(installation: Installation, client: Principal, act_for: str | None) -> Principal:
    """Returns the client's principal. If `act_for` is given, that person's role and caseload restrict the principal."""
    if act_for is None:
        return client
    return await bound_to_person(installation.engine, installation.keyring, client, act_for)
