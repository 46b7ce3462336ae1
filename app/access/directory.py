"""Reads what the service must know before it can bind a transaction to a district.

These are the clients with their grants, the revocations of tokens, and the districts with due jobs. Every read calls a
SECURITY DEFINER function that returns only the requested data. It runs in a transaction that is bound to no district.

Tokens are verified without the database, except for the list of `Revocations`. A process reads this list every twenty
seconds, and accepts no token if it could not read it for a minute. So a revocation is effective everywhere within a
minute.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.db import set_binding
from app.core.errors import NotFound, Unavailable
from app.core.fault_report import describe_fault
from app.core.faults import sqlstate_of

NO_SCHEMA = ("42P01", "42501", "42883", "3F000")
"""SQLSTATEs of errors about a missing table, privilege, function or schema."""
NOBODY = "SELECT app.enter('00000000-0000-0000-0000-000000000000', 'nobody', '{}', '{}', '{}');"


EVERY, RETRY, MAX_AGE = 20.0, 5.0, 60.0
"""Three times in seconds for this process's list of revocations.

They are the wait after a successful read, the wait after a failed read, and the largest age at which the list is used.
"""
log = structlog.get_logger()


class JobKind(StrEnum):
    """The kinds of jobs. A value is the name of the kind in the database's list of districts with due jobs."""

    WEBHOOKS = "webhooks"
    SYNCS = "syncs"
    ANSWERS = "answers"
    FINALIZATIONS = "settlements"
    TASKS = "tasks"
    NOTICES = "notices"


