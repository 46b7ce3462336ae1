"""Runs the worker process: it delivers webhooks, runs syncs, finalizes weeks and does maintenance until it is
stopped.

Any number of workers may run: each leaves alone what another has claimed, and takes over what another left behind.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog
import uvloop
from prometheus_client import start_http_server

from app.core.crypto import KeyFault
from app.core.db import UnfitServer, check_server, open_engine
from app.core.fault_report import describe_fault
from app.core.log import log_as_json
from app.maintenance import maintain_until_stopped
from app.response.judging.finalize import finalize_due
from app.settings import Settings
from app.sis.runs.approval import execute_answered_runs
from app.sis.scheduler.execute import SyncScheduler
from app.sis.scheduler.metrics import REGISTRY, read_metrics
from app.webhooks.deliver import DeliveryContext
from app.webhooks.dispatcher import PACE, DeliveryDispatcher
from app.webhooks.send import Sender

SYNC_INTERVAL = 1.0  # seconds between two checks for approved or discarded syncs, and for due ones
METRICS_INTERVAL = 30.0  # seconds between two updates of the sources' metrics
SYNC_SHUTDOWN = 5.0  # seconds that a running sync has to finish at shutdown; otherwise another worker starts it again
FINALIZE_INTERVAL = 1.0  # seconds between two checks for weeks to finalize
IDLE = 0.05  # seconds between two checks when nothing was due
ERROR_PAUSE = 1.0  # seconds before the next check when the database cannot be reached

log = structlog.get_logger()


@asynccontextmanager
async def deliveries(settings: Settings) -> AsyncIterator[DeliveryDispatcher]:
    """Yields a delivery dispatcher for these settings; at the end of the block, deliveries in flight are finished
    first.
    """
    url, limits = settings.url_of("worker"), settings.timeouts
    engine = open_engine(url, name="worker", pool_size=settings.pool_size, timeouts=limits)
    sender = Sender(settings.webhook_allowed)
    dispatcher = DeliveryDispatcher(DeliveryContext(engine, settings.keyring, sender, settings.base_url.rstrip("/")))
    try:
        yield dispatcher
    finally:
        await dispatcher.drain()
        await sender.close()
        await engine.dispose()


@asynccontextmanager
async def jobs(settings: Settings, context: DeliveryContext) -> AsyncIterator[DeliveryContext]:
    """Yields the context for long jobs such as syncs, with a separate connection pool that has their longer
    timeouts.
    """
    url, limits = settings.url_of("worker"), settings.sync_timeouts
    engine = open_engine(url, name="worker jobs", pool_size=settings.pool_size, timeouts=limits)
    try:
        yield replace(context, engine=engine)
    finally:
        await engine.dispose()


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Works until `stop` is set; then finishes the deliveries in flight."""
    stopping = stop or asyncio.Event()
    async with (
        deliveries(settings) as dispatcher,
        jobs(settings, dispatcher.context) as long_jobs,
        asyncio.TaskGroup() as tasks,
    ):
        log.info("worker.started")
        tasks.create_task(_execute_decisions(long_jobs, stopping))
        tasks.create_task(_finalize_weeks(long_jobs, stopping))
        history = timedelta(days=settings.sync_history_days)
        tasks.create_task(maintain_until_stopped(long_jobs.engine, long_jobs.keyring, stopping, history))
        tasks.create_task(_run_syncs(settings, long_jobs, stopping))
        while not stopping.is_set():
            try:
                started = await dispatcher.run_once()
            except Exception as error:  # the database may be restarting; due work stays due
                log.error("worker.trouble", **describe_fault(error))
                await _pause(ERROR_PAUSE, stopping)
            else:
                if started:
                    await asyncio.sleep(PACE)
                else:
                    await _pause(IDLE, dispatcher.room_freed)
        log.info("worker.stopping", in_flight=len(dispatcher.in_flight))


async def _execute_decisions(context: DeliveryContext, stopping: asyncio.Event) -> None:
    """Executes the decisions on held syncs that were approved or discarded."""
    while not stopping.is_set():
        try:
            await execute_answered_runs(context.engine, context.keyring)
        except Exception as error:  # the decision stays stored and is executed later
            log.error("syncs.trouble", **describe_fault(error))
        await _pause(SYNC_INTERVAL, stopping)


async def _run_syncs(settings: Settings, context: DeliveryContext, stopping: asyncio.Event) -> None:
    """Runs scheduled and requested syncs, and updates the metrics of their status."""
    scheduler, updated_at = SyncScheduler(context.engine, context.keyring, settings.sis_allowed), 0.0
    with _metrics(settings):
        while not stopping.is_set():
            try:
                await scheduler.start_due()
                if settings.metrics_port is not None and time.monotonic() - updated_at >= METRICS_INTERVAL:
                    await read_metrics(context.engine)
                    updated_at = time.monotonic()
            except Exception as error:  # due work stays due
                log.error("syncs.trouble", **describe_fault(error))
            await _pause(SYNC_INTERVAL, stopping)
        await scheduler.drain(SYNC_SHUTDOWN)


@contextmanager
def _metrics(settings: Settings) -> Iterator[int | None]:
    """Serves the metrics for Prometheus if the settings name a port, by default on loopback only."""
    if settings.metrics_port is None:
        yield None
        return
    server, thread = start_http_server(settings.metrics_port, settings.metrics_host, REGISTRY)
    log.info("metrics.served", port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def _finalize_weeks(context: DeliveryContext, stopping: asyncio.Event) -> None:
    """Judges series again whose verdict was provisional, or whose rules have changed."""
    while not stopping.is_set():
        try:
            count = await finalize_due(context.engine, context.keyring)
        except Exception as error:  # due work stays due
            log.error("settling.trouble", **describe_fault(error))
            count = 0
        await _pause(0 if count else FINALIZE_INTERVAL, stopping)


async def drain(settings: Settings, only: Collection[UUID] | None = None) -> int:
    """Delivers until nothing is due, in all districts or in some; returns the number of attempts."""
    attempts = 0
    async with deliveries(settings) as dispatcher:
        while started := await dispatcher.run_once(only):
            attempts += started
            await dispatcher.drain()
    return attempts


def main() -> None:
    """Runs the worker process (`aimline worker`)."""
    log_as_json()
    settings = Settings()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_check_and_work(settings))
    except (UnfitServer, KeyFault) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


async def _check_and_work(settings: Settings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    await check_server(settings.url_of("worker"), "worker")
    await work(settings, stop)


async def _pause(seconds: float, until: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await until.wait()
    except TimeoutError:
        return


if __name__ == "__main__":
    main()
