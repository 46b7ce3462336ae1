"""Manages the lease of a district's sync. A process takes it, renews it during its run, and gives it back at the end.

The lease keeps a second run from beginning. It ends by itself if its process is killed, is frozen, or cannot connect to
the database. The lease alone does not keep two runs from writing at the same time; the lock of the writing transaction
does (`run.lock_district_writes`). This module begins and ends no run.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core.crypto import Keyring
from app.core.ids import new_id
from app.sis.engine.run import try_lock_district_writes
from app.sis.models import SisLease
from app.sis.port import AlreadyRunning

MAX_LENGTH = timedelta(seconds=30)
"""The longest duration of a lease.

If the server ends idle transactions of this process after a shorter time, a lease has this shorter duration.
"""
BEATS = 4  # The number of renewals during a lease.
IDLE_TIMEOUT = text(
    "SELECT s.setting::integer FROM pg_settings AS s WHERE s.name = 'idle_in_transaction_session_timeout'"
)
"""A query for the number of milliseconds after which the server ends an idle transaction of this process; 0 means
never.
"""


@asynccontextmanager
async def district_sync_lease(engine: AsyncEngine, keyring: Keyring, district_id: UUID) -> AsyncIterator[None]:
    """Takes the lease of the district's sync, and gives it back at the end of the `async with` block.

    Raises `AlreadyRunning` if another process has the lease.
    """
    holder, principal = new_id(), system_principal(district_id, "sync")
    async with unit(engine, principal, keyring, "sync lease") as work:
        length = await take_lease(work, holder)

    async def renew() -> None:
        async with unit(engine, principal, keyring, "sync lease") as work:
            await renew_lease(work, holder, length)

    try:
        async with renewed(renew, length.total_seconds() / BEATS):
            yield
    finally:
        with suppress(Exception):  # without a database the lease ends by itself
            async with unit(engine, principal, keyring, "sync lease") as work:
                await renew_lease(work, holder, timedelta(0))


@asynccontextmanager
async def renewed(renew: Callable[[], Awaitable[None]], seconds: float) -> AsyncIterator[None]:
    """Calls `renew` every `seconds` seconds while the `async with` block runs.

    If one call fails, the next call still comes before the lease ends. If all calls fail, the lease ends, and the run
    may not write any more.
    """

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(Exception):
                await renew()

    renewal = asyncio.create_task(repeat())
    try:
        yield
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal


@needs(Can.SYNC_ROSTER)
async def take_lease(work: Work, holder: UUID) -> timedelta:
    """Takes the lease of the district's sync for the process `holder`, and returns how long the lease lasts.

    Raises `AlreadyRunning` if another process has the lease, or if a process whose lease has ended is still writing.
    """
    idle = timedelta(milliseconds=await work.db.scalar(IDLE_TIMEOUT) or 0)
    length = min(idle, MAX_LENGTH) if idle else MAX_LENGTH
    if not await try_lock_district_writes(work):
        raise _already_running()
    # The database sets and compares all times, so that the clock of no other machine decides who has the lease.
    lease = insert(SisLease).values(
        district_id=work.district_id,
        holder=holder,
        worker=func.current_setting("application_name"),
        taken_at=func.now(),
        renewed_at=func.now(),
        leased_until=func.now() + length,
    )
    names = ("holder", "worker", "taken_at", "renewed_at", "leased_until")
    taken = lease.on_conflict_do_update(
        index_elements=["district_id"],
        set_={name: lease.excluded[name] for name in names},
        where=SisLease.leased_until <= lease.excluded.taken_at,
    )
    if await work.db.scalar(taken.returning(SisLease.holder)) is None:
        raise _already_running()
    return length


@needs(Can.SYNC_ROSTER)
async def renew_lease(work: Work, holder: UUID, length: timedelta) -> None:
    """Makes the lease of `holder` last for `length` from now; a length of zero ends it.

    If another holder has the lease, changes nothing.
    """
    mine = (SisLease.district_id == work.district_id, SisLease.holder == holder)
    until = {"renewed_at": func.now(), "leased_until": func.now() + length}
    await work.db.execute(update(SisLease).where(*mine).values(until))


@needs(Can.READ_SYNC)
async def is_syncing(work: Work) -> bool:
    """Returns whether any process has the lease of the district's sync."""
    held = select(SisLease.holder).where(SisLease.district_id == work.district_id, SisLease.leased_until > func.now())
    return await work.db.scalar(held) is not None


@needs(Can.SYNC_ROSTER)
async def describe_holder(work: Work) -> str:
    """Returns a sentence that says which process is syncing the district, and how long ago it renewed its lease.

    If no process is syncing any more, the sentence says that another sync has just ended.
    """
    silent = func.extract("epoch", func.now() - SisLease.renewed_at)
    ended = SisLease.leased_until <= func.now()
    query = select(SisLease.worker, silent.label("silent"), ended.label("ended"))
    row = (await work.db.execute(query.where(SisLease.district_id == work.district_id))).one_or_none()
    if row is None or (row.ended and await try_lock_district_writes(work)):
        return "Another sync of this district has just ended."
    return (
        f"Another process ({row.worker}) holds this district's syncs and was last heard of {int(row.silent)} seconds "
        "ago. If it is frozen, its lease and its sessions end by themselves."
    )


def _already_running() -> AlreadyRunning:
    return AlreadyRunning("A sync of this district is running. Try again when it has ended.")
