"""Shared parts of the webhook tests: a receiver process, events to commit, and the log as callers read it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from sqlalchemy import text

from app.access.permission import Can
from app.access.principal import Principal
from app.access.work import Work, needs
from app.core.address import Allowed
from app.core.ids import new_id
from app.core.page import Page, keyset
from app.events.catalogue import CONCERN_RAISED, EventType, NewEvent
from app.events.models import Event
from app.events.outbox import record
from app.settings import Settings
from app.webhooks.models import WebhookEndpoint
from app.webhooks.queries import LoggedDelivery, deliveries
from app.webhooks.service import NewEndpoint, register_endpoint
from app.worker import drain
from tests.processes import TRUSTS_NOBODY, environment
from tests.town import Town

SANDBOX = Allowed(sandbox=True)


@dataclass
class Receiver:
    """A webhook receiver: its address, and the file from which it reads the secrets."""

    address: str
    secrets: Path

    def at(self, endpoint: WebhookEndpoint) -> list[dict[str, Any]]:
        """Returns the requests that arrived for an endpoint, in order."""
        came: list[dict[str, Any]] = httpx.get(f"{self.address}received", trust_env=False, verify=TRUSTS_NOBODY).json()
        return [one for one in came if endpoint.url.endswith(one["path"])]

    async def news(self, count: int) -> None:
        """Waits until more than `count` requests have arrived."""
        async with httpx.AsyncClient(trust_env=False, verify=TRUSTS_NOBODY, timeout=60) as client:
            parameters = {"after": count, "wait": 30}
            assert (await client.get(f"{self.address}received", params=parameters)).json()

    def count(self) -> int:
        """Returns the number of requests so far."""
        return len(httpx.get(f"{self.address}received", trust_env=False, verify=TRUSTS_NOBODY).json())


@contextmanager
def receiving(folder: Path, *options: str) -> Iterator[Receiver]:
    """Runs `app.sandbox.receiver` with these options; it ends with the block."""
    secrets = folder / "secrets"
    command = [sys.executable, "-m", "app.sandbox.receiver", "--secret-file", str(secrets), "--until-stdin-closes"]
    with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Receiver(process.stdout.readline().strip(), secrets)
        process.stdin.close()


async def register(
    town: Town,
    receiver: Receiver,
    *,
    types: Sequence[str] = (CONCERN_RAISED.name,),
    principal: Principal | None = None,
    **more: Any,
) -> WebhookEndpoint:
    """Registers an endpoint with a path of the receiver, and gives the receiver its secret."""
    new = NewEndpoint(f"{receiver.address}{new_id().hex}", tuple(types), **more)
    async with town.unit(principal) as work:
        made, secret = await register_endpoint(work, new, SANDBOX)
    with receiver.secrets.open("a") as lines:
        lines.write(f"{secret}\n")
    return made


async def happen(
    town: Town,
    *,
    student: str | None = "amy",
    school: int = 0,
    type_: EventType = CONCERN_RAISED,
    secured_area: str | None = None,
) -> UUID:
    """Commits an event about a student of a school; returns the event's id."""
    async with town.unit() as work:
        event_id = lay(work, town, student=student, school=school, type_=type_, secured_area=secured_area)
    return event_id


def lay(
    work: Work,
    town: Town,
    *,
    student: str | None = "amy",
    school: int = 0,
    type_: EventType = CONCERN_RAISED,
    secured_area: str | None = None,
) -> UUID:
    """Records an event in this unit of work, and returns its id."""
    about = town.students[student] if student else None
    happened = NewEvent(
        type=type_,
        subject_id=new_id(),
        subject_version=1,
        ids={"student": about} if about else {},
        student_id=about,
        school_ids=(town.schools[school],) if about else (),
        secured_area=secured_area,
    )
    record(work, happened)
    event_id: UUID = work.pending_events[-1][0]
    return event_id


async def drained(town: Town) -> int:
    """Sends all due deliveries of the district, and returns the number of attempts."""
    return await drain(town.settings, {town.district_id})


async def age(town: Town, event_id: UUID, by: timedelta) -> None:
    """Makes an event look as if it had happened earlier by the duration `by`."""
    owner = await asyncpg.connect(town.settings.url_of("owner"))
    try:
        statement = "UPDATE event SET at = at - $3::interval WHERE district_id = $1 AND id = $2"
        await owner.execute(statement, town.district_id, event_id, by)
    finally:
        await owner.close()


def ids_of(page: Page[Event]) -> list[UUID]:
    """Returns the ids of a page's events, in the order of the page."""
    return [event.id for event in page.rows]


async def log_of(town: Town, endpoint: WebhookEndpoint) -> list[LoggedDelivery]:
    """Returns the deliveries of an endpoint, oldest first, as a client of the whole district reads them."""
    async with town.unit() as work:
        page = await deliveries(work, endpoint.id, keyset(town.district_id, "deliveries", {}, None, 200))
    return list(reversed(page.rows))


@needs(Can.DELIVER_WEBHOOKS)
async def _run(work: Work, statement: str) -> None:
    await work.db.execute(text(statement), {"district": work.district_id})


async def make_due(town: Town) -> None:
    """Sets the next attempt of every delivery to now, as if time had passed."""
    async with town.house() as work:
        await _run(work, "UPDATE webhook_delivery SET due = now() WHERE district_id = :district")


async def end_leases(town: Town) -> None:
    """Ends the leases of all deliveries, as if time had passed."""
    async with town.house() as work:
        await _run(
            work,
            "UPDATE webhook_delivery SET leased_until = now() WHERE district_id = :district AND leased_until > now()",
        )


def start_worker(settings: Settings, **others: str) -> subprocess.Popen[str]:
    """Starts the worker as a process with these settings."""
    return subprocess.Popen(
        [sys.executable, "-m", "app.worker"],
        env=environment(settings, **others),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def sessions_end(settings: Settings) -> None:
    """Waits until PostgreSQL has ended every database session of a killed worker.

    A session that was idle for five seconds is ignored, because it belongs to the worker of another test.
    """
    connection = await asyncpg.connect(settings.url_of("worker"))
    try:
        while await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'aimline worker%' "
            "AND NOT (state = 'idle' AND state_change < now() - interval '5 seconds')"
        ):
            await connection.execute("SELECT pg_sleep(0.02)")
    finally:
        await connection.close()
