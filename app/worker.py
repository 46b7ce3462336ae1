"""Runs the worker process, which executes jobs until it is stopped.

One query asks the database which districts have due jobs, such as syncs and webhook deliveries. Jobs of different kinds
are executed at the same time. Any number of workers may run. A worker leaves alone the jobs that another worker has
claimed, until the lease of the claim ends.
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
from app.core.alerting import MailServer, is_mail_address
from app.core.crypto import KeyFault
from app.core.db import UnfitServer, check_server, open_engine
from app.core.district_tasks import DistrictTasks
from app.core.fault_report import describe_fault
from app.core.jobs import worker_name
from app.core.log import log_as_json
from app.maintenance.service import create_tasks_until_stopped, run_due_tasks
from app.response.judging.finalize import finalize_district
from app.settings import Settings
from app.sis.scheduler.alerts import AlertSettings, Recipients, send_notices
from app.sis.scheduler.answers import execute_answered_runs
from app.sis.scheduler.execute import SyncScheduler
from app.sis.scheduler.metrics import REGISTRY, read_metrics
from app.webhooks.deliver import DeliveryContext
from app.webhooks.dispatcher import PACE, DeliveryDispatcher
from app.webhooks.send import Sender

DISTRICTS = 16  # districts of each kind of job in one polling pass
ANSWERS_AT_ONCE = 2  # districts whose answered syncs this process executes at the same time
FINALIZATIONS_AT_ONCE = 2  # districts whose weeks this process finalizes at the same time
NOTICES_AT_ONCE = 2  # districts whose notices this process sends at the same time
TASKS_AT_ONCE = 2  # districts whose recurring tasks this process runs at the same time
METRICS_INTERVAL = 30.0  # seconds between two updates of the sources' metrics
SHUTDOWN = 5.0  # seconds that a job has to finish at shutdown; otherwise another worker attempts it
IDLE = 0.05  # seconds between two checks when no job was due
ERROR_PAUSE = 1.0  # seconds before the next check when the database cannot be reached

log = structlog.get_logger()


@asynccontextmanager
async def deliveries(settings: Settings) -> AsyncIterator[DeliveryDispatcher]:
    """Yields the object that sends webhook deliveries. At the end of the block, waits for those that are being sent."""
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
    """Yields the context of long jobs, such as syncs.

    It has a connection pool of its own, with longer timeouts.
    """
    url, limits = settings.url_of("worker"), settings.sync_timeouts
    engine = open_engine(url, name="worker jobs", pool_size=settings.pool_size, timeouts=limits)
    try:
        yield replace(context, engine=engine)
    finally:
        await engine.dispose()


def alert_settings(settings: Settings) -> AlertSettings:
    """Returns how, and to whom, notices of syncs are sent by default.

    Raises `KeyFault` if the address of the mail server, of the sender or of a recipient is malformed.
    """
    emails = tuple(filter(None, (address.strip() for address in settings.alert_emails.split(","))))
    if not all(map(is_mail_address, emails)):
        raise KeyFault("AIMLINE_ALERT_EMAILS has an entry that is not an e-mail address in ASCII.")
    try:
        server = MailServer.parse(settings.smtp_url, settings.alert_from) if settings.smtp_url else None
    except ValueError as error:
        raise KeyFault(f"AIMLINE_SMTP_URL and AIMLINE_ALERT_FROM: {error}") from None
    return AlertSettings(server, Recipients(emails, settings.alert_chat_url or None), settings.webhook_allowed)


@dataclass
class Jobs:
    """The jobs that this process is executing: webhook deliveries, syncs, and other jobs."""

    webhooks: DeliveryDispatcher
    syncs: SyncScheduler
    answers: DistrictTasks
    finalizations: DistrictTasks
    tasks: DistrictTasks
    notices: DistrictTasks

    @classmethod
    def of_process(cls, settings: Settings, webhooks: DeliveryDispatcher, long_jobs: DeliveryContext) -> "Jobs":
        """Returns an object that starts the jobs of this process. No job is running yet.

        `webhooks` sends all webhook deliveries, and `long_jobs` is the context of all other jobs.
        """
        engine, keyring = long_jobs.engine, long_jobs.keyring
        answers = partial(execute_answered_runs, engine, keyring)
        finalizations = partial(finalize_district, engine, keyring)
        notices = partial(send_notices, alert_settings(settings), engine, keyring)
        tasks = partial(run_due_tasks, engine, keyring, timedelta(days=settings.sync_history_days))
        return cls(
            webhooks,
            SyncScheduler(engine, keyring, settings.sis_allowed),
            DistrictTasks("sync answers", answers, ANSWERS_AT_ONCE),
            DistrictTasks("finalizing", finalizations, FINALIZATIONS_AT_ONCE),
            DistrictTasks("tasks", tasks, TASKS_AT_ONCE),
            DistrictTasks("sync notices", notices, NOTICES_AT_ONCE),
        )

    async def start_due(self) -> int:
        """Starts due jobs, as many as there is capacity for. Returns the number of webhook deliveries among them."""
        due = await districts_due(self.webhooks.context.engine, DISTRICTS)
        self.syncs.start_due(due[JobKind.SYNCS])
        self.answers.start_due(due[JobKind.ANSWERS])
        self.finalizations.start_due(due[JobKind.FINALIZATIONS])
        self.tasks.start_due(due[JobKind.TASKS])
        self.notices.start_due(due[JobKind.NOTICES])
        return await self.webhooks.run_once(due[JobKind.WEBHOOKS])

    async def drain(self) -> None:
        """Waits for all jobs except webhook deliveries, and cancels those that do not finish in time.

        Another worker then attempts them again.
        """
        long_jobs = (self.syncs, self.answers, self.finalizations, self.tasks, self.notices)
        await asyncio.gather(*(some.drain(SHUTDOWN) for some in long_jobs))


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Executes jobs until `stop` is set, and then finishes the webhook deliveries that are being sent."""
    stopping = stop or asyncio.Event()
    async with (
        deliveries(settings) as dispatcher,
        jobs(settings, dispatcher.context) as long_jobs,
        asyncio.TaskGroup() as tasks,
    ):
        log.info("worker.started", worker=worker_name())
        tasks.create_task(create_tasks_until_stopped(long_jobs.engine, long_jobs.keyring, stopping))
        tasks.create_task(_update_metrics(settings, long_jobs, stopping))
        all_jobs = Jobs.of_process(settings, dispatcher, long_jobs)
        while not stopping.is_set():
            try:
                started = await all_jobs.start_due()
            except Exception as error:  # the database may be restarting; jobs that are due stay due
                log.error("worker.trouble", **describe_fault(error))
                await _pause(ERROR_PAUSE, stopping)
            else:
                if started:
                    await asyncio.sleep(PACE)
                else:
                    await _pause(IDLE, dispatcher.room_freed)
        log.info("worker.stopping", in_flight=len(dispatcher.in_flight))
        await all_jobs.drain()


async def _update_metrics(settings: Settings, context: DeliveryContext, stopping: asyncio.Event) -> None:
    """Regularly updates the metrics about syncs, and serves them, if the settings name a port for metrics."""
    if settings.metrics_port is None:
        return
    with _metrics(settings):
        while not stopping.is_set():
            try:
                await read_metrics(context.engine)
            except Exception as error:  # the next update follows soon
                log.error("metrics.trouble", **describe_fault(error))
            await _pause(METRICS_INTERVAL, stopping)


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
    """Sends webhook deliveries until none is due, and returns the number of attempts.

    `only` are the districts whose deliveries are sent; None stands for all districts.
    """
    attempts = 0
    async with deliveries(settings) as dispatcher:
        while started := await dispatcher.run_once(await _districts(dispatcher, only)):
            attempts += started
            await dispatcher.drain()
    return attempts


async def _districts(dispatcher: DeliveryDispatcher, only: Collection[UUID] | None) -> Collection[UUID]:
    return (await districts_due(dispatcher.context.engine, DISTRICTS))[JobKind.WEBHOOKS] if only is None else only


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
