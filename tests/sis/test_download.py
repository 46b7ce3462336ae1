"""Tests the download of a delivery from a source that is busy, breaks off, refuses, or sends far too much."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.core.address import Allowed
from app.sis.oneroster_csv import download as downloads
from app.sis.oneroster_csv.download import download
from app.sis.oneroster_csv.fetch import SCORES_CSV, open_url
from app.sis.port import SourceRefused

SANDBOX = Allowed(sandbox=True)
BODY = b"studentSourcedId,measure,date,value\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
BROKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n" + BODY * 2
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"a" * 512 + b"\r\n" + b"0\r\n\r\n"
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 53687091200\r\n\r\n"


def _status(code: int, header: str = "") -> bytes:
    return f"HTTP/1.1 {code} X\r\n{header}Content-Length: 0\r\n\r\n".encode()


@asynccontextmanager
async def _server(*answers: bytes, stays: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Runs a server that sends one of these answers on each connection, and repeats the last. With `stays`, it keeps
    each connection open. Yields its address and the received requests.
    """
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[min(len(requests), len(answers)) - 1])
        await writer.drain()
        if stays:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/scores.csv", requests


async def _download(url: str, most_bytes: int = 1000) -> bytes:
    with tempfile.TemporaryFile() as file:
        await download(url, SANDBOX, file, lambda _doing, _done, _of: None, "CSV file", most_bytes)
        file.seek(0)
        return file.read()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "WAITS", (0.01, 0.01, 0.01))


@pytest.mark.parametrize(
    "fault", [_status(503), _status(429, "Retry-After: 0\r\n"), _status(502), BROKEN, b""], ids=str
)
async def test_a_temporary_fault_does_not_fail_the_nightly_run(fault: bytes) -> None:
    """A source that is busy or breaks off is asked again, and nothing of the broken download is in the file."""
    async with _server(fault, fault, WHOLE) as (url, requests):
        assert await _download(url) == BODY
    assert len(requests) == 3


async def test_a_fault_that_stays_ends_after_four_tries() -> None:
    """A source that keeps answering 503 is asked four times. The error then names the last answer, and advises to try
    again later.
    """
    async with _server(_status(503)) as (url, requests):
        with pytest.raises(SourceRefused, match=r"answers 503 instead of the CSV file\. Try again later\."):
            await _download(url)
    assert len(requests) == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_status(404), "answers 404"),
        (_status(403), "refuses us"),
        (_status(302, "Location: http://127.0.0.1:1/\r\n"), "redirects"),
        (_status(503, "Retry-After: 86400\r\n"), "answers 503"),
    ],
)
async def test_what_another_try_cannot_help_is_tried_once(answer: bytes, words: str) -> None:
    """A download is tried only once if another attempt cannot help: the address is wrong, or the source asks for a wait
    of a day.
    """
    async with _server(answer) as (url, requests):
        with pytest.raises(SourceRefused, match=words):
            await _download(url)
    assert len(requests) == 1


@pytest.mark.parametrize("answer", [HUGE, CHUNKED], ids=["announced", "without a length"])
async def test_a_download_without_end_is_refused_as_soon_as_it_is_known(answer: bytes) -> None:
    """A download is refused as soon as it is known to be too large: before it begins if its size is announced,
    otherwise when it exceeds the limit.
    """
    async with _server(answer, stays=True) as (url, requests), asyncio.timeout(120):
        with pytest.raises(SourceRefused, match="no delivery is as large"):
            await _download(url, 300)
    assert len(requests) == 1


async def test_a_file_of_scores_has_a_smaller_limit_than_a_roster() -> None:
    """The download of a file of scores ends at a smaller limit than that of a roster, so that an endless page does not
    fill the disk.
    """
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n"
    async with _server(answer, stays=True) as (url, _), asyncio.timeout(120):
        with pytest.raises(SourceRefused, match="more than 1 GiB"):
            async with open_url(url, SANDBOX, lambda _doing, _done, _of: None, (), SCORES_CSV):
                pytest.fail("it was opened")
