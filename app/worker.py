"""Owns the second process: it carries out jobs until it is told to stop. Never serves a request.

One look asks the database which districts have jobs of any kind due; each kind works on its districts beside the
others. As many workers may run as wanted: what one has claimed, another leaves alone until the lease has ended.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
import uvloop
from prometheus_client import start_http_server

from app.access.directory import JobKind, districts_due
from app.core.crypto import KeyFault
from app.core.db import UnfitServer, check_server, open_engine
from app.core.district_tasks import DistrictTasks
from app.core.fault_report import describe_fault
from app.core.jobs import worker_name
from app.core.log import log_as_json
from app.maintenance.service import create_tasks_until_stopped, run_due_tasks
from app.response.judging.finalize import finalize_district
from app.settings import Settings
from app.sis.scheduler.answers import execute_due_answers
from app.sis.scheduler.execute import SyncScheduler
from app.sis.scheduler.metrics import REGISTRY, read_metrics
from app.webhooks.deliver import DeliveryContext
from app.webhooks.dispatcher import PACE, DeliveryDispatcher
from app.webhooks.send import Sender

DISTRICTS = 16  # districts of each kind of job in one look
ANSWERS_AT_ONCE = 2  # districts whose answered syncs this process carries out at the same time
SETTLEMENTS_AT_ONCE = 2  # and districts whose settlements it judges
TASKS_AT_ONCE = 2  # and districts whose recurring tasks it runs
STANDING = 30.0  # seconds between two looks at how the sources stand
PATIENCE = 5.0  # seconds that a job has to end when the process is to end; then another worker attempts it
IDLE = 0.05  # seconds between two looks when there was nothing to do
ERROR_PAUSE = 1.0  # seconds before the next look when the database is out of reach

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


@dataclass
class Jobs:
    """Everything that this process works on, by kind of job."""

    webhooks: DeliveryDispatcher
    syncs: SyncScheduler
    answers: DistrictTasks
    settlements: DistrictTasks
    tasks: DistrictTasks

    @classmethod
    def over(cls, settings: Settings, webhooks: DeliveryDispatcher, long: DeliveryContext) -> "Jobs":
        """Builds them over the engine of the deliveries and over that of long jobs."""
        engine, keyring = long.engine, long.keyring
        answers = partial(execute_due_answers, engine, keyring)
        settlements = partial(finalize_district, engine, keyring)
        tasks = partial(run_due_tasks, engine, keyring, timedelta(days=settings.sync_history_days))
        return cls(
            webhooks,
            SyncScheduler(engine, keyring, settings.sis_allowed),
            DistrictTasks("sync answers", answers, ANSWERS_AT_ONCE),
            DistrictTasks("settling", settlements, SETTLEMENTS_AT_ONCE),
            DistrictTasks("tasks", tasks, TASKS_AT_ONCE),
        )

    async def start_due(self) -> int:
        """Looks once which districts have jobs due, begins them, and returns how many deliveries were begun."""
        due = await districts_due(self.webhooks.context.engine, DISTRICTS)
        self.syncs.start(due[JobKind.SYNCS])
        self.answers.start(due[JobKind.ANSWERS])
        self.settlements.start(due[JobKind.SETTLEMENTS])
        self.tasks.start(due[JobKind.TASKS])
        return await self.webhooks.run_once(due[JobKind.WEBHOOKS])

    async def finish(self) -> None:
        """Waits a little for the long jobs; those that go on are left to another worker."""
        long = (self.syncs, self.answers, self.settlements, self.tasks)
        await asyncio.gather(*(one.drain(PATIENCE) for one in long))


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Works until `stop` is set; then finishes the deliveries in flight."""
    stopping = stop or asyncio.Event()
    async with deliveries(settings) as ours, jobs(settings, ours.context) as long, asyncio.TaskGroup() as beside:
        log.info("worker.started", worker=worker_name())
        beside.create_task(create_tasks_until_stopped(long.engine, long.keyring, stopping))
        beside.create_task(_update_metrics(settings, long, stopping))
        everything = Jobs.over(settings, ours, long)
        while not stopping.is_set():
            try:
                started = await everything.start_due()
            except Exception as error:  # the database may be restarting: what is due stays due
                log.error("worker.trouble", **describe_fault(error))
                await _pause(ERROR_PAUSE, stopping)
            else:
                if started:
                    await asyncio.sleep(PACE)
                else:
                    await _pause(IDLE, ours.room_freed)
        log.info("worker.stopping", in_flight=len(ours.in_flight))
        await everything.finish()


async def _update_metrics(settings: Settings, context: DeliveryContext, stopping: asyncio.Event) -> None:
    """Tells an operator's alarms how the sources stand, where the settings name a port for them."""
    if settings.metrics_port is None:
        return
    with _metrics(settings):
        while not stopping.is_set():
            try:
                await read_metrics(context.engine)
            except Exception as error:  # the next look comes soon
                log.error("metrics.trouble", **describe_fault(error))
            await _pause(STANDING, stopping)


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


async def drain(settings: Settings, only: Collection[UUID] | None = None) -> int:
    """Delivers until nothing is due, in all districts or in some; returns the number of attempts."""
    attempts = 0
    async with deliveries(settings) as ours:
        while begun := await ours.run_once(await _districts(ours, only)):
            attempts += begun
            await ours.drain()
    return attempts


async def _districts(ours: DeliveryDispatcher, only: Collection[UUID] | None) -> Collection[UUID]:
    return (await districts_due(ours.context.engine, DISTRICTS))[JobKind.WEBHOOKS] if only is None else only


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
