"""Provides the event loop of an api process, which is uvloop's with a shorter timeout for TLS handshakes."""

import asyncio
from typing import Any

import uvloop

from app.serving.protocol import PROGRESS_PERIOD


class Loop(uvloop.Loop):
    """uvloop's event loop with a shorter timeout for TLS handshakes.

    Our protocol starts only after the handshake, so it cannot limit the time of the handshake itself.
    """

    async def create_server(self, *args: Any, **options: Any) -> Any:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", PROGRESS_PERIOD)
        return await super().create_server(*args, **options)


def new_loop() -> asyncio.AbstractEventLoop:
    """Returns a new event loop for uvicorn."""
    return Loop()
