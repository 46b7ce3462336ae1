"""Owns the worker's rounds: in every district, once an hour, what is overdue is told and what has expired is deleted.

Several workers may go round at once: what one has told, another finds told. Never holds a transaction over districts.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import districts_after
from app.access.principal import system_principal
from app.access.work import unit
from app.core.crypto import Keyring
from app.core.fault_report import describe_fault
from app.core.log import job_context
from app.decision.overdue import send_overdue_reminders
from app.sis.scheduler.retention import KEPT, drop_left_plans, expire_changes
from app.webhooks.deliveries.retention import expire

EVERY = 3600.0  # seconds: what is overdue is so by the day, and each district's day begins at its own hour
FIRST = 60.0  # seconds after the start
MOST = 1000  # batches of one district in one round: the rest waits for the next

log = structlog.get_logger()


async def maintain_until_stopped(
    engine: AsyncEngine, keyring: Keyring, stopping: asyncio.Event, history: timedelta = KEPT
) -> None:
    """Goes round all districts every hour; a worker that was just started delivers first."""
    wait = FIRST
    while not await _stops_within(wait, stopping):
        try:
            await run_maintenance(engine, keyring, stopping, history)
        except Exception as error:  # the next round finds what this one did not
            log.error("rounds.trouble", **describe_fault(error))
        wait = EVERY


async def run_maintenance(
    engine: AsyncEngine, keyring: Keyring, stopping: asyncio.Event, history: timedelta = KEPT
) -> None:
    """One round over all districts; one district's fault does not stop the others."""
    last = UUID(int=0)
    while districts := await districts_after(engine, last):
        for district_id in districts:
            if stopping.is_set():
                return
            with job_context("maintenance", district_id):
                try:
                    await maintain_district(engine, keyring, district_id, history)
                except Exception as error:  # the next round comes within the hour
                    log.error("rounds.trouble", **describe_fault(error))
        last = districts[-1]


async def maintain_district(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, history: timedelta = KEPT
) -> tuple[int, int]:
    """Tells one district what is overdue, and deletes what has expired there, batch by batch; how many of each."""
    principal, told, gone = system_principal(district_id, "worker"), 0, 0
    for _ in range(MOST):
        async with unit(engine, principal, keyring, "reminders") as work:
            found = await send_overdue_reminders(work)
        told += found
        if not found:
            break
    for _ in range(MOST):
        async with unit(engine, principal, keyring, "expiry") as work:
            found = await expire(work)
        gone += found
        if not found:
            break
    sync = system_principal(district_id, "sync")
    for _ in range(MOST):
        async with unit(engine, sync, keyring, "sync history") as work:
            found = await expire_changes(work, history)
        gone += found
        if not found:
            break
    async with unit(engine, sync, keyring, "sync history") as work:
        await drop_left_plans(work)
    return told, gone


async def _stops_within(seconds: float, stopping: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    return stopping.is_set()
