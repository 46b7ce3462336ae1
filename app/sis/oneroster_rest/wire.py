"""Sends one request to a source, with limits, concurrency, waits and retries. Does not deal with pages.

No text of a response body is reported, because the text may contain a name.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from app.core.errors import Misuse
from app.core.outbound import (
    NetworkFault,
    checked_session,
    network_fault_of,
    parse_http_date,
    parse_retry_after,
)
from app.sis.oneroster_rest.connection import SETTING, Connection, RetryPolicy
from app.sis.port import CollectionBusy, CollectionRefused, SourceRefused

AGENT: Final = "Aimline-OneRoster/1"
# The maximum number of bytes of one unpacked response; ten may be in memory, and each grows when parsed.
MAX_PAGE_BYTES: Final = 32 << 20
KEPT_OPEN: Final = 15.0
CONNECTING: Final = 20.0
WAITS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
CALM: Final = 50  # The number of responses without a 429 after which the concurrency is raised by one again.
BROKEN = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
Headers = Callable[[], Awaitable[Mapping[str, str]]]
NO_SUCH_HOST = "has a host name that is not known"
CHECK_HOST = "Check its addresses: `aimline sis show` lists them."
ASK_LATER = (
    "Try again later; if that does not help, set a lower --page-size or --concurrency of the source, or ask its vendor."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: its status, its headers keyed by lower-case name, and its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """The connections to one source while it is read. At most `concurrency` requests run at the same time.

    After a 429 the concurrency is lowered by one, and no request is sent before the time that the source stated.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection, self._policy = connection, connection.patience
        self.requests = 0
        self._open = self._most = max(1, connection.concurrency)
        self._gate = asyncio.Semaphore(self._most)
        self._withheld, self._calm, self._quiet_until = 0, 0, 0.0
        self._web: aiohttp.ClientSession | None = None
        self.as_of: datetime | None = None  # The time of the first page by the source's clock.

    async def __aenter__(self) -> Self:
        self._web = checked_session(self.connection.allowed, KEPT_OPEN)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._web is not None:
            await self._web.close()

    async def send(
        self, method: str, url: str, headers: Headers, body: bytes | None = None, policy: RetryPolicy | None = None
    ) -> Answer:
        """Sends a request and returns the response, whatever its status.

        Retries while the source is busy or the network fails. `headers` is called for each try, because a signature is
        valid only once. `policy` replaces the source's retry policy, except after a 429. When the limits of the policy
        are reached, raises `CollectionRefused`. This error is about one collection only, because the source may still
        send others.
        """
        tries, waited = 0, 0.0
        kind: type[CollectionRefused] = CollectionRefused
        while True:
            tried_headers, tries, retry_after = await headers(), tries + 1, None
            await self._enter()
            began = time.monotonic()
            try:
                answer = await self._once(method, url, tried_headers, body)
                if answer.status not in WAITS:
                    return answer
                kind = CollectionBusy if answer.status == 429 else CollectionRefused
                why, retry_after = f"answers {answer.status}", parse_retry_after(answer.headers.get("retry-after"))
                if answer.status == 429:
                    self._slow_down(retry_after)
            except BROKEN as error:
                why, kind = _failure(error), CollectionRefused
            finally:
                self._leave()
            waited += time.monotonic() - began
            limits = self._policy if policy is None or kind is CollectionBusy else policy
            wait = random.uniform(0.5, 1) * min(limits.first * 2**tries, limits.longest)  # jitter
            if retry_after:
                wait = retry_after + random.uniform(0, 0.1) * min(retry_after, 10)  # jitter
            if tries >= limits.tries or waited + wait > limits.total:
                delay = f" and asks for a delay of {retry_after:,.0f} s" if retry_after else ""
                often = "once" if tries == 1 else f"{tries} times"
                advice = CHECK_HOST if why == NO_SUCH_HOST else ASK_LATER
                raise kind(f"The source {why} at {_place(url)}{delay}; it was asked {often}. {advice}")
            waited += wait
            await asyncio.sleep(wait)

    async def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self._web is None:
            raise Misuse("The wire is not open.")
        self.requests += 1
        silence, whole = self._policy.answer, self._policy.whole
        timeout = aiohttp.ClientTimeout(total=whole, sock_connect=CONNECTING, sock_read=silence)
        async with self._web.request(
            method,
            URL(url, encoded=True),
            headers={"User-Agent": AGENT, "Accept": "application/json", **headers},
            data=body,
            allow_redirects=False,
            timeout=timeout,
        ) as response:
            if self.as_of is None and method == "GET":
                self.as_of = parse_http_date(response.headers.get("Date"))
            read, size = [], 0
            async for part in response.content.iter_any():
                read.append(part)
                size += len(part)
                if size > MAX_PAGE_BYTES:
                    raise CollectionRefused(
                        f"The source answers with over {MAX_PAGE_BYTES >> 20} MB in one page at {_place(url)}: set a "
                        f"lower page-size ({self.connection.page_size:,} now), or ask its vendor why it does not page."
                    )
            return Answer(
                response.status, {name.lower(): value for name, value in response.headers.items()}, b"".join(read)
            )

    async def _enter(self) -> None:
        await self._gate.acquire()
        try:
            await asyncio.sleep(max(0.0, self._quiet_until - time.monotonic()))
        except asyncio.CancelledError:  # a cancelled request must free its slot
            self._leave()
            raise

    def _leave(self) -> None:
        self._calm += 1
        if self._withheld:
            self._withheld -= 1
            return
        self._gate.release()
        if self._open < self._most and self._calm >= CALM:
            self._open, self._calm = self._open + 1, 0
            self._gate.release()

    def _slow_down(self, retry_after: float | None) -> None:
        self._calm = 0
        if self._open > 1:
            self._open -= 1
            self._withheld += 1
        if retry_after and retry_after <= self._policy.total:
            self._quiet_until = max(self._quiet_until, time.monotonic() + retry_after)


def _failure(error: BaseException) -> str:
    """Returns the end of a sentence "The source …" that describes a network error.

    Raises `SourceRefused` if a retry cannot help.
    """
    match network_fault_of(error):
        case NetworkFault.ADDRESS_REFUSED:
            raise SourceRefused(
                f"The source's address is not on the public Internet. An operator may allow its network: {SETTING}."
            ) from None
        case NetworkFault.TLS:
            raise SourceRefused("The source's certificate is not trusted: its vendor must correct it.") from None
        case NetworkFault.NAME_UNKNOWN:
            return NO_SUCH_HOST
        case NetworkFault.TIMEOUT:
            return "does not answer in time"
    return "cannot be reached or breaks the connection"


def _place(url: str) -> str:
    """Returns the path of a URL, without its query."""
    return urlsplit(url).path or "/"
