"""Owns the second process: it delivers webhooks and syncs by night until it is told to stop. Never serves a request.

As many may run as wanted: what one claims, another leaves alone; what one dies over, another takes up.
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
from app.webhooks.dispatcher import PACE, Deliveries
from app.webhooks.send import Sender

ANSWERS = 1.0  # seconds between two looks for answered syncs, and for those that are due
STANDING = 30.0  # seconds between two looks at how the sources stand
PATIENCE = 5.0  # seconds that a sync has to end when the process is to end; then another worker begins it anew
SETTLES = 1.0  # seconds between two looks for weeks to settle
IDLE = 0.05  # seconds between two looks when there was nothing to do
TROUBLE = 1.0  # seconds before the next look when the database is out of reach

log = structlog.get_logger()


@asynccontextmanager
async def deliveries(settings: Settings) -> AsyncIterator[Deliveries]:
    """The deliveries over these settings; when the block ends, what is in flight lands first."""
    url, limits = settings.url_of("worker"), settings.timeouts
    engine = open_engine(url, name="worker", pool_size=settings.pool_size, timeouts=limits)
    sender = Sender(settings.webhook_allowed)
    ours = Deliveries(DeliveryContext(engine, settings.keyring, sender, settings.base_url.rstrip("/")))
    try:
        yield ours
    finally:
        await ours.land()
        await sender.close()
        await engine.dispose()


@asynccontextmanager
async def jobs(settings: Settings, post: DeliveryContext) -> AsyncIterator[DeliveryContext]:
    """The same over connections of their own, whose limits are those of syncs and of other long jobs."""
    url, limits = settings.url_of("worker"), settings.sync_timeouts
    engine = open_engine(url, name="worker jobs", pool_size=settings.pool_size, timeouts=limits)
    try:
        yield replace(post, engine=engine)
    finally:
        await engine.dispose()


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Works until `stop` is set; then finishes what is in flight."""
    stopping = stop or asyncio.Event()
    async with deliveries(settings) as ours, jobs(settings, ours.post) as long, asyncio.TaskGroup() as beside:
        log.info("worker.started")
        beside.create_task(_answer_syncs(long, stopping))
        beside.create_task(_settle_weeks(long, stopping))
        history = timedelta(days=settings.sync_history_days)
        beside.create_task(maintain_until_stopped(long.engine, long.keyring, stopping, history))
        beside.create_task(_sync_by_night(settings, long, stopping))
        while not stopping.is_set():
            try:
                begun = await ours.turn()
            except Exception as error:  # the database may be restarting: what is due stays due
                log.error("worker.trouble", **describe_fault(error))
                await _pause(TROUBLE, stopping)
            else:
                if begun:
                    await asyncio.sleep(PACE)
                else:
                    await _pause(IDLE, ours.landed)
        log.info("worker.stopping", in_flight=len(ours.flying))


async def _answer_syncs(post: DeliveryContext, stopping: asyncio.Event) -> None:
    """Carries out held syncs that somebody has approved or discarded."""
    while not stopping.is_set():
        try:
            await execute_answered_runs(post.engine, post.keyring)
        except Exception as error:  # what is answered stays answered
            log.error("syncs.trouble", **describe_fault(error))
        await _pause(ANSWERS, stopping)


async def _sync_by_night(settings: Settings, post: DeliveryContext, stopping: asyncio.Event) -> None:
    """Carries out the syncs that schedules and people ask for; tells an operator's alarms how they stand."""
    night, told = SyncScheduler(post.engine, post.keyring, settings.sis_allowed), 0.0
    with _metrics(settings):
        while not stopping.is_set():
            try:
                await night.start_due()
                if settings.metrics_port is not None and time.monotonic() - told >= STANDING:
                    await read_metrics(post.engine)
                    told = time.monotonic()
            except Exception as error:  # what is due stays due
                log.error("syncs.trouble", **describe_fault(error))
            await _pause(ANSWERS, stopping)
        await night.drain(PATIENCE)


@contextmanager
def _metrics(settings: Settings) -> Iterator[int | None]:
    """Serves the gauges for Prometheus, where the settings name a port; on loopback unless they name an address."""
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


async def _settle_weeks(post: DeliveryContext, stopping: asyncio.Event) -> None:
    """Judges again what was judged before its cohort's week was in, and what new rules are to judge."""
    while not stopping.is_set():
        try:
            settled = await finalize_due(post.engine, post.keyring)
        except Exception as error:  # what is due stays due
            log.error("settling.trouble", **describe_fault(error))
            settled = 0
        await _pause(0 if settled else SETTLES, stopping)


async def drain(settings: Settings, only: Collection[UUID] | None = None) -> int:
    """Delivers until nothing is due, in all districts or in some; how many attempts were made."""
    attempts = 0
    async with deliveries(settings) as ours:
        while begun := await ours.turn(only):
            attempts += begun
            await ours.land()
    return attempts


def main() -> None:
    """The process: `aimline worker`."""
    log_as_json()
    settings = Settings()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_checked(settings))
    except (UnfitServer, KeyFault) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


async def _checked(settings: Settings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
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
