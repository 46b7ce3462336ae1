"""Runs an app in this process, sends it the requests of a file, and prints how much memory each of them took.

The tests start this module as a process of its own, because not every system can reset the measured peak memory of a
process. Responses are counted and dropped, so that the memory of a client is not measured.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from app.main import create
from app.serving.memory import return_free_memory
from tests.faces.abuse.measure_bodies import memory_now, memory_peak


async def measure(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sends every request in order. Returns each one's name, status, size of the response, and memory in bytes.

    The memory is the growth of the process to its peak during the request. A request with `is_measured` false is sent
    only so that the process has loaded what it loads once.
    """
    app = create()  # as a server process does: garbage collection leaves out whatever is loaded so far
    lines = []
    for request in requests:
        body = request["body"].encode()
        return_free_memory()
        memory = memory_now()
        status, size = await call(app, request, body)
        grown = memory_peak() - memory
        if request["is_measured"]:
            lines.append({"name": request["name"], "status": status, "size": size, "grown": grown, "sent": len(body)})
    await app.state.services.engine.dispose()
    return lines


async def call(app: FastAPI, request: dict[str, Any], body: bytes) -> tuple[int, int]:
    """Sends a request directly into the app, and returns the status and the size of the response."""
    path, _, query = request["path"].partition("?")
    headers = {**request["headers"], "content-length": str(len(body))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request["method"],
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    status, size, is_sent = 0, 0, False
    ended = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal is_sent
        if is_sent:
            await ended.wait()
            return {"type": "http.disconnect"}
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, size
        if message["type"] == "http.response.start":
            status = message["status"]
            return
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            ended.set()

    await app(scope, receive, send)
    return status, size


if __name__ == "__main__":
    measured = asyncio.run(measure(json.loads(Path(sys.argv[1]).read_text())))
    print(json.dumps(measured))  # noqa: T201  # the output of this program
