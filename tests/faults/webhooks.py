"""Runs seeded schedules of faults during webhooks and reads of the feed, and checks the outcome of each.

The checks use only the receiver's log and the committed rows:

* Every committed event was acknowledged, and no event of a rolled-back transaction arrived.
* Events with the same id have the same bytes. Repeats are counted and limited.
* Every acknowledged request was signed with a secret that was valid at that time.
* The feed has the same events, and no event reached another district.
"""

import asyncio
import random
import signal
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from sqlalchemy import text

from app.access.permission import Can
from app.access.service import NewClient, register_client
from app.access.work import Work, needs
from app.core.address import Allowed
from app.core.ids import format_id
from app.core.page import keyset
from app.events.catalogue import CONCERN_RAISED
from app.events.feed import events_after
from app.webhooks import service
from app.webhooks.deliveries import redeliver
from app.webhooks.models import WebhookEndpoint
from app.worker import drain
from tests.faults.machine import PATIENCE, Machine, Process
from tests.faults.receiver import QUICK, SLOW, Receiver
from tests.processes import TRUSTS_NOBODY
from tests.rooms.webhook_town import end_leases, lay, make_due
from tests.town import Town, found_town

POINTS = ("webhooks.claimed", "webhooks.attempt", "webhooks.recorded")
STEPS = 3
ENDINGS = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
SKEWS = ("-600", "600")  # seconds
SANDBOX = Allowed(sandbox=True)
BEFORE = datetime(2000, 1, 1, tzinfo=UTC)
MAX_ROUNDS = 40  # turns of the last worker before something is wrong


class RolledBack(Exception):
    """Raised to roll back a transaction after it has recorded its event."""


@dataclass
class Outcome:
    """The outcome of a schedule: its steps, its events and its counts."""

    seed: int
    steps: list[str] = field(default_factory=list)
    committed: set[str] = field(default_factory=set)
    rolled_back: set[str] = field(default_factory=set)
    requests: int = 0
    repeats: int = 0
    most_repeats: int = 0
    replayed: int = 0


