"""Manages the origins of web pages that may send requests with a client's tokens.

Each process has a copy of the whole list, and reads the list again when the copy is older than half a minute. Preflight
requests of unknown origins therefore cause no SQL statement. If the list cannot be read for a minute, no origin is
allowed.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import client_origins
from app.access.models import Client
from app.access.permission import Can
from app.access.service import client_of_district, client_with_access
from app.access.work import Work, needs
from app.core.errors import Invalid, Unavailable, Violation
from app.core.fault_report import describe_fault

FRESH, MAX_AGE, RETRY = 30.0, 60.0, 5.0
"""Three times in seconds for this process's copy of the list.

They are the age at which the list is read again, the age at which the copy is no longer used, and the wait after a
failed read.
"""
MAX_ORIGINS: Final = 20
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
HOST: Final = re.compile(r"(?=.{1,253}(?::|\Z))[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
log = structlog.get_logger()


@needs(Can.OPERATE)
async def set_origins(work: Work, client_id: UUID, origins: Sequence[str]) -> None:
    """Replaces the registered origins of a client of this district.

    Raises `NotFound` for an unknown client, and `Invalid` if a text is not an origin.
    """
    await client_with_access(work, client_id)
    refused = [origin for origin in origins if not is_origin(origin)]
    if refused or len(set(origins)) > MAX_ORIGINS:
        detail = (
            f"An origin is written as https://app.example.org, without a path and as the browser sends it; http only "
            f"for this machine itself. At most {MAX_ORIGINS} of them."
        )
        raise Invalid([Violation("/origins", "origin.malformed", detail)])
    await work.db.execute(update(Client).where(Client.client_id == client_id).values(origins=sorted(set(origins))))


@needs(Can.OPERATE)
async def origins_of(work: Work, client_id: UUID) -> tuple[str, ...]:
    """Returns the registered origins of a client of this district; raises `NotFound` for an unknown client."""
    client = await client_of_district(work, client_id)
    return tuple(await work.db.scalar(select(Client.origins).where(Client.client_id == client.client_id)) or ())


def is_origin(text: str) -> bool:
    """Returns whether a text is an origin as a browser sends it (RFC 6454 §6.2).

    The scheme must be https; http is allowed only for this machine, such as `http://localhost:3000`.
    """
    if not text.isascii() or len(text) > 300:
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    is_secure = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    is_plain = text == f"{parts.scheme}://{parts.netloc}" and HOST.fullmatch(host) is not None
    return is_secure and is_plain and port != DEFAULT_PORTS.get(parts.scheme)


class Origins:
    """The origins of web pages that clients have registered, as this process last read them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._clients: dict[str, frozenset[UUID]] = {}
        self._read_at: float | None = None
        self._try_at = 0.0
        self._reading = asyncio.Lock()

    async def allow(self, origin: str, client_id: UUID | None) -> bool:
        """Returns whether this client has registered the origin.

        If `client_id` is None, returns whether any client has registered the origin.
        Raises `Unavailable` if the list cannot be read.
        """
        if time.monotonic() >= self._try_at:
            await self._read()
        if self._read_at is None or time.monotonic() > self._read_at + MAX_AGE:
            raise Unavailable("The list of registered origins cannot be read.")
        clients = self._clients.get(origin, frozenset())
        return bool(clients) if client_id is None else client_id in clients

    def forget(self) -> None:
        """Makes the next check read the registered origins from the database again."""
        self._try_at = 0.0

    async def _read(self) -> None:
        async with self._reading:
            started_at = time.monotonic()
            if started_at < self._try_at:
                return  # Another request has read the list meanwhile.
            self._try_at = started_at + RETRY
            try:
                async with asyncio.timeout(RETRY):
                    origins = await client_origins(self._engine)
            except Exception as error:  # after any error: the list becomes outdated, and then no origin is allowed
                log.warning("origins_not_read", **describe_fault(error))
                return
            clients: dict[str, set[UUID]] = {}
            for client_id, registered in origins.items():
                for origin in registered:
                    clients.setdefault(origin, set()).add(client_id)
            self._clients = {origin: frozenset(ids) for origin, ids in clients.items()}
            self._read_at, self._try_at = started_at, started_at + FRESH
