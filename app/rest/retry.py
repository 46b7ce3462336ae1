"""Retries a REST request once after a temporary fault of the database.

It wraps the whole app, so that a second attempt runs everything again, including the dependencies and the reading of
the body.
"""

from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.retry import run_with_retry
from app.core.errors import AimlineError, Unavailable
from app.core.faults import students_to_lock
from app.rest.door import READS
from app.rest.oauth import unavailable
from app.rest.problem import from_error

MAX_KEPT_BYTES = 2 * 1024 * 1024
"""The size in bytes of the largest body that is kept for a retry. A request with a larger body, such as a
roster zip, is not retried.
"""


class Retries:
    """Middleware that runs a request once more if `run_with_retry` allows it.

    If `run_with_retry` raises an error, the middleware sends the error response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        state: dict[str, Any] = scope.setdefault("state", {})

        def is_keyed() -> bool:
            return state.get("keyed") is not None

        async def attempt() -> None:
            exchange.rewind()
            state["attempt"] = state.get("attempt", 0) + 1
            try:
                await self.app(scope, exchange.receive, exchange.send)
            except Exception as error:
                state["late_students"] = students_to_lock(error)
                raise

        try:
            reads = scope["method"] in READS
            await run_with_retry(attempt, reads=reads, may_retry=exchange.can_be_repeated, is_keyed=is_keyed)
        except AimlineError as error:
            if exchange.answered:
                raise
            if isinstance(error, Unavailable) and scope["path"].startswith("/oauth/"):
                answer = unavailable(error)
            else:
                answer = from_error(Request(scope), error)
            await answer(scope, receive, send)


class _Exchange:
    """The messages of one request, which are kept so that a second attempt reads the same messages."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._kept: list[Message] = []
        self._next = 0
        self._size = 0
        self.answered = False

    def rewind(self) -> None:
        """Prepares a second attempt, which reads the kept messages again from the first."""
        self._next = 0

    def can_be_repeated(self) -> bool:
        """Returns whether a second attempt is possible.

        It is possible if nothing was sent yet and all messages that were read are kept.
        """
        return not self.answered and self._size <= MAX_KEPT_BYTES

    async def receive(self) -> Message:
        """Returns the next kept message, or, once all kept messages were read, a new message from the client."""
        if self._next < len(self._kept):
            self._next += 1
            return self._kept[self._next - 1]
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size <= MAX_KEPT_BYTES:
            self._kept.append(message)
            self._next += 1
        else:
            self._kept.clear()
        return message

    async def send(self, message: Message) -> None:
        """Sends a message to the client."""
        self.answered = True
        await self._send(message)