@dataclass
class Schedule:
    """A schedule of random faults that is run on two districts with an endpoint each."""

    machine: Machine
    receiver: Receiver
    north: Town
    south: Town
    endpoint: WebhookEndpoint
    dice: random.Random
    outcome: Outcome
    paths: list[str]
    deaths: int = 0

    async def commit(self) -> None:
        """Commits some events, and rolls back one."""
        async with self.north.unit() as work:
            self.outcome.committed |= {
                format_id("event", lay(work, self.north)) for _ in range(self.dice.randint(1, 12))
            }
        try:
            async with self.north.unit() as work:
                self.outcome.rolled_back.add(format_id("event", lay(work, self.north)))
                await work.finish()
                raise RolledBack
        except RolledBack:
            return

    async def worker_is_killed(self) -> None:
        """Kills a worker that has claimed a delivery, that tries to send it, or that has recorded the result."""
        await self._killed_at(self.machine.start("app.worker"), self.dice.choice(POINTS))

    async def two_workers(self) -> None:
        """Runs two workers at the same time and kills both."""
        first, second = self.machine.start("app.worker"), self.machine.start("app.worker")
        point = self.dice.choice(POINTS)
        looking = [asyncio.create_task(one.until(point)) for one in (first, second)]
        await asyncio.wait(looking, return_when=asyncio.FIRST_COMPLETED)
        second.kill()
        self.deaths += 1
        await self._kill(first)
        await asyncio.gather(*looking, return_exceptions=True)

    async def clock_is_wrong(self) -> None:
        """Runs a worker whose clock is ten minutes off, and kills it after it has sent."""
        worker = self.machine.start("tests.faults.skewed_worker", self.dice.choice(SKEWS))
        await self._killed_at(worker, "webhooks.recorded")

    async def api_is_killed(self) -> None:
        """Kills the api just after a commit, so that the caller gets no answer although the event exists."""
        async with self.north.house() as work:
            client = await register_client(work, NewClient("faults", ("concern:raise", "concern:read")))
        api, address = await self.machine.serve()
        async with httpx.AsyncClient(
            base_url=address, trust_env=False, verify=TRUSTS_NOBODY, timeout=PATIENCE
        ) as caller:
            form = {"grant_type": "client_credentials"}
            by = (format_id("client", client.client_id), client.secret)
            token = await caller.post("/oauth/token", data=form, auth=by)
            bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
            amy = format_id("student", self.north.students["amy"])
            new = {"student": amy, "area": "ela.fluency", "description": "Reads slowly."}
            asking = asyncio.create_task(caller.post("/v1/concerns", json=new, headers=bearer))
            await api.until("events.committed")
            api.kill()
            await asyncio.gather(asking, return_exceptions=True)
        await self._time_goes_by("aimline api")

    async def server_is_restarted(self) -> None:
        """Restarts PostgreSQL while a worker is working."""
        worker = self.machine.start("app.worker")
        await worker.until(self.dice.choice(POINTS))
        await self.machine.restart_server(self.dice.choice(ENDINGS))
        self.deaths += 1  # what was sent and could not be recorded is sent again, as after a worker's death
        await self.commit()
        await self._make_all_due()
        await self._killed_at(worker, "webhooks.recorded")

    async def lease_ends_in_mid_send(self) -> None:
        """Makes a receiver send no answer until the lease ends, so that another worker claims the delivery."""
        self.receiver.behaviours[self.paths[-1]].appendleft("silent")
        self.receiver.arrived.clear()
        worker = self.machine.start("app.worker")
        await worker.until("webhooks.claimed")
        await asyncio.wait_for(self.receiver.arrived.wait(), PATIENCE)
        await self._make_all_due()
        await drain(self.machine.settings, {self.north.district_id})
        self.deaths += 1  # its delivery was sent twice, as by a worker that died
        await self._kill(worker)

    async def secret_changes(self) -> None:
        """Changes the secret of an endpoint while deliveries are retried. The old secret ends at once or stays valid
        for a while.
        """
        overlap = self.dice.choice((service.OVERLAP, timedelta(0)))
        async with self.north.unit() as work:
            _, secret = await service.rotate_secret(work, self.endpoint.id, overlap)
        assert secret is not None
        keeps = self.receiver.secrets[self.paths[-1]] if overlap else []
        self.receiver.secrets[self.paths[-1]] = [secret, *keeps]

    async def address_changes(self) -> None:
        """Changes the endpoint's address during retries; a running delivery may still go to the old one."""
        new = f"{self.paths[0]}-{len(self.paths)}"
        self.receiver.secrets[new] = self.receiver.secrets[self.paths[-1]]
        self.receiver.behaviours[new] = self.receiver.behaviours[self.paths[-1]]
        async with self.north.house() as work:
            await _move(work, self.endpoint.id, self.receiver.url(new))
        self.paths.append(new)

    async def _killed_at(self, worker: Process, point: str) -> None:
        """Waits until the worker reaches `point`, kills it, and makes all waiting deliveries due."""
        await worker.until(point)
        await self._kill(worker)

    async def _kill(self, worker: Process) -> None:
        worker.kill()
        self.deaths += 1
        await self._time_goes_by("aimline worker", "aimline worker jobs")

    async def _time_goes_by(self, *names: str) -> None:
        # The server may still commit what a killed process sent last; then its sessions are gone.
        await self.machine.sessions_end(*names)
        await self._make_all_due()

    async def _make_all_due(self) -> None:
        await end_leases(self.north)
        await make_due(self.north)

    async def settle(self) -> None:
        """Ends all faults and waits until everything is sent; failed deliveries are replayed."""
        for _ in range(MAX_ROUNDS):
            await self._make_all_due()
            if await drain(self.machine.settings, {self.north.district_id, self.south.district_id}):
                continue
            async with self.north.unit() as work:
                replayed = await redeliver.replay_failed(work, self.endpoint.id, BEFORE)
            if not replayed:
                return
            self.outcome.replayed += replayed
        raise AssertionError(f"seed {self.outcome.seed}: deliveries are still due.")

    async def judge(self) -> None:
        """Checks every invariant of the schedule; raises `AssertionError` with the seed."""
        outcome, where = self.outcome, f"seed {self.outcome.seed}: {', '.join(self.outcome.steps)}"
        rows = await _committed(self.north)
        assert outcome.committed <= rows, where
        came = [one for one in self.receiver.came if one.path in self.paths]
        acknowledged = {one.webhook_id for one in came if one.acknowledged}
        assert acknowledged == rows, f"{where}: lost {len(rows - acknowledged)}, phantom {len(acknowledged - rows)}"
        assert not {one.webhook_id for one in came} & outcome.rolled_back, f"{where}: a rolled-back event came"
        assert {one.webhook_id for one in came} <= rows, f"{where}: an event that is not there came"
        bodies: dict[str, set[bytes]] = {}
        for one in came:
            bodies.setdefault(one.webhook_id, set()).add(one.body)
        assert all(len(some) == 1 for some in bodies.values()), f"{where}: other bytes under the same id"
        times = Counter(one.webhook_id for one in came if one.acknowledged)
        outcome.requests, outcome.repeats = len(came), sum(times.values()) - len(times)
        outcome.most_repeats = max(times.values(), default=1) - 1
        assert outcome.most_repeats <= self.deaths, f"{where}: acknowledged {outcome.most_repeats} times too often"
        assert not [one for one in self.receiver.came if one.path == "/south"], f"{where}: south was told"
        assert await _feed(self.north) == rows, f"{where}: the feed is another set"


