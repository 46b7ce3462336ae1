"""Serves the product's app on its own port, for clients that speak HTTP themselves: curl, Node, a browser."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest
import uvicorn

from app.main import build
from app.settings import Settings
from tests.processes import TRUSTS_NOBODY


@pytest.fixture
def serving(settings: Settings) -> Iterator[str]:
    """Serves the api on a separate port, and yields its address."""
    with served(settings) as address:
        yield address


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Serves the api from a thread of this process; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build(settings), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{address}/health/ready", trust_env=False, verify=TRUSTS_NOBODY).is_success:
                break
    else:
        raise TimeoutError("The api did not come up.")
    yield address
    server.should_exit = True
    thread.join(120)
