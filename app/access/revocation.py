"""Keeps each process's list of revoked tokens current, so that a revocation holds everywhere within a minute.

Tokens are verified without a row. This list is what a process knows besides: it is read every twenty seconds, and a
process that could not read it for a minute accepts no token.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import Revocation, revocations_in_force
from app.core.errors import Unavailable
from app.core.fault_report import describe_fault

EVERY, RETRY, MAX_AGE = 20.0, 5.0, 60.0
"""Seconds between two reads, after a failed read, and after which the list is too old to be relied on."""
log = structlog.get_logger()


class Revocations:
    """The revoked tokens that this process knows. One that is not kept current, as in a command, covers nothing."""

    def __init__(self) -> None:
        self._token_ids: frozenset[UUID] = frozenset()
        self._revoked_until: dict[tuple[UUID, UUID], float] = {}
        self._too_old_at: float | None = None

    def covers(self, district_id: UUID, client_id: UUID, token_id: UUID, issued_at: int) -> bool:
        """Returns whether a token is revoked: itself, or with all that its client had in the district until then.

        A token states its second only, so one that is issued within the second of a revocation is revoked too.
        """
        return token_id in self._token_ids or issued_at <= self._revoked_until.get((district_id, client_id), -1.0)

    def require_current(self) -> None:
        """Raises `Unavailable` where the list is kept current, but could not be read for too long."""
        if self._too_old_at is not None and time.monotonic() > self._too_old_at:
            raise Unavailable("The list of revoked tokens cannot be read.")

    @asynccontextmanager
    async def kept_current(self, engine: AsyncEngine) -> AsyncIterator[None]:
        """Reads the list now, and again and again until the block ends; no token is accepted before the first time."""
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
        """Reads the list."""
        asked_at = time.monotonic()
        self._replace(await revocations_in_force(engine))
        self._too_old_at = asked_at + MAX_AGE

    async def _keep_current(self, engine: AsyncEngine, wait: float) -> None:
        while True:
            await asyncio.sleep(wait)
            wait = EVERY if await self._try_to_load(engine) else RETRY

    async def _try_to_load(self, engine: AsyncEngine) -> bool:
        try:
            async with asyncio.timeout(MAX_AGE / 3):
                await self.load(engine)
        except Exception as error:  # whatever it is: the list grows old, and then tokens are refused
            log.warning("revocations_not_read", **describe_fault(error))
            return False
        return True

    def _replace(self, revocations: list[Revocation]) -> None:
        self._token_ids = frozenset(one.token_id for one in revocations if one.token_id is not None)
        until: dict[tuple[UUID, UUID], float] = {}
        for one in revocations:
            if one.token_id is None:
                key = (one.district_id, one.client_id)
                until[key] = max(until.get(key, 0.0), one.revoked_at.timestamp())
        self._revoked_until = until