FAULTS: dict[str, Callable[[Schedule], Awaitable[None]]] = {
    "worker killed": Schedule.worker_is_killed,
    "two workers": Schedule.two_workers,
    "clock wrong": Schedule.clock_is_wrong,
    "api killed": Schedule.api_is_killed,
    "server restarted": Schedule.server_is_restarted,
    "lease over": Schedule.lease_ends_in_mid_send,
    "secret changed": Schedule.secret_changes,
    "address changed": Schedule.address_changes,
}


async def play(machine: Machine, seed: int, *, faults: int = STEPS, slow: bool = True) -> Outcome:
    """Runs a random schedule of `faults` faults, which depends only on `seed`, and checks the outcome.

    If `slow` is False, faults are left out if they make a sender wait for its time limit.
    """
    dice = random.Random(seed)
    kinds = [name for name in FAULTS if slow or name != "lease over"]
    # Each seed has a fault of its own first, so that few seeds show every kind.
    steps = [kinds[seed % len(kinds)], *dice.choices(kinds, k=faults - 1)]
    async with Receiver() as receiver:
        north = await found_town("north", machine.engine, machine.worker_engine, machine.settings)
        south = await found_town("south", machine.engine, machine.worker_engine, machine.settings)
        endpoint, secret = await _register(north, receiver.url("/north"))
        _, other = await _register(south, receiver.url("/south"))
        receiver.secrets["/north"], receiver.secrets["/south"] = [secret], [other]
        bad = dice.choices(QUICK + (SLOW if slow and dice.random() < 0.2 else ()), k=dice.randint(0, 4))
        receiver.behaviours["/north"] = deque(bad)
        outcome = Outcome(seed)
        schedule = Schedule(machine, receiver, north, south, endpoint, dice, outcome, ["/north"])
        try:
            for step in steps:
                await schedule.commit()
                outcome.steps.append(step)
                await FAULTS[step](schedule)
            await schedule.commit()
            await schedule.settle()
            await schedule.judge()
        finally:
            machine.end_all()
    return outcome


async def _register(town: Town, url: str) -> tuple[WebhookEndpoint, str]:
    async with town.unit() as work:
        new = service.NewEndpoint(url, (CONCERN_RAISED.name,))
        endpoint, secret = await service.register_endpoint(work, new, SANDBOX)
    assert secret is not None
    return endpoint, secret


async def _committed(town: Town) -> set[str]:
    async with town.house() as work:
        return {format_id("event", UUID(str(event_id))) for event_id in await _ids(work)}


@needs(Can.DELIVER_WEBHOOKS)
async def _ids(work: Work) -> list[UUID]:
    parameters = {"district": work.district_id, "type": CONCERN_RAISED.name}
    rows = await work.db.scalars(
        text("SELECT id FROM event WHERE district_id = :district AND type = :type"), parameters
    )
    return list(rows)


async def _feed(town: Town) -> set[str]:
    """Returns the ids of the feed's events about concerns, read page by page as a client does."""
    event_ids: set[str] = set()
    after: str | None = None
    while True:
        async with town.unit() as work:
            page = await events_after(work, keyset(town.district_id, "events", {}, after, 50), [CONCERN_RAISED.name])
        event_ids |= {format_id("event", event.id) for event in page.rows}
        if not page.rows:
            return event_ids
        after = page.next


@needs(Can.DELIVER_WEBHOOKS)
async def _move(work: Work, endpoint_id: UUID, url: str) -> None:
    parameters = {"district": work.district_id, "endpoint": endpoint_id, "url": url}
    sql = "UPDATE webhook_endpoint SET url = :url WHERE district_id = :district AND id = :endpoint"
    await work.db.execute(text(sql), parameters)
