"""An app whose process stops for some seconds in the middle of its start, as on a machine without free processor
time.
"""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import uvicorn

from app.cli.serve import run


def create() -> Any:
    """Returns an app that answers with the id of its process."""
    pid = os.getpid()
    subprocess.Popen(["/bin/sh", "-c", f"sleep 6; kill -CONT {pid}"])
    time.sleep(2)  # the parent asks, and this process answers
    os.kill(pid, signal.SIGSTOP)

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(str(pid)))]}
        )
        await send({"type": "http.response.body", "body": str(pid).encode()})

    return app


if __name__ == "__main__":
    run(
        uvicorn.Config(
            "tests.serving.slow_app:create",
            factory=True,
            port=int(sys.argv[1]),
            workers=2,
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=2,
            timeout_worker_healthcheck=1,
        )
    )
