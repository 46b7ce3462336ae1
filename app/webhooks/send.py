"""Owns the POST to a receiver. Never follows a redirect, reads the environment, keeps a cookie or trusts a name.

The address is checked where the socket is made (`core/outbound.py`), so what was checked is what is connected to.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import aiohttp

from app.core.address import Allowed, validate_url
from app.core.errors import Invalid
from app.core.outbound import AddressRefused, checked_session, is_private_answer

TIMEOUT = 15.0  # seconds, for everything: a receiver that sends a byte a second is not waited for
LONGEST_ANSWER = 4096  # bytes that are read of an answer
KEPT_OPEN = 4.0  # seconds: less than receivers keep their end, or a POST could meet a closing connection
HEADERS = {
    "content-type": "application/json",
    "user-agent": "Aimline-Webhooks/1",
    "accept-encoding": "identity",
}
NO_LIMIT = aiohttp.ClientTimeout(total=None)  # ours is around all of it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a POST: the status, or the name of the failure; how long it took; what the receiver said.

    `answer` is how its body begins, `retry_after` the header of that name, both as they came. `private` says that it
    came from a private network, whose services an endpoint's owner may not read through us.
    """

    status: int | None
    failure: str | None
    milliseconds: int
    answer: str | None = None
    retry_after: str | None = None
    private: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str
    retry_after: str | None
    private: bool


@lru_cache(maxsize=1000)
def _checked(url: str, allowed: Allowed) -> str:
    """What a URL says is the same each time; where it leads is looked at when it is connected to."""
    return validate_url(url, allowed)


class Sender:
    """One session for all receivers. Opened with the first POST, in its event loop; closed with the process.

    Plain aiohttp: half of what a POST costs through httpx goes into cookies, redirects and a login, which must not be
    here, and into copying headers.
    """

    def __init__(self, allowed: Allowed, *, timeout: float = TIMEOUT) -> None:
        self._allowed, self._timeout = allowed, timeout
        self._web: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Posts JSON; never raises for what a receiver or the network does."""
        began = time.monotonic()
        answer: _Answer | None = None
        failure: str | None = None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._post(_checked(url, self._allowed), body, headers)
        except Invalid:
            failure = "address_refused"
        except (OSError, aiohttp.ClientError, ValueError) as error:
            failure = _name(error)
        took = round((time.monotonic() - began) * 1000)
        if answer is None:
            return Outcome(None, failure, took)
        return Outcome(answer.status, None, took, answer.text, answer.retry_after, answer.private)

    async def close(self) -> None:
        """Closes every connection."""
        if self._web is not None:
            await self._web.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> _Answer:
        if self._web is None:
            self._web = checked_session(self._allowed, KEPT_OPEN)
        asked = self._web.post(
            url,
            data=body,
            headers={**HEADERS, **headers},
            allow_redirects=False,
            auto_decompress=False,
            timeout=NO_LIMIT,
        )
        async with asked as answer:
            said = await _read(answer)
            private = is_private_answer(answer, self._allowed)
            return _Answer(answer.status, said, answer.headers.get("retry-after"), private)


async def _read(answer: aiohttp.ClientResponse) -> str:
    """How an answer begins."""
    read = bytearray()
    # The status is what counts: an answer that breaks off after it was still an answer.
    with suppress(aiohttp.ClientError):
        while len(read) < LONGEST_ANSWER and (part := await answer.content.readany()):
            read += part
    return _storable(bytes(read[:LONGEST_ANSWER])) if read else ""


def _storable(answer: bytes) -> str:
    """A text that PostgreSQL can keep, whatever the receiver sent."""
    return answer.decode("utf-8", "replace").replace("\x00", "\ufffd")


def _name(error: BaseException) -> str:
    """A stable name for a failure. Never its text, which may hold what a receiver sent."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for kinds, name in _NAMES:
        if any(isinstance(found, kinds) for found in causes):
            return name
    return "broken"


_NAMES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((AddressRefused,), "address_refused"),
    ((TimeoutError,), "timeout"),
    ((aiohttp.ClientConnectorDNSError, socket.gaierror), "name_unknown"),
    ((aiohttp.ClientSSLError, ssl.SSLError), "tls"),
    ((ConnectionRefusedError,), "refused"),
    ((aiohttp.ClientConnectorError,), "unreachable"),
    ((ConnectionResetError, aiohttp.ServerDisconnectedError), "reset"),
)
