"""Downloads a file from an https address, within a size limit. After a temporary fault it tries again, a few times.

Never follows a redirect, and never checks the contents of the file.
"""

import asyncio
import random
from datetime import datetime
from typing import IO, Final

import aiohttp
import structlog

from app.core.address import Allowed, validate_url
from app.core.clock import now
from app.core.disk_space import is_full
from app.core.errors import Invalid
from app.core.outbound import (
    AddressRefused,
    NetworkFault,
    checked_session,
    network_fault_of,
    parse_http_date,
    parse_retry_after,
)
from app.sis.port import Progress, SourceRefused

TIMEOUT: Final = aiohttp.ClientTimeout(total=4 * 3600, sock_connect=30, sock_read=120)
WAITS: Final = (5.0, 20.0, 60.0)
"""The seconds before the second try of a download, before the third, and before the last."""
LONGEST_WAIT: Final = 300.0  # seconds that a source may ask for in `Retry-After`
TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
CHUNK: Final = 1 << 20
AGENT: Final = "Aimline-Sync/1"
log = structlog.get_logger()


class _TemporaryFault(SourceRefused):
    """Raised for a fault that may be gone soon. `wait` is the number of seconds that the source asks for."""

    wait = 0.0


async def download(
    url: str, allowed: Allowed, file: IO[bytes], progress: Progress, noun: str, most_bytes: int
) -> datetime:
    """Downloads a source's file to `file`, and returns the time of the response.

    The time is that of the source's clock, or of this machine's clock if the source sends no time. `noun` is the word
    for the file in messages. Raises `SourceRefused` with the reason if the file is larger than `most_bytes` bytes, or
    cannot be downloaded.
    """
    for wait in (*WAITS, None):
        try:
            return await _download_once(url, allowed, file, progress, noun, most_bytes)
        except _TemporaryFault as fault:
            if wait is None or fault.wait > LONGEST_WAIT:
                raise SourceRefused(fault.detail) from None
            log.info("sis.download_repeated", fault=fault.detail)
            await asyncio.sleep(max(wait, fault.wait) * random.uniform(1, 1.1))
    raise AssertionError("The last try returns or raises.")


async def _download_once(
    url: str, allowed: Allowed, file: IO[bytes], progress: Progress, noun: str, most_bytes: int
) -> datetime:
    file.seek(0)
    file.truncate()
    began, done = now(), 0
    try:
        checked = validate_url(url, allowed)
        async with checked_session(allowed, 1.0) as web:
            async with web.get(
                checked, headers={"User-Agent": AGENT}, allow_redirects=False, timeout=TIMEOUT
            ) as response:
                _check_status(response, noun)
                total = response.content_length or 0
                _check_size(total, most_bytes)
                async for chunk in response.content.iter_chunked(CHUNK):
                    done += len(chunk)
                    _check_size(done, most_bytes)
                    await asyncio.to_thread(file.write, chunk)
                    progress(f"downloading the {noun}", done, total)
                return parse_http_date(response.headers.get("Date")) or began
    except Invalid as error:
        details = " ".join(violation.detail for violation in error.violations)
        raise SourceRefused(f"The source's url cannot be used. {details}") from None
    except (AddressRefused, aiohttp.ClientError, TimeoutError, OSError) as error:
        if is_full(error):  # A full disk is not a fault of the source.
            raise
        reason, is_temporary = _reason(error)
        detail = f"The {noun} could not be fetched: {reason}"
        raise (_TemporaryFault if is_temporary else SourceRefused)(detail) from None


def _check_status(response: aiohttp.ClientResponse, noun: str) -> None:
    """Raises `SourceRefused` unless the response has the status 200. `noun` is the word for the file in the message."""
    status = response.status
    if 300 <= status < 400:
        raise SourceRefused(
            f"The source redirects the {noun} to another address, which is not followed. Set its URL to the new "
            "address."
        )
    if status in TEMPORARY:
        fault = _TemporaryFault(f"The source answers {status} instead of the {noun}. Try again later.")
        fault.wait = parse_retry_after(response.headers.get("Retry-After")) or 0.0
        raise fault
    if status in (401, 403):
        raise SourceRefused(
            f"The source answers {status} instead of the {noun}: it refuses us. Check its URL, and whether the "
            "signature in it has ended."
        )
    if status != 200:
        raise SourceRefused(f"The source answers {status} instead of the {noun}. Check its URL.")


def _check_size(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise SourceRefused(f"The source sends more than {most_bytes >> 30} GiB: no delivery is as large.")


def _reason(error: BaseException) -> tuple[str, bool]:
    """Returns why a download failed and what can be done about it, as the end of a sentence after a colon.

    Also returns whether the fault may be gone soon.
    """
    match network_fault_of(error):
        case NetworkFault.ADDRESS_REFUSED:
            allow = "An operator may allow its network: AIMLINE_SIS_ALLOW_NETWORKS."
            return f"its address is not on the public Internet. {allow}", False
        case NetworkFault.NAME_UNKNOWN:
            return "the host name in its URL is not known.", False
        case NetworkFault.TLS:
            return "the certificate of its server is not trusted, and must be corrected there.", False
        case NetworkFault.TIMEOUT:
            return "its server does not answer in time. Try again later.", True
    return f"its server cannot be reached, or breaks the connection ({type(error).__name__}). Try again later.", True
