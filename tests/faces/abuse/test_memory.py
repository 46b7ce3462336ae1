"""Tests that the memory of a request body is released when its request ends, and soon returned to the system."""

import ctypes
import gc
import sys
from typing import Any

import pytest
from fastapi import FastAPI

from app.serving.memory import return_free_memory
from tests.faces.abuse.measure_bodies import STATUS
from tests.faces.rest_town import caller
from tests.town import Town

LONG = 200_000
TEXT = b"x" * LONG
BODIES = {
    "no JSON": ("/v1/supports", b" " * LONG),
    "broken JSON": ("/v1/supports", b'{"student":"' + TEXT),
    "no UTF-8": ("/v1/supports", b"\xff" + TEXT),
    "too long a text": ("/v1/supports", b'{"student":"' + TEXT + b'"}'),
    "too long an item": ("/v1/concerns/bulk", b'{"concerns":[{"student":"' + TEXT + b'"}]}'),
    "a file": ("/v1/interventions/import", b'{"csv":"code,name' + TEXT + b'"}'),
    "no JSON to GraphQL": ("/graphql", b" " * LONG),
    "too long a document": ("/graphql", b'{"query":"{__typename} #' + TEXT + b'"}'),
    "too long a variable": ("/graphql", b'{"query":"{__typename}","variables":{"a":"' + TEXT + b'"}}'),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_is_released_with_its_request(app: FastAPI, north: Town, name: str) -> None:
    """A body is released at the end of its request, without a full garbage collection, which may come 100 bodies later.

    FastAPI's error about a body that is not JSON once kept the body in its traceback: 105 such bodies kept 126 MB.
    """
    path, body = BODIES[name]
    asks, headers = caller(app, north), {"Content-Type": "application/json"}
    await asks.ask("POST", path, content=body, headers=headers)  # fills the caches
    gc.collect()
    gc.disable()
    try:
        answer = await asks.ask("POST", path, content=body, headers=headers)
        assert answer.status_code < 500, answer.text
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        keepers = [type(each).__name__ for each in gc.garbage if _keeps_text(each)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert keepers == []


def _keeps_text(kept: Any) -> bool:
    return any(isinstance(each, bytes | str | bytearray) and len(each) >= LONG for each in gc.get_referents(kept))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc returns memory on request")
@pytest.mark.skipif(not STATUS.exists() or sys.platform != "linux", reason="reads the memory of a Linux process")
def test_freed_memory_is_returned_to_the_system() -> None:
    """After many bodies, the process returns their memory to the system, although some small objects stay in use."""
    small = []
    bodies = []
    for _ in range(60):
        bodies.append([bytes(60_000) for _ in range(32)])
        small.append(bytes(700))
    with_bodies = _resident()
    bodies.clear()
    return_free_memory()
    assert with_bodies - _resident() > 80 << 20
    assert len(small) == 60


def _resident() -> int:
    return int(STATUS.read_text().partition("VmRSS:")[2].split()[0]) * 1024
