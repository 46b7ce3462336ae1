"""Runs one sync in a separate process, so that its memory can be measured.

`python -m bench.sync_one ZIP DISTRICT`, with the settings in the environment; prints one line of JSON.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from app.core.db import open_engine
from app.settings import Settings
from app.sis.service import sync_csv


async def _sync(path: Path, district: UUID) -> dict[str, Any]:
    settings = Settings()
    engine = open_engine(settings.url_of("worker"), name="bench", timeouts=settings.sync_timeouts)
    began = time.perf_counter()
    report = await sync_csv(engine, settings.keyring, district, path, "bench", False, lambda _doing, _done, _of: None)
    took = time.perf_counter() - began
    await engine.dispose()
    return {
        "seconds": took,
        "state": report.state,
        "sentence": report.sentence,
        "rows": report.total("fetched"),
        "changes": report.total("changes"),
        "quarantined": report.total("quarantined"),
        "peak": _peak(),
    }


def _peak() -> float:
    """Returns the peak memory of this process in MiB.

    On Linux it is read from /proc, because the maximum that `getrusage` returns would include the parent process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)  # macOS counts in bytes, others in KiB


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_sync(Path(sys.argv[1]), UUID(sys.argv[2])))))
