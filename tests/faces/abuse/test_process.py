"""Tests that an api process stays available while it gets the whole abuse corpus, and that it ends after SIGTERM."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.faces.abuse.bodies import BODIES
from tests.faces.abuse.corpus import corpus, drawn
from tests.faces.abuse.measure import pace
from tests.faces.abuse.measure_bodies import ROUTES
from tests.faces.graphql_face import token
from tests.faces.served_api import client, served_api
from tests.town import Town

pytestmark = pytest.mark.long

LIVE_SECONDS = 0.2
END_SECONDS = 30
NEVER_SECONDS = 20
"""A time in seconds that a process exceeds only if a document blocks it, even on a slow machine."""
PAUSE = 0.01
"""Seconds between two looks, because looks without a pause would take as much processor time as the corpus."""
SENDERS = 4
SCHEDULER = Path("/proc/self/schedstat")


Sent = tuple[str, bytes]
CORPUS: dict[str, Callable[[], list[Sent]]] = {
    "documents": lambda: [("/graphql", abuse.body) for abuse in corpus()],
    "drawn documents": lambda: [("/graphql", drawn(seed).body) for seed in range(1000, 1200)],
    "bodies": lambda: [(route, make()) for make in BODIES.values() for route in ROUTES],
}


@pytest.fixture
def serving(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Yields a process of the api, and its address."""
    with served_api(settings, AIMLINE_DISTRICT_REQUESTS="10000000", AIMLINE_CLIENT_REQUESTS="10000000") as served:
        yield served


@pytest.mark.skipif(not SCHEDULER.exists(), reason="Only Linux tells how long a process has had a processor.")
@pytest.mark.parametrize("case", CORPUS)
def test_a_process_stays_available_and_ends(
    serving: tuple[subprocess.Popen[bytes], str], north: Town, case: str
) -> None:
    """A process answers health checks without delay while four senders send the abuse corpus, and SIGTERM ends it.

    The delay is measured in processor time of the process. Other work on the machine, such as other tests, delays an
    answer by seconds without any fault of the process, so the time by the clock has only a wide limit.
    """
    process, address = serving
    headers = {"Authorization": f"Bearer {token(north)}", "Content-Type": "application/json"}

    def send(requests: list[Sent]) -> list[int]:
        with client(address) as sender:
            return [sender.post(path, content=body, headers=headers).status_code for path, body in requests]

    def live() -> tuple[float, float]:
        worked, began = processor_seconds(process), time.perf_counter()
        assert poller.get("/health/live").status_code == 200
        return processor_seconds(process) - worked, time.perf_counter() - began

    requests = CORPUS[case]()
    with ThreadPoolExecutor(SENDERS) as senders, client(address) as poller:
        sending = [senders.submit(send, requests[place::SENDERS]) for place in range(SENDERS)]
        delays = [live()]
        while not all(one.done() for one in sending):
            time.sleep(PAUSE)
            delays.append(live())
        statuses = [status for one in sending for status in one.result()]
        # What is still being answered does not keep the process.
        last = senders.submit(send, requests * 3)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=END_SECONDS)
        with suppress(httpx.TransportError):
            last.result()
    most_worked, most_waited = (max(one[place] for one in delays) for place in (0, 1))
    looked = f"{case}: {len(delays)} looks, worked {most_worked * 1000:.0f} ms, waited {most_waited * 1000:.0f} ms"
    print(looked)  # noqa: T201  # the figures that the corpus is reported with
    assert max(statuses) < 500
    assert len(delays) > 20
    assert most_worked < LIVE_SECONDS * pace()
    assert most_waited < NEVER_SECONDS


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """Returns how many seconds of processor time the event loop of a process has used."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
