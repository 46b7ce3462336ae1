"""Owns the second process: it delivers webhooks and syncs by night until it is told to stop. Never serves a request.

As many may run as wanted: what one claims, another leaves alone; what one dies over, another takes up.
"""

import asyncio
import logging
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from prometheus_client import start_http_server

from app.access.directory import Due, districts_due
from app.core.address import Allowed
from app.core.crypto import KeyFault
from app.core.db import UnfitServer, check_server, open_engine
from app.response.judging.settle import settle_due
from app.rounds import go_rounds
from app.settings import Settings
from app.sis.answer import carry_out_approved
from app.sis.night.carry import Night
from app.sis.night.standing import REGISTRY, read_standing
from app.webhooks.deliver import Attempt, Parcel, Post, record, send, take
from app.webhooks.send import Sender

ANSWERS = 1.0  # seconds between two looks for answered syncs, and for those that are due
STANDING = 30.0  # seconds between two looks at how the sources stand
SETTLES = 1.0  # seconds between two looks for weeks to settle
IDLE = 0.05  # seconds between two looks when there was nothing to do
TROUBLE = 1.0  # seconds before the next look when the database is out of reach
IN_FLIGHT = 128  # deliveries at once in this process
OF_ONE_DISTRICT = 64  # and of one district's: the flood of one, or its dead endpoints, leave room for the others
DISTRICTS = 16  # districts in one look

log = structlog.get_logger()


