"""Opens HTTP connections to hosts whose addresses come from outside, such as a webhook's, and checks each address.

The address is checked where the socket is created. So the socket connects to the checked address, even if the name
resolves to another address a moment later. A reused connection keeps the address that was checked when it was
opened. Proxy settings are ignored and no cookies are kept.
"""

import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from aiohttp.resolver import ThreadedResolver

from app.core.address import Allowed, parse_address
from app.core.clock import now
from app.core.faults import causes_of


class AddressRefused(OSError):
    """Raised when a host name resolves to an address that is not allowed."""


class NetworkFault(StrEnum):
    """Why a request got no complete answer."""

    ADDRESS_REFUSED = "address_refused"
    TIMEOUT = "timeout"
    NAME_UNKNOWN = "name_unknown"
    TLS = "tls"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    BROKEN = "broken"


_KINDS: tuple[tuple[tuple[type[BaseException], ...], NetworkFault], ...] = (
    ((AddressRefused,), NetworkFault.ADDRESS_REFUSED),
    ((TimeoutError,), NetworkFault.TIMEOUT),
    ((aiohttp.ClientConnectorDNSError, socket.gaierror), NetworkFault.NAME_UNKNOWN),
    ((aiohttp.ClientSSLError, ssl.SSLError), NetworkFault.TLS),
    ((ConnectionRefusedError,), NetworkFault.REFUSED),
    ((aiohttp.ClientConnectorError,), NetworkFault.UNREACHABLE),
    ((ConnectionResetError, aiohttp.ServerDisconnectedError), NetworkFault.RESET),
)


def network_fault_of(error: BaseException) -> NetworkFault:
    """Returns the kind of a network error.

    The text of the error is not used, because it may contain data from the other machine.
    """
    causes = list(causes_of(error))
    causes += [cause.os_error for cause in causes if isinstance(cause, aiohttp.ClientConnectorError)]
    return next(
        (fault for kinds, fault in _KINDS if any(isinstance(cause, kinds) for cause in causes)), NetworkFault.BROKEN
    )


class PeerResponse(aiohttp.ClientResponse):
    """An HTTP response that keeps the address of its server after its connection was released."""

    peer: str | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Reads the response's head, and records the server's address while the response still has its connection."""
        transport = connection.transport
        name = None if transport is None else transport.get_extra_info("peername")
        self.peer = name[0] if name else None
        return await super().start(connection)


class CheckedResolver(AbstractResolver):
    """A DNS resolver that refuses a host name if any of its addresses is not allowed."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Returns all addresses of the host; raises `AddressRefused` if one of them is not allowed."""
        addresses = await self._system.resolve(host, port, family)
        if not all(self._allowed.reaches(parse_address(address["host"])) for address in addresses):
            raise AddressRefused
        return addresses

    async def close(self) -> None:
        """Does nothing; the resolver has no resources."""


def checked_session(allowed: Allowed, kept_open: float) -> aiohttp.ClientSession:
    """Returns an HTTP client session that checks the address of every connection.

    Idle connections are kept for `kept_open` seconds. The session must be created in the event loop that uses it. The
    caller limits the number of concurrent requests.
    """

    def checked_socket(target: Any) -> socket.socket:
        """Returns a socket for exactly this address, or raises `AddressRefused`.

        This is the last check before the first packet is sent.
        """
        family, kind, protocol, _, address = target
        if not allowed.reaches(parse_address(address[0])):
            raise AddressRefused
        new_socket = socket.socket(family, kind, protocol)
        new_socket.setblocking(False)
        return new_socket

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


def is_private_answer(response: aiohttp.ClientResponse, allowed: Allowed) -> bool:
    """Returns whether a response came from a private network that the operator allows.

    The result is also True if the address of the server is unknown.
    """
    peer = response.peer if isinstance(response, PeerResponse) else None
    return peer is None or allowed.opens_private(parse_address(peer))


def parse_http_date(header: str | None) -> datetime | None:
    """Returns the instant in a `Date` header (RFC 9110, 6.6.1), or the present time if the instant is in the future.

    Returns None if the header is missing or malformed. The next request asks for the changes since the returned
    instant. With an instant in the future, it would miss changes.
    """
    try:
        return min(parsedate_to_datetime(header).astimezone(UTC), now()) if header else None
    except (ValueError, OverflowError):
        return None


def parse_retry_after(header: str | None) -> float | None:
    """Returns the seconds in a `Retry-After` header (RFC 9110, 10.2.3), or None if it is malformed.

    The header has a number or a date.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now()).total_seconds())
    except (ValueError, TypeError):
        return None
