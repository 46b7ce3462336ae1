"""The product's app with two additional routes: `/pid` returns the process id, and `/stick` blocks the event loop for
ever.
"""

import os
from pathlib import Path
from typing import Any


def create() -> Any:
    """Returns the app for uvicorn. The product is imported within the function, so that the parent process does not
    load it.
    """
    from app.main import build
    from app.serving.process import ServedApp
    from app.settings import Settings

    app = build(Settings())

    @app.get("/pid")
    async def pid() -> int:
        return os.getpid()

    @app.get("/stick")
    async def stick() -> Any:
        Path(os.environ["STUCK_FILE"]).write_text(f"{os.getpid()}\n")  # noqa: ASYNC240  # it blocks the loop anyway
        while True:
            pass

    return ServedApp(app, app.state.services.engine, stuck=6.0)


def run(port: int, workers: int) -> None:
    """Serves the app in this module, as `aimline serve` does."""
    import uvicorn

    from app.cli.serve import run as serve

    config = uvicorn.Config(
        "tests.serving.stuck_app:create",
        factory=True,
        port=port,
        workers=workers,
        http="app.serving.protocol:BoundedProtocol",
        loop="app.serving.loop:new_loop",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        timeout_worker_healthcheck=5,
    )
    serve(config)


if __name__ == "__main__":
    import sys

    run(int(sys.argv[1]), int(sys.argv[2]))
