"""Tests sources that send data without end, in different ways: each is refused with a clear reason.

The tests use real sockets and small servers.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.core.address import Allowed
from app.sis.oneroster_rest.connection import RetryPolicy
from app.sis.port import SourceRefused
from app.sis.runs.pull import run_source
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings
from tests.sis.plain_server import Reply, SisRequest, answering
from tests.sis.rest_source import HASTY, connect, pulled, quiet
from tests.sis.roster_zip import fingerprint
from tests.town import Town

TOKEN = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600}
ROSTER = {"orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"}


def with_users(users: Callable[[SisRequest], Reply]) -> Callable[[SisRequest], Reply]:
    """Returns a source that has only users, which the function `users` sends."""

    def answer(request: SisRequest) -> Reply:
        if request.name == "token":
            return Reply(body=TOKEN)
        if request.name == "users":
            return users(request)
        return Reply(body={request.name: []}) if request.name in ROSTER else Reply(404)

    return answer


def in_a_circle(request: SisRequest) -> Reply:
    """Returns the first page, then a page that leads to another one, which leads back."""
    after = {"": "b", "b": "c", "c": "b"}
    position = request.query.get("cursor", "")
    return Reply(
        body={"users": [{"sourcedId": f"u-{position}"}]}, headers={"Link": f'<?cursor={after[position]}>; rel="next"'}
    )


def without_an_end(request: SisRequest) -> Reply:
    """Answers with users from any offset on, without end."""
    first = int(request.query["offset"])
    return Reply(body={"users": [{"sourcedId": f"u{first + number}"} for number in range(int(request.query["limit"]))]})


async def test_links_in_a_circle_are_refused() -> None:
    """Links that lead in a circle are refused at the second visit."""
    with answering(with_users(in_a_circle)) as (address, requests):
        with pytest.raises(SourceRefused, match="go in a circle"):
            await asyncio.wait_for(pulled(connect(address, "1.1")), 120)
    assert len([one for one in requests if one.name == "users"]) == 3


async def test_ever_new_links_to_the_same_pages_are_refused() -> None:
    """New links that always lead to the same pages are refused."""
    number = itertools.count()

    def users(_: SisRequest) -> Reply:
        at = next(number)
        rows = [{"sourcedId": f"u{at and 1 + at % 2}-{row}"} for row in range(10)]
        return Reply(body={"users": rows}, headers={"Link": f'<?cursor=x{at}>; rel="next"'})

    with answering(with_users(users)) as (address, requests):
        with pytest.raises(SourceRefused, match="go in a circle"):
            await asyncio.wait_for(pulled(connect(address, "1.1")), 120)
    assert len([one for one in requests if one.name == "users"]) < 10


async def test_a_collection_without_an_end_fills_no_disk() -> None:
    """A collection without end is stopped by the limit of disk space, and the error names the setting of this limit."""
    with answering(with_users(without_an_end)) as (address, _):
        with pytest.raises(SourceRefused, match=r"over 0\.001 GB and has not ended.*raise the source's pull-gb"):
            await asyncio.wait_for(pulled(connect(address, "1.1", pull_gb=0.001)), 120)


async def test_a_collection_without_an_end_ends_with_its_time() -> None:
    """A collection without end is stopped by the time limit, and the error names the collection that was not read."""
    with answering(with_users(without_an_end)) as (address, _):
        with pytest.raises(SourceRefused, match=r"0\.02 minutes and has not ended \(.*users.*pull-minutes"):
            await asyncio.wait_for(pulled(connect(address, "1.1", pull_minutes=0.02, page_size=10)), 120)


@asynccontextmanager
async def _trickling() -> AsyncIterator[tuple[str, list[int]]]:
    """Yields the address of a server that sends single bytes without end.

    Also yields a list with one entry for each response that the server has begun.
    """
    begun: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        try:
            await reader.readuntil(b"\r\n\r\n")
            begun.append(len(begun))
            writer.write(with_body)
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", begun
    finally:
        server.close()


async def test_a_byte_now_and_then_is_no_answer() -> None:
    """A response whose bytes arrive one by one is stopped by the time limit for a whole response."""
    patience = RetryPolicy(tries=8, first=0.01, longest=0.05, total=0.5, answer=5, whole=0.3)
    async with _trickling() as (address, begun):
        with pytest.raises(SourceRefused, match="does not answer in time"):
            await asyncio.wait_for(
                pulled(connect(address, "1.1", patience=patience, auth="oauth1", concurrency=1)), 120
            )
        # Two tries of .3 s are more than the .5 s that one request may cost. An optional collection may come before one
        # without which there is no roster.
        assert len(begun) <= 2 * 2, begun


async def test_a_page_that_is_too_long_names_the_page_size() -> None:
    """A page of more than 32 MB is refused, and the error names the configured page size."""
    long = " " * (33 << 20)
    with answering(with_users(lambda _: Reply(body=f'{{"users": [{long}]}}'))) as (address, _):
        with pytest.raises(SourceRefused, match=r"over 32 MB in one page at /.*lower page-size \(5,000 now\)"):
            await pulled(connect(address, "1.1", page_size=5000, patience=HASTY))


async def test_a_run_of_such_a_source_has_failed_and_changed_nothing(north: Town) -> None:
    """A run of a source that sends data without end fails with exit code 5, and the roster is unchanged."""
    allowed = Allowed(sandbox=True)
    with answering(with_users(in_a_circle)) as (address, _):
        new = SourceSettings(
            kind="oneroster-1.1",
            url=f"{address}v1p1",
            token_url=f"{address}token",
            client_id="north",
            client_secret="of-a-test",
            pull_minutes=1,
            pull_gb=1,
        )
        async with north.unit() as work:
            made = await sources.register_source(work, "endless", new, allowed)
        before = await fingerprint(north)
        report = await run_source(
            north.worker_engine, north.settings.keyring, north.district_id, made.source.id, quiet, allowed
        )
    assert (report.state, report.exit_code) == ("failed", 5)
    assert "go in a circle" in report.sentence
    assert report.sentence.endswith("Nothing was changed.")
    assert await fingerprint(north) == before