@dataclass(frozen=True, slots=True)
class Grant:
    """The scopes and the schools that a client has been granted in one district."""

    district_id: UUID
    slug: str
    scopes: frozenset[str]
    school_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class KnownClient:
    """A client, with its grants and with the fingerprints of its valid secrets."""

    client_id: UUID
    name: str
    fingerprints: tuple[str, ...]
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation of a client's tokens in a district.

    With a `token_id`, only this token is revoked. If `token_id` is None, every token of the client that was issued up
    to `revoked_at` is revoked.
    """

    district_id: UUID
    client_id: UUID
    token_id: UUID | None
    revoked_at: datetime


async def revocations_in_force(engine: AsyncEngine) -> list[Revocation]:
    """Returns the revocations, in all districts, of tokens that would otherwise still be valid."""
    async with _bound_to_nobody(engine) as connection:
        rows = await connection.execute(text("SELECT * FROM app.revocations_in_force()"))
        return [Revocation(row.district_id, row.client_id, row.token_id, row.revoked_at) for row in rows]


async def find_client(engine: AsyncEngine, client_id: UUID) -> KnownClient | None:
    """Returns the client with this id, or None."""
    async with _bound_to_nobody(engine) as connection:
        result = await connection.execute(text("SELECT * FROM app.client_directory(:id)"), {"id": client_id})
        row = result.one_or_none()
    if row is None:
        return None
    return KnownClient(client_id, row.name, tuple(row.fingerprints), tuple(_grant(grant) for grant in row.grants))


async def find_district(engine: AsyncEngine, slug: str) -> UUID:
    """Returns the id of the district with this short name; raises `NotFound`."""
    async with _bound_to_nobody(engine) as connection:
        district_id = await connection.scalar(text("SELECT app.district_directory(:slug)"), {"slug": slug})
    if district_id is None:
        raise NotFound("district")
    return UUID(str(district_id))


async def districts_after(engine: AsyncEngine, last: UUID, most: int = 100) -> list[UUID]:
    """Returns the ids of up to `most` districts that follow the id `last`, in ascending order."""
    async with _bound_to_nobody(engine) as connection:
        district_ids = await connection.scalars(
            text("SELECT app.districts_after(:last, :most)"), {"last": last, "most": most}
        )
        return [UUID(str(district)) for district in district_ids]


async def districts_due(engine: AsyncEngine, most: int) -> dict[JobKind, list[UUID]]:
    """Returns the ids of districts with due jobs, by kind of job.

    The order is random, so that no district is always last.
    """
    async with _bound_to_nobody(engine) as connection:
        rows = await connection.execute(text("SELECT * FROM app.districts_with_jobs_due(:most)"), {"most": most})
        due: dict[JobKind, list[UUID]] = {kind: [] for kind in JobKind}
        for job, district_id in rows:
            due[JobKind(job)].append(UUID(str(district_id)))
    return due


async def feed_heads(engine: AsyncEngine, district_ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, int]]:
    """Returns, for each district, the id of its change feed's epoch and the number of the feed's last event.

    A feed gets a new epoch when the database was restored from a backup. Its numbers are comparable only within one
    epoch.
    """
    query = text("SELECT * FROM app.feed_heads(:asked)").bindparams(bindparam("asked", type_=ARRAY(PgUUID)))
    async with _bound_to_nobody(engine) as connection:
        rows = await connection.execute(query, {"asked": list(district_ids)})
        return {UUID(str(row.district_id)): (UUID(str(row.epoch)), row.last) for row in rows}


async def client_origins(engine: AsyncEngine) -> dict[UUID, tuple[str, ...]]:
    """Returns the registered web origins by client; clients without origins are left out."""
    async with _bound_to_nobody(engine) as connection:
        rows = await connection.execute(text("SELECT * FROM app.client_origins()"))
        return {UUID(str(row.client_id)): tuple(row.origins) for row in rows}


async def sync_status(engine: AsyncEngine) -> Sequence[Row[Any]]:
    """Returns the status of every district's SIS sources, for the worker's metrics."""
    async with _bound_to_nobody(engine) as connection:
        return (await connection.execute(text("SELECT * FROM app.sync_standing()"))).all()


async def schema_version(engine: AsyncEngine) -> str | None:
    """Returns the database's migration revision, or None without a schema or without the right to read the revision.

    Raises the driver's error when the database does not answer.
    """
    try:
        async with _bound_to_nobody(engine) as connection:
            version = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except DBAPIError as error:
        if sqlstate_of(error) in NO_SCHEMA:
            return None
        raise
    return None if version is None else str(version)


def _grant(row: dict[str, Any]) -> Grant:
    return Grant(
        UUID(row["district_id"]),
        row["slug"],
        frozenset(row["scopes"]),
        tuple(UUID(school) for school in row["school_ids"]),
    )


@asynccontextmanager
async def _bound_to_nobody(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        await set_binding(connection, NOBODY)
        yield connection
        await connection.rollback()


class Revocations:
    """The list of revoked tokens in this process. It is empty in a process that does not load it."""

    def __init__(self) -> None:
        self._token_ids: frozenset[UUID] = frozenset()
        self._revoked_until: dict[tuple[UUID, UUID], float] = {}
        self._too_old_at: float | None = None

    def covers(self, district_id: UUID, client_id: UUID, token_id: UUID, issued_at: int) -> bool:
        """Returns whether a token is revoked, either alone or with all tokens of its client in the district.

        A token contains the time of its issue only to the second, so a token that was issued in the same second as a
        revocation is revoked too.
        """
        return token_id in self._token_ids or issued_at <= self._revoked_until.get((district_id, client_id), -1.0)

    def require_current(self) -> None:
        """Raises `Unavailable` if the list of revoked tokens is older than `MAX_AGE` seconds.

        Does nothing in a process that does not keep this list.
        """
        if self._too_old_at is not None and time.monotonic() > self._too_old_at:
            raise Unavailable("The list of revoked tokens cannot be read.")

    @asynccontextmanager
    async def kept_current(self, engine: AsyncEngine) -> AsyncIterator[None]:
        """Reads the list of revoked tokens at regular intervals until the `async with` block ends.

        No token is accepted before the first successful read.
        """
        self._too_old_at = time.monotonic()
        succeeded = await self._try_to_load(engine)
        task = asyncio.create_task(self._keep_current(engine, EVERY if succeeded else RETRY))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def load(self, engine: AsyncEngine) -> None:
        """Reads the list of revocations."""
        read_at = time.monotonic()
        self._replace(await revocations_in_force(engine))
        if self._too_old_at is not None:
            self._too_old_at = read_at + MAX_AGE

    async def _keep_current(self, engine: AsyncEngine, wait: float) -> None:
        while True:
            await asyncio.sleep(wait)
            wait = EVERY if await self._try_to_load(engine) else RETRY

    async def _try_to_load(self, engine: AsyncEngine) -> bool:
        try:
            async with asyncio.timeout(MAX_AGE / 3):
                await self.load(engine)
        except Exception as error:  # after any error: the list becomes outdated, and then tokens are refused
            log.warning("revocations_not_read", **describe_fault(error))
            return False
        return True

    def _replace(self, revocations: list[Revocation]) -> None:
        self._token_ids = frozenset(row.token_id for row in revocations if row.token_id is not None)
        until: dict[tuple[UUID, UUID], float] = {}
        for row in revocations:
            if row.token_id is None:
                key = (row.district_id, row.client_id)
                until[key] = max(until.get(key, 0.0), row.revoked_at.timestamp())
        self._revoked_until = until
