"""Owns the second attempt of a REST request that a temporary fault of the database undid. Holds no rule.

It stands around the whole app, so that dependencies, body and route run again as they did the first time.
"""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.retry import run_with_retry
from app.core.errors import AimlineError, Unavailable
from app.rest.door import READS
from app.rest.oauth import unavailable
from app.rest.problem import from_error

MOST_KEPT = 2 * 1024 * 1024
"""Bytes of a body that are kept for a second attempt; a larger one (a roster zip) has one attempt."""


class Retries:
    """Runs a request's app once more where `run_with_retry` says so, and answers what it refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)

        async def attempt() -> None:
            exchange.rewind()
            await self.app(scope, exchange.receive, exchange.send)

        try:
            await run_with_retry(attempt, reads=scope["method"] in READS, may_retry=exchange.can_be_repeated)
        except AimlineError as error:
            if exchange.answered:
                raise
            if isinstance(error, Unavailable) and scope["path"].startswith("/oauth/"):
                answer = unavailable(error)
            else:
                answer = from_error(Request(scope), error)
            await answer(scope, receive, send)


class _Exchange:
    """The messages of one request: those that were read are given again to a second attempt."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._kept: list[Message] = []
        self._next = 0
        self._size = 0
        self.answered = False

    def rewind(self) -> None:
        """Begins a new attempt at the first message."""
        self._next = 0

    def can_be_repeated(self) -> bool:
        """Whether nothing was answered yet, and all that was read is still there."""
        return not self.answered and self._size <= MOST_KEPT

    async def receive(self) -> Message:
        """Gives the next message, kept or new."""
        if self._next < len(self._kept):
            self._next += 1
            return self._kept[self._next - 1]
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size <= MOST_KEPT:
            self._kept.append(message)
            self._next += 1
        else:
            self._kept.clear()
        return message

    async def send(self, message: Message) -> None:
        """Passes a message on."""
        self.answered = True
        await self._send(message)
