"""Generates load: a closed loop of connections, or requests at a fixed rate.

In a closed loop, each connection sends its next request when the response has arrived. `python -m bench.noisy.load`
runs a closed loop in a separate process, for some seconds, and prints its latencies.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import ClientSession, ClientTimeout, TCPConnector

MODERN = "application/graphql-response+json"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is sent repeatedly."""

    base_url: str
    token: str
    path: str
    query: str = ""
    act_for: str = ""

    async def send(self, session: ClientSession) -> str:
        """Sends the request once and returns the text of the response; raises an error unless its status is 200."""
        # The compared servers do not compress, so nobody does.
        headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "identity"}
        if self.act_for:
            headers["Aimline-Act-For"] = self.act_for
        more: dict[str, Any] = {}
        if self.query:
            headers["Accept"], more = MODERN, {"json": {"query": self.query}}
        method = "POST" if self.query else "GET"
        async with session.request(method, self.base_url + self.path, headers=headers, **more) as answer:
            text = await answer.text()
            if answer.status != 200 or '"errors"' in text[:1000]:
                raise RuntimeError(f"{self.path} answered {answer.status}: {text[:300]}")
            return text


def new_session() -> ClientSession:
    """Returns a client without a limit of connections."""
    return ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=120), trust_env=False)


async def closed_loop(call: Call, connections: int, seconds: float) -> list[float]:
    """Sends the request on each connection again as soon as the response has arrived; returns the latencies in
    seconds.
    """
    latencies: list[float] = []
    until = time.perf_counter() + seconds

    async def one_after_the_other(session: ClientSession) -> None:
        while (began := time.perf_counter()) < until:
            await call.send(session)
            latencies.append(time.perf_counter() - began)

    async with new_session() as session:
        await asyncio.gather(*(one_after_the_other(session) for _ in range(connections)))
    return latencies


async def fixed_rate(call: Call, rate: float, count: int) -> list[float]:
    """Sends the request at a fixed rate, regardless of earlier responses, and returns the latencies in seconds.

    A latency is measured from the time at which the request was due.
    """

    async def at(due: float, session: ClientSession) -> float:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await call.send(session)
        return time.perf_counter() - due

    async with new_session() as session:
        begins = time.perf_counter() + 0.1
        return list(await asyncio.gather(*(at(begins + number / rate, session) for number in range(count))))


async def in_another_process(call: Call, connections: int, seconds: float) -> asyncio.subprocess.Process:
    """Starts a closed loop of requests in another process and returns the process. `latencies_of` reads its figures.

    The two processes have separate interpreters, so neither delays the other.
    """
    order = json.dumps({"call": asdict(call), "connections": connections, "seconds": seconds})
    command = [sys.executable, "-m", "bench.noisy.load", order]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def latencies_of(process: asyncio.subprocess.Process) -> list[float]:
    """Waits until the load generator in a process ends, and returns its latencies in seconds."""
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("The other district's load failed.")
    latencies: list[float] = json.loads(output)
    return latencies


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(closed_loop(Call(**given["call"]), given["connections"], given["seconds"]))))
