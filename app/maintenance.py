"""Runs the worker's hourly maintenance in every district: sends overdue reminders and deletes expired data.

Several workers may run it at once: a reminder that one worker has sent is not sent by another. No transaction spans
several districts.
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

EVERY = 3600.0  # seconds; reminders follow dates, and the date changes at another hour in each time zone
FIRST = 60.0  # seconds after the start of the worker
MOST = 1000  # batches of one district per run; the next run handles the rest

log = structlog.get_logger()


async def maintain_until_stopped(
    engine: AsyncEngine, keyring: Keyring, stopping: asyncio.Event, history: timedelta = KEPT
) -> None:
    """Runs the maintenance of all districts every hour until the worker stops; the first run waits a minute after
    the start.
    """
    wait = FIRST
    while not await _stops_within(wait, stopping):
        try:
            await run_maintenance(engine, keyring, stopping, history)
        except Exception as error:  # the next run handles what this one did not
            log.error("rounds.trouble", **describe_fault(error))
        wait = EVERY


async def run_maintenance(
    engine: AsyncEngine, keyring: Keyring, stopping: asyncio.Event, history: timedelta = KEPT
) -> None:
    """Runs the maintenance once in all districts; a fault in one district does not stop the others."""
    last = UUID(int=0)
    while districts := await districts_after(engine, last):
        for district_id in districts:
            if stopping.is_set():
                return
            with job_context("maintenance", district_id):
                try:
                    await maintain_district(engine, keyring, district_id, history)
                except Exception as error:  # the next run starts within the hour
                    log.error("rounds.trouble", **describe_fault(error))
        last = districts[-1]


async def maintain_district(
    engine: AsyncEngine, keyring: Keyring, district_id: UUID, history: timedelta = KEPT
) -> tuple[int, int]:
    """Sends a district's overdue reminders and deletes its expired data in batches; returns how many of each."""
    principal, reminders, deleted = system_principal(district_id, "worker"), 0, 0
    for _ in range(MOST):
        async with unit(engine, principal, keyring, "reminders") as work:
            count = await send_overdue_reminders(work)
        reminders += count
        if not count:
            break
    for _ in range(MOST):
        async with unit(engine, principal, keyring, "expiry") as work:
            count = await expire(work)
        deleted += count
        if not count:
            break
    sync = system_principal(district_id, "sync")
    for _ in range(MOST):
        async with unit(engine, sync, keyring, "sync history") as work:
            count = await expire_changes(work, history)
        deleted += count
        if not count:
            break
    async with unit(engine, sync, keyring, "sync history") as work:
        await drop_left_plans(work)
    return reminders, deleted


async def _stops_within(seconds: float, stopping: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
    return stopping.is_set()
