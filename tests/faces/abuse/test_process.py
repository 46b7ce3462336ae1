"""Tests that an api process stays available during the whole abuse corpus, and ends when it is asked to."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.faces.abuse.corpus import corpus
from tests.faces.abuse.measure import pace
from tests.faces.graphql_face import token
from tests.processes import REPOSITORY, TRUSTS_NOBODY, environment
from tests.town import Town

LIVE_SECONDS = 0.2
END_SECONDS = 30
NEVER_SECONDS = 20
"""By the clock, on the slowest of machines: a process that is held by one document takes longer."""
SENDERS = 4
SCHEDULER = Path("/proc/self/schedstat")


@pytest.fixture
def serving(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process of the api, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment(settings), stdout=subprocess.DEVNULL)
    try:
        with client(f"http://127.0.0.1:{port}") as caller:
            _wait_until_live(caller)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def client(address: str) -> httpx.Client:
    """A client with a connection of its own."""
    return httpx.Client(trust_env=False, verify=TRUSTS_NOBODY, base_url=address, timeout=60)


@pytest.mark.skipif(not SCHEDULER.exists(), reason="Only Linux reports the processor time of a running process.")
def test_a_process_stays_available_and_ends(serving: tuple[subprocess.Popen[bytes], str], north: Town) -> None:
    """Beside every request of the corpus, four at a time, liveness is told at once; then SIGTERM ends the process.

    What counts is how long the process itself works while liveness waits: the machine may be busy with others.
    """
    process, address = serving
    headers = {"Authorization": f"Bearer {token(north)}", "Content-Type": "application/json"}

    def send(bodies: list[bytes]) -> list[int]:
        with client(address) as sender:
            return [sender.post("/graphql", content=body, headers=headers).status_code for body in bodies]

    def live() -> tuple[float, float]:
        worked, began = processor_seconds(process), time.perf_counter()
        assert poller.get("/health/live").status_code == 200
        return processor_seconds(process) - worked, time.perf_counter() - began

    bodies = [abuse.body for abuse in corpus()]
    with ThreadPoolExecutor(SENDERS) as senders, client(address) as poller:
        sending = [senders.submit(send, bodies[place::SENDERS]) for place in range(SENDERS)]
        beside = [live()]
        while not all(one.done() for one in sending):
            beside.append(live())
        statuses = [status for one in sending for status in one.result()]
        # What is still being answered does not keep the process.
        last = senders.submit(send, bodies * 3)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=END_SECONDS)
        with suppress(httpx.TransportError):
            last.result()
    assert max(statuses) < 500
    assert len(beside) > 20
    assert max(worked for worked, _ in beside) < LIVE_SECONDS * pace()
    assert max(waited for _, waited in beside) < NEVER_SECONDS


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """How long the process's event loop has had a processor."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


def _wait_until_live(caller: httpx.Client) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            assert caller.get("/health/live").is_success
            return
        time.sleep(0.05)
    raise TimeoutError("The api did not come up.")
