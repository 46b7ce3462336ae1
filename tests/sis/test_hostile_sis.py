"""Tests an SIS that sends harmful answers: each is refused with a sentence, in bounded memory and time.

Other runs are not delayed.
"""

import asyncio
import signal
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.core.address import Allowed
from app.settings import Settings
from app.sis.oneroster_rest.connection import RetryPolicy
from app.sis.port import SourceRefused
from app.sis.runs.pull import request_run
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings as Fit
from tests.rooms.webhook_town import start_worker
from tests.sis import hostile_sis
from tests.sis.hostile_sis import Write, hostile, linking
from tests.sis.rest_source import connect, pulled
from tests.sis.roster_zip import Export, ask
from tests.town import Town, found_town

HASTY = RetryPolicy(tries=2, first=0.01, longest=0.05, total=2.0, answer=2.0, whole=2.0)
PAGES = 3
PEAK = 200 << 20  # bytes: a page may have 32 MB, and is larger once it is read
REFUSED: dict[str, tuple[Write, str]] = {
    "links to ever new pages": (linking("SELF/v1p1/users?cursor={}"), "has not ended|goes? in a circle"),
    "a link to itself": (linking("?cursor=x"), "has not ended|goes? in a circle|same page"),
    "a page of 64 MB": (hostile_sis.huge, "over 32 MB in one page"),
    "a gzip bomb": (hostile_sis.bomb, "over 32 MB in one page|breaks the connection"),
    "a page for people": (hostile_sis.page_of_html, "."),
    "JSON without a bottom": (hostile_sis.nested, "."),
    "a byte now and then": (hostile_sis.drip, "does not answer in time"),
    "a redirect": (hostile_sis.leading_away, "."),
    "endless headers": (hostile_sis.long_headers, "."),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_hostile_answer_is_refused(case: str) -> None:
    """A harmful response of an SIS is refused within a limited time and memory, and the error shows no text of it."""
    users, words = REFUSED[case]
    minutes = 0.02 if "link" in case else 0.05  # endless links are followed until the end of this time
    async with hostile(users) as sis:
        tracemalloc.start()
        try:
            with pytest.raises(SourceRefused, match=words) as refused:
                await asyncio.wait_for(
                    pulled(connect(sis.address, "1.1", patience=HASTY, auth="oauth1", pull_minutes=minutes)), 60
                )
            assert tracemalloc.get_traced_memory()[1] < PEAK
        finally:
            tracemalloc.stop()
    assert "Zoe" not in refused.value.detail


@pytest.mark.parametrize(
    "link",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://10.0.0.1/users",
        "http://sis.example.org/users",
        "https://127.0.0.1:9/users",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "//127.0.0.2:9/users",
        "http://north:of-a-test@127.0.0.1:9/users",
    ],
)
async def test_a_link_leads_nowhere_else(link: str) -> None:
    """A `next` link to another host, scheme or port is never followed, and nothing is sent there."""
    async with hostile(linking(link, PAGES)) as sis, hostile(linking(link, PAGES)) as other:
        with suppress(SourceRefused):
            await asyncio.wait_for(pulled(connect(sis.address, "1.1", patience=HASTY, auth="oauth1")), 60)
        assert any("users" in path for path in sis.requested)
        assert all("latest" not in path for path in sis.requested)
        assert other.requested == []


async def test_a_worker_serves_the_others(north: Town, south: Town, settings: Settings, tmp_path: Path) -> None:
    """A worker syncs one district while the sources of three others are slow, and stops when it gets a signal."""
    slow = [north, *[await found_town(f"slow{n}", north.engine, north.worker_engine, settings) for n in range(2)]]
    allowed = Allowed(sandbox=True)
    async with hostile(hostile_sis.drip) as sis:
        for town in slow:
            new = Fit(
                kind="oneroster-1.1",
                url=f"{sis.address}v1p1",
                token_url=f"{sis.address}token",
                client_id="north",
                client_secret="of-a-test",
            )
            async with town.unit() as work:
                source = await sources.register_source(work, "dripping", new, allowed)
                await request_run(work, source.source.id)
        with start_worker(settings) as worker, _killed_at_last(worker):
            async with asyncio.timeout(180):
                while sum("users" in path for path in sis.requested) < len(slow):  # noqa: ASYNC110  # as below
                    await asyncio.sleep(0.05)
            zipped = Export().write(tmp_path / "roster.zip")
            async with south.unit() as work:
                good = await sources.register_source(
                    work, "good", Fit(kind="oneroster-csv", url=str(zipped)), allowed, local=True
                )
                run = await request_run(work, good.source.id)
            async with asyncio.timeout(180):
                while await _state(south, run.id) != "applied":  # noqa: ASYNC110  # no event reports the row
                    await asyncio.sleep(0.05)
            assert {row[0] for town in slow for row in await _states(town)} == {"running"}
            began = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(worker.wait, 30) == 0
            assert time.monotonic() - began < 30
            assert {row[0] for town in slow for row in await _states(town)} == {"pending"}


@contextmanager
def _killed_at_last(worker: "subprocess.Popen[str]") -> Iterator[None]:
    try:
        yield
    finally:
        worker.kill()


async def _states(town: Town) -> list[tuple[str]]:
    return await ask(town, "SELECT state FROM sis_run WHERE district_id = :district")


async def _state(town: Town, run_id: object) -> str:
    rows = await ask(town, "SELECT state FROM sis_run WHERE district_id = :district AND id = :run", run=run_id)
    return str(rows[0][0])
