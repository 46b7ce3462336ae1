"""Runs the API in a process with given settings, as `aimline serve` does, with clients over real HTTP."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from app.settings import Settings
from tests.processes import REPOSITORY, TRUSTS_NOBODY, environment, free_port


@contextmanager
def served_api(
    settings: Settings, log: Path | None = None, arguments: tuple[str, ...] = (), /, **more: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Runs `aimline serve` with these arguments, and yields its process and address; its log may go to a file."""
    port = free_port()
    command = [sys.executable, "-m", "app", "serve", "--port", str(port), *arguments]
    with open(log or "/dev/null", "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment(settings, **more),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with client(f"http://127.0.0.1:{port}") as caller:
            _wait_until_live(caller)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a supervisor and the processes that it started
        process.wait()


def client(address: str) -> httpx.Client:
    """Returns an HTTP client of the address."""
    return httpx.Client(trust_env=False, verify=TRUSTS_NOBODY, base_url=address, timeout=60)


def _wait_until_live(caller: httpx.Client) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            assert caller.get("/health/live").is_success
            return
        time.sleep(0.05)
    raise TimeoutError("The api did not come up.")
