"""Prints the cost of each request of the abuse corpus: `python3 dev.py python -m tests.faces.abuse`."""

import asyncio
import sys

from app.core.db import open_engine
from app.main import build
from app.settings import Settings
from bench.server import migrated
from tests.faces.abuse.corpus import corpus, drawn
from tests.faces.abuse.measure import peak_bytes, processor_seconds
from tests.faces.rest_town import caller
from tests.town import found_town

DRAWN = 300


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def report(settings: Settings) -> None:
    """Measures every request of the corpus and prints its figures. Also measures random requests, and prints the time
    of the slowest.
    """
    app = build(settings)
    api = open_engine(settings.url_of("api"), name="abuse api")
    worker = open_engine(settings.url_of("worker"), name="abuse worker")
    try:
        token = caller(app, await found_town("north", api, worker, settings)).token
        _write(f"{'request':42} {'bytes':>9} {'ms':>7} {'MB':>6}  answer")
        for abuse in corpus():
            seconds, answer = await processor_seconds(app, token, abuse.body)
            megabytes = await peak_bytes(app, token, abuse.body) / 1e6
            outcome = answer.code or f"{answer.status}"
            _write(f"{abuse.name:42} {len(abuse.body):9} {seconds * 1000:7.1f} {megabytes:6.1f}  {outcome}")
        drawn_seconds = []
        for seed in range(DRAWN):
            drawn_seconds.append((await processor_seconds(app, token, drawn(seed).body))[0])
        _write(f"{f'the slowest of {DRAWN} drawn ones':42} {'':9} {max(drawn_seconds) * 1000:7.1f}")
    finally:
        for engine in (app.state.services.engine, api, worker):
            await engine.dispose()


if __name__ == "__main__":
    with migrated(base_url="http://aimline.test", sandbox=True) as settings:
        asyncio.run(report(settings))
