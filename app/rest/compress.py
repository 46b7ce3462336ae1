"""Compresses responses with gzip, except those that may contain a secret.

The length of a compressed response would reveal a secret in it to somebody who can choose other text in the response
and sees the length (the BREACH attack).
"""

import re

from starlette.middleware.gzip import GZipMiddleware, GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_BYTES = 1000
"""The size in bytes of the smallest body that is compressed; a smaller one fits into one network packet anyway."""
LEVEL = 5
"""The compression level of zlib. For a page of 200 students, level 6 takes 50 % longer and saves one per cent of the
bytes.
"""
UNCOMPRESSED = "is_secret"
"""The key in a request's state that marks a response that may contain a secret and must not be compressed."""
OAUTH = "/oauth/"
REFUSED = re.compile(rb"gzip\s*;\s*q\s*=\s*0(?:\.0*)?\s*(?:,|$)", re.IGNORECASE)


class Compress(GZipMiddleware):
    """Middleware that compresses the responses to clients that accept gzip."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, minimum_size=MIN_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(OAUTH):
            await self.app(scope, receive, send)
            return
        if not _accepts_gzip(scope):
            await IdentityResponder(self.app, self.minimum_size)(scope, receive, send)
            return
        responder = _Responder(
            self.app,
            self.minimum_size,
            self.compresslevel,
            thread_minimum_size=self.thread_minimum_size,
            exclude_content_types=self.exclude_content_types,
        )
        responder.state = scope.setdefault("state", {})
        await responder(scope, receive, send)


class _Responder(GZipResponder):
    """Compresses one response, unless the response is marked as one that may contain a secret."""

    state: dict[str, object]

    async def send_with_compression(self, message: Message) -> None:
        if self.state.get(UNCOMPRESSED):
            await self.send(message)
        else:
            await super().send_with_compression(message)


def _accepts_gzip(scope: Scope) -> bool:
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
    return b"gzip" in accepted.lower() and not REFUSED.search(accepted)
