"""Runs an app in this process, sends it every body of a folder, and prints the cost of each.

The tests start this module as a process of its own, because not every system can reset the measured peak memory of a
process. The bodies are read from files, because building a body here would need more memory than the body itself.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from app.main import create

STATUS = Path("/proc/self/status")
RUN = "run_06evzzzzzzzzzzzzzzzzzzzzzz"
ROUTES = (
    "/v1/supports",
    "/v1/concerns",
    "/v1/scores/bulk",
    "/v1/sis-sources",
    "/v1/playbook/preview",
    f"/v1/sync-runs/{RUN}/rekey",
    "/graphql",
    "/oauth/token",
)


def memory_peak() -> int:
    """Returns the peak memory of this process in bytes since `memory_now` was called. On other systems than Linux, it
    is the peak since the process started.
    """
    if STATUS.exists():
        return _status("VmHWM")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def memory_now() -> int:
    """Returns the present memory of this process in bytes, and resets the measured peak."""
    if STATUS.exists():
        (STATUS.parent / "clear_refs").write_text("5")
        return _status("VmRSS")
    return memory_peak()


def _status(name: str) -> int:
    return int(STATUS.read_text().partition(f"{name}:")[2].split()[0]) * 1024


async def measure(files: list[Path], tokens: dict[str, str]) -> list[dict[str, Any]]:
    """Sends every file with every token to every route, and returns the cost of each request."""
    app = create()  # as a server process does: garbage collection leaves out whatever is loaded so far
    lines = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://aimline.test") as client:
        for route in ROUTES:  # whatever is loaded once is loaded
            for token in tokens.values():
                await _send(client, route, token, b'{"planted": 1}')
        for whose, token in tokens.items():
            for route in ROUTES:
                for file in files:
                    body = file.read_bytes()  # nothing else runs in this process
                    memory, began = memory_now(), time.process_time()
                    answer = await _send(client, route, token, body)
                    lines.append(
                        {
                            "token": whose,
                            "route": route,
                            "body": file.name,
                            "status": answer.status_code,
                            "seconds": time.process_time() - began,
                            "grown": memory_peak() - memory,
                            "answered": len(answer.content),
                            "violations": answer.text.count('"pointer"'),
                        }
                    )
    await app.state.services.engine.dispose()
    return lines


async def _send(client: httpx.AsyncClient, route: str, token: str, body: bytes) -> httpx.Response:
    kind = "application/x-www-form-urlencoded" if route == "/oauth/token" else "application/json"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    return await client.post(route, content=body, headers=headers)


if __name__ == "__main__":
    bodies = sorted(Path(sys.argv[1]).iterdir())
    print(json.dumps(asyncio.run(measure(bodies, json.loads(sys.stdin.readline())))))  # noqa: T201  # the output of this program
