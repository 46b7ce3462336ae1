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
from app.sis.scheduler.answers import carry_out_answers
from app.sis.scheduler.execute import SyncScheduler
from app.sis.scheduler.metrics import REGISTRY, read_metrics
from app.webhooks.deliver import DeliveryContext
from app.webhooks.dispatcher import PACE, Deliveries
from app.webhooks.send import Sender

DISTRICTS = 16  # districts of each kind of job in one look
ANSWERS_AT_ONCE = 2  # districts whose answered syncs this process carries out at the same time
SETTLEMENTS_AT_ONCE = 2  # and districts whose settlements it judges
TASKS_AT_ONCE = 2  # and districts whose recurring tasks it runs
STANDING = 30.0  # seconds between two looks at how the sources stand
PATIENCE = 5.0  # seconds that a job has to end when the process is to end; then another worker attempts it
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


@dataclass
class Jobs:
    """Everything that this process works on, by kind of job."""

    webhooks: Deliveries
    syncs: SyncScheduler
    answers: DistrictTasks
    settlements: DistrictTasks
    tasks: DistrictTasks

    @classmethod
    def over(cls, settings: Settings, webhooks: Deliveries, long: DeliveryContext) -> "Jobs":
        """Builds them over the engine of the deliveries and over that of long jobs."""
        engine, keyring = long.engine, long.keyring
        answers = partial(carry_out_answers, engine, keyring)
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
        due = await districts_due(self.webhooks.post.engine, DISTRICTS)
        self.syncs.start(due[JobKind.SYNCS])
        self.answers.start(due[JobKind.ANSWERS])
        self.settlements.start(due[JobKind.SETTLEMENTS])
        self.tasks.start(due[JobKind.TASKS])
        return await self.webhooks.turn(due[JobKind.WEBHOOKS])

    async def finish(self) -> None:
        """Waits a little for the long jobs; those that go on are left to another worker."""
        long = (self.syncs, self.answers, self.settlements, self.tasks)
        await asyncio.gather(*(one.finish(PATIENCE) for one in long))


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Works until `stop` is set; then finishes what is in flight."""
    stopping = stop or asyncio.Event()
    async with deliveries(settings) as ours, jobs(settings, ours.post) as long, asyncio.TaskGroup() as beside:
        log.info("worker.started", worker=worker_name())
        beside.create_task(create_tasks_until_stopped(long.engine, long.keyring, stopping))
        beside.create_task(_update_metrics(settings, long, stopping))
        everything = Jobs.over(settings, ours, long)
        while not stopping.is_set():
            try:
                begun = await everything.start_due()
            except Exception as error:  # the database may be restarting: what is due stays due
                log.error("worker.trouble", **describe_fault(error))
                await _pause(TROUBLE, stopping)
            else:
                if begun:
                    await asyncio.sleep(PACE)
                else:
                    await _pause(IDLE, ours.landed)
        log.info("worker.stopping", in_flight=len(ours.flying))
        await everything.finish()


async def _update_metrics(settings: Settings, post: DeliveryContext, stopping: asyncio.Event) -> None:
    """Tells an operator's alarms how the sources stand, where the settings name a port for them."""
    if settings.metrics_port is None:
        return
    with _metrics(settings):
        while not stopping.is_set():
            try:
                await read_metrics(post.engine)
            except Exception as error:  # the next look comes soon
                log.error("metrics.trouble", **describe_fault(error))
            await _pause(STANDING, stopping)


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


async def drain(settings: Settings, only: Collection[UUID] | None = None) -> int:
    """Delivers until nothing is due, in all districts or in some; how many attempts were made."""
    attempts = 0
    async with deliveries(settings) as ours:
        while begun := await ours.turn(await _districts(ours, only)):
            attempts += begun
            await ours.land()
    return attempts


async def _districts(ours: Deliveries, only: Collection[UUID] | None) -> Collection[UUID]:
    return (await districts_due(ours.post.engine, DISTRICTS))[JobKind.WEBHOOKS] if only is None else only


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
