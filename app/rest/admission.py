"""Counts a request against its quotas and makes it wait for its turn, for REST and GraphQL alike.

The body is read before the turn begins, and the turn ends when the response begins. A slow client therefore does not
keep others waiting. The headers follow the IETF draft of the RateLimit fields (draft-ietf-httpapi-ratelimit-headers).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.admission import Admission, RateLimited
from app.core.errors import Throttled
from app.core.fairness.gate import Gate, Turn
from app.core.fairness.pace import pace_tasks, paced
from app.core.fairness.quota import QuotaState
from app.rest.edge import CLIENT_GONE, UPLOADS
from app.rest.problem import from_error

TOKENS = "/oauth/token"
HEALTH_PATHS = "/health/"
"""The beginning of the paths that are always admitted, because a busy process must still answer health checks."""
NOT_MODIFIED = 304
"""The status of a response that the client already has; such a response counts against no quota."""
Refusal = Callable[[Request, Throttled], Response]


class Admit:
    """Middleware that lets requests run in fair order, and refuses those whose quotas are used up.

    `refusals` has the functions that answer a refused request, keyed by path. `preparations` has the functions that are
    awaited before a request's turn begins, also keyed by path.
    """

    def __init__(
        self,
        app: ASGIApp,
        admission: Admission,
        refusals: Mapping[str, Refusal],
        preparations: Mapping[str, Callable[[], Awaitable[object]]],
    ) -> None:
        self._app, self._admission, self._refusals = app, admission, refusals
        self._preparations = preparations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(HEALTH_PATHS):
            await self._app(scope, receive, send)
            return
        requester = self._admission.identify(token_of(scope), (scope.get("client") or (None,))[0])
        standings: tuple[QuotaState, ...] = ()
        try:
            standings = self._admission.count(requester)
            if scope["method"] == "POST" and UPLOADS.fullmatch(scope["path"]):
                # An upload is not queued, because it takes as long as its sender, and its body goes to disk as it
                # arrives.
                await self._app(scope, receive, _announcing(send, lambda _: standings))
                return
            # A caller without a valid token is refused before its body is read, except by the token endpoint.
            is_read = requester.district_id is not None or scope["path"] == TOKENS
            messages = await _read_body(receive) if is_read else []
            if messages is None:
                await Response(status_code=CLIENT_GONE)(scope, receive, send)
                return
            if (prepare := self._preparations.get(scope["path"])) is not None:
                await prepare()
            turn = self._admission.gate.enqueue(requester.key, requester.flow)

            def recount(status: int) -> tuple[QuotaState, ...]:
                is_free = status == NOT_MODIFIED
                return self._admission.give_back(requester, standings) if is_free else standings

            await self._run(turn, messages, (scope, receive, _announcing(send, recount)))
        except Throttled as error:
            if isinstance(error, RateLimited):
                standings = error.standings
            refuse = self._refusals.get(scope["path"], from_error)
            await refuse(Request(scope), error)(scope, receive, _announcing(send, lambda _: standings))

    async def _run(self, turn: Turn, body: list[Message], connection: tuple[Scope, Receive, Send]) -> None:
        gate, (scope, receive, send) = self._admission.gate, connection

        async def release_and_send(message: Message) -> None:
            gate.leave(turn)
            await send(message)

        async def handle() -> None:
            await self._app(scope, _replayed(body, receive), release_and_send)

        try:
            if not turn.may_run and not await _wait_for_turn(gate, turn, receive):
                await Response(status_code=CLIENT_GONE)(scope, receive, send)
                return
            pace_tasks(asyncio.get_running_loop())
            await paced(handle(), turn)
        finally:
            gate.leave(turn)


async def _wait_for_turn(gate: Gate, turn: Turn, receive: Receive) -> bool:
    """Waits until a request may run. Returns False if the client disconnects first."""
    disconnected = asyncio.ensure_future(_disconnected(receive))
    waiting = asyncio.ensure_future(gate.wait(turn))
    try:
        await asyncio.wait({disconnected, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if disconnected.done():
            return False
        await waiting
        return True
    finally:
        for task in (disconnected, waiting):
            task.cancel()
            with suppress(asyncio.CancelledError, Throttled):
                await task


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(receive: Receive) -> list[Message] | None:
    """Returns the messages of the whole body, or None if the client disconnected before its end."""
    messages: list[Message] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        messages.append(message)
        if not message.get("more_body", False):
            return messages


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    """Returns a `receive` function that returns `messages`, which were read before, and then reads from the client."""
    remaining = iter(messages)

    async def replay() -> Message:
        return next(remaining, None) or await receive()

    return replay


def _announcing(send: Send, standings_at: Callable[[int], Sequence[QuotaState]]) -> Send:
    """Returns a `send` function that adds the RateLimit headers to the response.

    `standings_at` returns the states of the quotas that the headers show, given the status of the response.
    """

    async def announce(message: Message) -> None:
        if message["type"] == "http.response.start" and (standings := standings_at(message["status"])):
            message["headers"] = [*message["headers"], *fields(standings)]
        await send(message)

    return announce


def fields(standings: Sequence[QuotaState]) -> list[tuple[bytes, bytes]]:
    """Returns the RateLimit headers.

    Each header has one item for each quota, in the syntax of structured fields (RFC 9651).
    """
    policies = ", ".join(
        f'"{standing.policy.name}";q={standing.policy.quota};w={standing.policy.window}' for standing in standings
    )
    limits = ", ".join(f'"{standing.policy.name}";r={standing.remaining};t={standing.reset}' for standing in standings)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", limits.encode())]


def token_of(scope: Scope) -> str | None:
    """Returns the bearer token of a request, or None without one."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token if scheme.lower() == "bearer" else None
    return None
