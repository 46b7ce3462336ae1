"""Sends every body of the corpus to an app in this process, and prints what each took: `python -m` over settings.

A process of its own, because the most memory that a process ever had can be read but not reset.
"""

import asyncio
import json
import resource
import sys
import time
from typing import Any

import httpx

from app.main import build
from app.settings import Settings
from tests.faces.abuse.bodies import BODIES

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


def most_memory() -> int:
    """The most that this process has had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


async def measure(tokens: dict[str, str]) -> list[dict[str, Any]]:
    """One line a request."""
    app = build(Settings())
    lines = []
    bodies = {name: make() for name, make in BODIES.items()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://aimline.test") as client:
        for route in ROUTES:  # whatever is loaded once is loaded
            for token in tokens.values():
                await _send(client, route, token, b'{"planted": 1}')
        for whose, token in tokens.items():
            for route in ROUTES:
                for name, body in bodies.items():
                    memory, began = most_memory(), time.process_time()
                    answer = await _send(client, route, token, body)
                    lines.append(
                        {
                            "token": whose,
                            "route": route,
                            "body": name,
                            "status": answer.status_code,
                            "seconds": time.process_time() - began,
                            "grown": most_memory() - memory,
                            "answered": len(answer.content),
                            "violations": answer.text.count('"pointer"'),
                        }
                    )
    await app.state.house.engine.dispose()
    return lines


async def _send(client: httpx.AsyncClient, route: str, token: str, body: bytes) -> httpx.Response:
    kind = "application/x-www-form-urlencoded" if route == "/oauth/token" else "application/json"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    return await client.post(route, content=body, headers=headers)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(json.loads(sys.stdin.readline())))))  # noqa: T201
