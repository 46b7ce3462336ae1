"""Owns the connection to another machine whose address somebody gave us. Never reads the environment or keeps a cookie.

The address is checked where the socket is made, so what was checked is what is connected to: a name that resolves
anew in between changes nothing. A kept connection goes to an address that was checked when it was opened.
"""

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.resolver import ThreadedResolver

from app.core.address import Allowed, parse_address


class AddressRefused(OSError):
    """The name leads to an address that may not be reached."""


class PeerResponse(aiohttp.ClientResponse):
    """A response that knows the address it came from, also after its connection was given back."""

    peer: str | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Notes the address while the connection is this response's."""
        transport = connection.transport
        name = None if transport is None else transport.get_extra_info("peername")
        self.peer = name[0] if name else None
        return await super().start(connection)


class CheckedResolver(AbstractResolver):
    """Resolves a name once, and refuses it when any of its addresses is not to be reached."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of the name, each one checked."""
        found = await self._system.resolve(host, port, family)
        if not all(self._allowed.reaches(parse_address(address["host"])) for address in found):
            raise AddressRefused
        return found

    async def close(self) -> None:
        """Nothing is held."""


def checked_session(allowed: Allowed, kept_open: float) -> aiohttp.ClientSession:
    """A session whose every connection is checked; idle ones are kept for `kept_open` seconds.

    Made in the event loop that uses it. How many requests go at once is for its user to bound.
    """

    def checked_socket(target: Any) -> socket.socket:
        """A socket for this very address, or `AddressRefused`: the last look before the first packet."""
        family, kind, protocol, _, address = target
        if not allowed.reaches(parse_address(address[0])):
            raise AddressRefused
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    connector = aiohttp.TCPConnector(
        limit=0,
        resolver=CheckedResolver(allowed),
        use_dns_cache=False,
        keepalive_timeout=kept_open,
        socket_factory=checked_socket,
    )
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, response_class=PeerResponse
    )


def is_private_answer(answer: aiohttp.ClientResponse, allowed: Allowed) -> bool:
    """Whether an answer came from a private network that the operator allowed; yes, where the address is not known."""
    peer = answer.peer if isinstance(answer, PeerResponse) else None
    return peer is None or allowed.opens_private(parse_address(peer))