@dataclass
class Deliveries:
    """The deliveries of this process: what is in flight, and how more is taken."""

    post: Post
    flying: set[asyncio.Task[None]] = field(default_factory=set)
    unrecorded: list[Attempt] = field(default_factory=list)
    recording: asyncio.Task[None] | None = None
    out: int = 0  # claimed and not yet recorded
    of: Counter[UUID] = field(default_factory=Counter)  # the same by district
    landed: asyncio.Event = field(default_factory=asyncio.Event)  # something was recorded: there is room again

    async def turn(self, only: Collection[UUID] | None = None) -> int:
        """One look: dispatches and claims in every district that is due, begins to send; how many were begun."""
        self.landed.clear()
        room = IN_FLIGHT - self.out
        if room <= 0:
            return 0
        districts = await districts_due(self.post.engine, Due.WEBHOOKS, DISTRICTS) if only is None else list(only)
        if not districts:
            return 0
        # Each district gets its share of the room, so that the flood of one leaves room for the others.
        share = max(1, room // len(districts))
        most = {district: min(share, OF_ONE_DISTRICT - self.of[district]) for district in districts}
        taken = await asyncio.gather(*(self._take(district, n) for district, n in most.items() if n > 0))
        parcels = [parcel for some in taken for parcel in some]
        if parcels:
            log.info("webhooks.claimed", deliveries=len(parcels))
        self._out(parcels, 1)
        for parcel in parcels:
            task = asyncio.create_task(self._send(parcel))
            self.flying.add(task)
            task.add_done_callback(self.flying.discard)
        return len(parcels)

    async def land(self) -> None:
        """Waits for all that is in flight, until it is recorded."""
        while self.flying or self.recording:
            await asyncio.wait([*self.flying, *([self.recording] if self.recording else [])])

    def _out(self, parcels: Sequence[Parcel], each: int) -> None:
        """Counts parcels out (1) or in again (-1)."""
        self.out += each * len(parcels)
        for parcel in parcels:
            self.of[parcel.district_id] += each
        self.of += Counter()  # districts with nothing out are forgotten

    async def _take(self, district_id: UUID, most: int) -> list[Parcel]:
        try:
            return await take(self.post, district_id, most)
        except Exception as error:  # one district's fault must not stop the others
            log.error("webhooks.take_failed", district=str(district_id), error=type(error).__name__)
            return []

    async def _send(self, parcel: Parcel) -> None:
        where = {"delivery": str(parcel.claimed.id), "attempt": parcel.claimed.number}
        try:
            attempt = await send(self.post, parcel)
        except Exception as error:  # the lease ends, and the delivery is taken up again
            log.error("webhooks.send_failed", **where, error=type(error).__name__)
            self._out([parcel], -1)
            return
        outcome = attempt.outcome
        log.info(
            "webhooks.attempt",
            **where,
            endpoint=str(parcel.endpoint_id),
            status=outcome.status,
            failure=outcome.failure,
            milliseconds=outcome.milliseconds,
        )
        self.unrecorded.append(attempt)
        if self.recording is None:
            self.recording = asyncio.create_task(self._record())

    async def _record(self) -> None:
        """Records what has come back, a transaction a district: the busier it is, the more goes into each."""
        while self.unrecorded:
            attempts, self.unrecorded = self.unrecorded, []
            by_district = defaultdict(list)
            for attempt in attempts:
                by_district[attempt.parcel.district_id].append(attempt)
            for district_id, some in by_district.items():
                try:
                    await record(self.post, district_id, some)
                except Exception as error:  # the leases end, and what was sent is sent again: at least once
                    log.error("webhooks.record_failed", district=str(district_id), error=type(error).__name__)
                self._out([attempt.parcel for attempt in some], -1)
            log.info("webhooks.recorded", attempts=len(attempts))
            self.landed.set()
        self.recording = None


@asynccontextmanager
async def deliveries(settings: Settings) -> AsyncIterator[Deliveries]:
    """The deliveries over these settings; when the block ends, what is in flight lands first."""
    allowed = Allowed.parse(settings.allow_networks, sandbox=settings.sandbox)
    engine = open_engine(settings.url_of("worker"), name="worker", pool_size=settings.pool_size)
    sender = Sender(allowed)
    ours = Deliveries(Post(engine, settings.keyring, sender, settings.base_url.rstrip("/")))
    try:
        yield ours
    finally:
        await ours.land()
        await sender.close()
        await engine.dispose()


async def work(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Works until `stop` is set; then finishes what is in flight."""
    stopping = stop or asyncio.Event()
    async with deliveries(settings) as ours, asyncio.TaskGroup() as beside:
        log.info("worker.started")
        beside.create_task(_answer_syncs(ours.post, stopping))
        beside.create_task(_settle_weeks(ours.post, stopping))
        beside.create_task(go_rounds(engine=ours.post.engine, keyring=ours.post.keyring, stopping=stopping))
        beside.create_task(_sync_by_night(settings, ours.post, stopping))
        while not stopping.is_set():
            try:
                begun = await ours.turn()
            except Exception as error:  # the database may be restarting: what is due stays due
                log.error("worker.trouble", error=type(error).__name__)
                await _pause(TROUBLE, stopping)
            else:
                if not begun:
                    await _pause(IDLE, ours.landed)
        log.info("worker.stopping", in_flight=ours.out)


async def _answer_syncs(post: Post, stopping: asyncio.Event) -> None:
    """Carries out held syncs that somebody has approved or discarded."""
    while not stopping.is_set():
        try:
            await carry_out_approved(post.engine, post.keyring)
        except Exception as error:  # what is answered stays answered
            log.error("syncs.trouble", error=type(error).__name__)
        await _pause(ANSWERS, stopping)


async def _sync_by_night(settings: Settings, post: Post, stopping: asyncio.Event) -> None:
    """Carries out the syncs that schedules and people ask for; tells an operator's alarms how they stand."""
    allowed = Allowed.parse(settings.allow_networks, sandbox=settings.sandbox)
    night, told = Night(post.engine, post.keyring, allowed), 0.0
    with _metrics(settings):
        while not stopping.is_set():
            try:
                await night.turn()
                if settings.metrics_port is not None and time.monotonic() - told >= STANDING:
                    await read_standing(post.engine)
                    told = time.monotonic()
            except Exception as error:  # what is due stays due
                log.error("syncs.trouble", error=type(error).__name__)
            await _pause(ANSWERS, stopping)
        await night.land()


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


async def _settle_weeks(post: Post, stopping: asyncio.Event) -> None:
    """Judges again what was judged before its cohort's week was in, and what new rules are to judge."""
    while not stopping.is_set():
        try:
            settled = await settle_due(post.engine, post.keyring)
        except Exception as error:  # what is due stays due
            log.error("settling.trouble", error=type(error).__name__)
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
    _log_json()
    settings = Settings()
    try:
        asyncio.run(_checked(settings))
    except (UnfitServer, KeyFault, ValueError) as error:
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


def _log_json() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ]
    )


if __name__ == "__main__":
    main()
