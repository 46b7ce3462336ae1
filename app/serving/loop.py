"""Owns the event loop of an api process: uvloop's, in which a TLS handshake has as long as a request's head."""

import asyncio
from typing import Any

import uvloop

from app.serving.protocol import HALF_SENT


class Loop(uvloop.Loop):
    """uvloop's loop. A handshake comes before any protocol of ours, and would have a minute."""

    async def create_server(self, *args: Any, **options: Any) -> Any:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", HALF_SENT)
        return await super().create_server(*args, **options)


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop for uvicorn."""
    return Loop()
