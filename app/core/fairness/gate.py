"""Owns how many requests run at once in this process, and lets the others wait in the fair order.

A request that runs holds one of a few slots. One that takes long, such as a statement that waits for a lock, gives its
slot back while it goes on, so that requests that wait for one district's rows keep nobody else waiting; how many
requests of one key may be under way is bounded instead.
"""

import asyncio
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from app.core.errors import Overloaded, Throttled
from app.core.fairness.order import FairOrder, Ticket

FULL_QUEUE_RETRY = 1
"""Seconds after which a caller whose queue is full is asked to return."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests run and wait."""

    slots: int
    most_of_one_key: int
    most: int
    queue_of_one_key: int = 100
    longest_wait: float = 30.0
    slot_seconds: float = 0.25


@dataclass(eq=False, slots=True)
class Turn:
    """One request at the gate; `admitted` is done once it may run."""

    ticket: Ticket
    admitted: asyncio.Future[None]
    began: float = 0.0
    holds_slot: bool = False
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def may_run(self) -> bool:
        """Whether the request has been let in."""
        return not self.ticket.is_waiting


class Gate:
    """The slots of this process and the queue before them."""

    def __init__(
        self,
        limits: Limits,
        weights: Mapping[Hashable, float] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.limits = limits
        self._weights = weights or {}
        self._clock = clock
        self._order = FairOrder()
        self._turns: dict[Ticket, Turn] = {}
        self._slots_held = 0

    @property
    def waiting(self) -> int:
        """Returns how many requests wait."""
        return self._order.waiting

    @property
    def running(self) -> int:
        """Returns how many requests run, with and without a slot."""
        return self._order.in_service

    def ask(self, key: Hashable, flow: Hashable = None) -> Turn:
        """Returns a turn, which may run at once or waits; raises `Throttled` where the key's queue is full."""
        if self._order.waiting_of(key) >= self.limits.queue_of_one_key:
            detail = "Too many requests of this district wait already. Send fewer at once."
            raise Throttled(detail, FULL_QUEUE_RETRY, code="queue.full")
        ticket = self._order.join(key, flow, self._weights.get(key, 1.0))
        turn = Turn(ticket, asyncio.get_running_loop().create_future())
        self._turns[ticket] = turn
        self._admit()
        return turn

    async def wait(self, turn: Turn) -> None:
        """Waits until the turn may run; raises `Overloaded` when that takes too long."""
        done, _ = await asyncio.wait({turn.admitted}, timeout=self.limits.longest_wait)
        if not done:
            raise self.overloaded()

    def overloaded(self) -> Overloaded:
        """Returns the error of a request that has waited for too long."""
        retry = max(1, math.ceil(self.limits.longest_wait / 6))
        return Overloaded("The service has more to do than it can. Try again later.", retry, code="queue.timeout")

    def leave(self, turn: Turn) -> None:
        """Ends a turn in whatever state it is, and lets the next ones in; a second call does nothing."""
        if self._turns.pop(turn.ticket, None) is None:
            return
        self._give_back(turn)
        self._order.leave(turn.ticket)
        if not turn.admitted.done():
            turn.admitted.cancel()
        self._admit()

    def _admit(self) -> None:
        while self._slots_held < self.limits.slots and self._order.in_service < self.limits.most:
            ticket = self._order.take(self.limits.most_of_one_key)
            if ticket is None:
                return
            turn = self._turns[ticket]
            turn.began, turn.holds_slot = self._clock(), True
            self._slots_held += 1
            turn.timer = asyncio.get_running_loop().call_later(self.limits.slot_seconds, self._lend, turn)
            turn.admitted.set_result(None)

    def _lend(self, turn: Turn) -> None:
        """Takes the slot of a turn that runs for long, and gives it to the next one."""
        self._give_back(turn)
        self._admit()

    def _give_back(self, turn: Turn) -> None:
        if turn.timer is not None:
            turn.timer.cancel()
            turn.timer = None
        if turn.holds_slot:
            turn.holds_slot = False
            self._slots_held -= 1
            self._order.settle(turn.ticket, self._clock() - turn.began)
