"""Sends the POST request of a delivery. Follows no redirect, ignores proxy settings and keeps no cookies.

The address is checked where the socket is created (`core/outbound.py`), so that a connection is only made to the
address that was checked.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import aiohttp

from app.core.address import Allowed, validate_url
from app.core.errors import Invalid
from app.core.outbound import checked_session, is_private_answer, network_fault_of

TIMEOUT = 15.0  # Seconds for the whole request, so that a receiver that sends one byte per second is cut off.
MAX_RESPONSE_BYTES = 4096  # The number of bytes of a response body that are read.
# Seconds that an idle connection is kept. Receivers keep it longer, so that no POST meets one that is being closed.
KEPT_OPEN = 4.0
HEADERS = {
    "content-type": "application/json",
    "user-agent": "Aimline-Webhooks/1",
    "accept-encoding": "identity",
}
NO_LIMIT = aiohttp.ClientTimeout(total=None)  # The timeout in this module limits the whole request.


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a POST: the HTTP status or the name of the failure, the duration, and the receiver's response.

    * `answer` is the beginning of the response body, unchanged.
    * `retry_after` is the header of that name, unchanged.
    * `private` is true if the response came from a private network. The owner of an endpoint must not see such a
      response, because otherwise anybody could read from that network by registering an endpoint there.
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
def checked_url(url: str, allowed: Allowed) -> str:
    """Returns the URL in its standard form; raises an error for a URL that is not allowed.

    The result is cached. This is safe because the network address is checked again at each connection.
    """
    return validate_url(url, allowed)


class Sender:
    """Sends POST requests to all receivers, over one HTTP session.

    The session is opened in the event loop of the first POST, and closed when the process ends. It uses aiohttp
    directly, because half of the cost of a POST with httpx goes into cookies, redirects, authentication and copied
    headers, none of which is needed here.
    """

    def __init__(self, allowed: Allowed, *, timeout: float = TIMEOUT) -> None:
        self._allowed, self._timeout = allowed, timeout
        self._web: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Posts JSON to a receiver and returns the outcome.

        A failure of the receiver or of the network is returned as an outcome, and not raised as an error.
        """
        began = time.monotonic()
        answer: _Answer | None = None
        failure: str | None = None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._post(checked_url(url, self._allowed), body, headers)
        except Invalid:
            failure = "address_refused"
        except (OSError, aiohttp.ClientError, ValueError) as error:
            failure = network_fault_of(error)
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
        request = self._web.post(
            url,
            data=body,
            headers={**HEADERS, **headers},
            allow_redirects=False,
            auto_decompress=False,
            timeout=NO_LIMIT,
        )
        async with request as answer:
            response_text = await _read(answer)
            private = is_private_answer(answer, self._allowed)
            return _Answer(answer.status, response_text, answer.headers.get("retry-after"), private)


async def _read(response: aiohttp.ClientResponse) -> str:
    """Returns the beginning of a response's body."""
    received = bytearray()
    # Only the status matters, so a response counts even if its body breaks off.
    with suppress(aiohttp.ClientError):
        while len(received) < MAX_RESPONSE_BYTES and (part := await response.content.readany()):
            received += part
    return _storable(bytes(received[:MAX_RESPONSE_BYTES])) if received else ""


def _storable(answer: bytes) -> str:
    """Returns the response as a text that PostgreSQL can store, whatever bytes the receiver sent."""
    return answer.decode("utf-8", "replace").replace("\x00", "\ufffd")
