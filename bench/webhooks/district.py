"""Provides a district with endpoints and a worker, for the benchmarks of webhooks."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.principal import Principal, system_principal
from app.access.work import unit
from app.cli.district import open_district
from app.core.address import Allowed
from app.core.ids import format_id, new_id
from app.events.catalogue import CATALOGUE, EventType, NewEvent
from app.events.outbox import record
from app.settings import Settings
from app.webhooks.service import NewEndpoint, register_endpoint

ENDPOINTS = 20
LOOPBACK = Allowed(sandbox=True)


@dataclass
class Bench:
    """A district for one benchmark, with one webhook endpoint for each event type in `types`."""

    settings: Settings
    engine: AsyncEngine
    district_id: UUID
    port: int
    types: list[EventType]

    @property
    def principal(self) -> Principal:
        """Returns the principal that commits the events."""
        return system_principal(self.district_id, "bench")

    async def commit_events(self, numbers: range) -> list[str]:
        """Commits one event for each number, in one transaction, and returns the events' ids.

        The event types take turns.
        """
        async with unit(self.engine, self.principal, self.settings.keyring, "bench") as work:
            event_ids = []
            for number in numbers:
                type_ = self.types[number % len(self.types)]
                ids = {kind: new_id() for kind in type_.ids if kind != type_.subject}
                event_ids.append(format_id("event", record(work, NewEvent(type_, new_id(), 1, ids))))
        return event_ids

    def take_arrivals(self) -> list[tuple[float, str]]:
        """Returns the deliveries that have arrived at the receiver since the last call, each with its time and webhook
        id.
        """
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/") as answer:
            return [(at, event) for at, event in json.load(answer)]


async def open_bench(settings: Settings, engine: AsyncEngine, port: int, slug: str) -> Bench:
    """Creates a district with one webhook endpoint for each event type."""
    district_id = await open_district(engine, settings.keyring, slug, slug, "UTC")
    event_types = [type_ for type_ in CATALOGUE.values() if not type_.name.startswith("endpoint.")]
    types = [event_types[number % len(event_types)] for number in range(min(ENDPOINTS, len(event_types)))]
    bench = Bench(settings, engine, district_id, port, types)
    async with unit(engine, bench.principal, settings.keyring, "bench") as work:
        for number, type_ in enumerate(types):
            await register_endpoint(work, NewEndpoint(f"http://127.0.0.1:{port}/{number}", (type_.name,)), LOOPBACK)
    return bench


@contextmanager
def receiving() -> Iterator[int]:
    """Runs the receiver in a separate process and yields its port."""
    with _process("bench.webhooks.receiver", {}) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def working(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the product's worker in a separate process and yields the process."""
    variables = {"DATABASE_URL": settings.database_url, "KEY": settings.key, "SANDBOX": "1"}
    with _process("app.worker", {f"AIMLINE_{name}": value for name, value in variables.items()}) as process:
        yield process


@contextmanager
def _process(module: str, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIMLINE_")}
    quiet = subprocess.DEVNULL if variables else subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", module], stdout=quiet, env={**inherited, **variables}) as process:
        try:
            yield process
        finally:
            process.terminate()
