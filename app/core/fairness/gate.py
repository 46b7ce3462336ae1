"""Limits how many requests run at once in this process, and lets the others wait in fair order.

A key stands for a district. A key with requests always has at least one running. Beyond that, the keys share a few
slots: a running request occupies a slot, and when it ends, the next request in fair order gets the slot.

A request pauses between its steps while a request of another key runs, if the other key has fewer requests running. A
single request of one district therefore does not share the processor with many requests of another.

Some requests take long while the processor is mostly idle, for example because a statement waits for a lock. Such a
request gives its slot back and continues, so that others need not wait for it. A separate limit bounds how many
requests of one key run at once.
"""

import asyncio
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from app.core.errors import Overloaded, Throttled
from app.core.fairness.arrivals import Arrivals
from app.core.fairness.order import FairOrder, Ticket
from app.core.fairness.processor import processor_demand

BUSY_SHARE = 0.5
"""If this thread needs more than this share of the processor's time, admitting more requests would not help."""
LONG_STEP = 0.002
"""A step that takes more seconds than this is long. After a long step, the event loop handles new arrivals first."""
STOPPING_SECONDS = 8.0
"""The number of seconds for which waiting requests may still begin after the process was asked to end."""
FULL_QUEUE_RETRY = 1
"""The `Retry-After` in seconds for a caller whose queue is full."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits on how many requests run and wait, and on how long a running request pauses to let another request
    run.

    A request of a busy key pauses while a request of a less busy key runs:
    * `favoured_seconds`: it pauses for the other request only until that request has used the event loop for this long.
    * `pause_seconds`: after each step of the other request, it pauses for at most this long.
    * `most_paused`: all its pauses together last at most this long, or half of the time since it began, whichever is
      longer.
    """

    slots: int
    most_of_one_key: int
    most: int
    queue_of_one_key: int = 100
    longest_wait: float = 25.0
    slot_seconds: float = 1.0
    favoured_seconds: float = 0.25
    pause_seconds: float = 0.5
    most_paused: float = 2.0


@dataclass(eq=False, slots=True)
class Turn:
    """One request that waits or runs; the future `admitted` is done once the request may run."""

    ticket: Ticket
    admitted: asyncio.Future[None]
    gate: "Gate" = field(repr=False)
    began: float = 0.0
    holds_slot: bool = False
    checked_at: tuple[float, float] = (0.0, 0.0)
    used: float = 0.0
    last_step: float = 0.0
    paused_since: float | None = None
    paused_for: float = 0.0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def may_run(self) -> bool:
        """Returns whether the request has been admitted."""
        return not self.ticket.is_waiting

    def pause(self) -> asyncio.Future[None] | None:
        """Returns a future to wait for before the next step of this request, or None if the step may run now."""
        return self.gate.pause(self)

    def stepped(self, seconds: float) -> None:
        """Records how long a step of this request took.

        After a long step, the event loop handles newly arrived requests before any other step.
        """
        self.gate.note_step(self, seconds)
        if seconds > LONG_STEP:
            self.gate.arrivals.receive()


class Gate:
    """The requests of this process that run, and the queue of requests that wait to run."""

    def __init__(
        self,
        limits: Limits,
        weights: Mapping[Hashable, float] | None = None,
        clock: Callable[[], float] = monotonic,
        processor: Callable[[], float] = processor_demand,
    ) -> None:
        self.limits = limits
        self._weights = weights or {}
        self._clock, self._processor = clock, processor
        self._order = FairOrder()
        self._turns: dict[Ticket, Turn] = {}
        self._slot_holders: dict[Hashable, set[Turn]] = {}
        self._slots_held = 0
        self._is_stopping = False
        self._paused: asyncio.Future[None] | None = None
        self.arrivals = Arrivals()

    @property
    def waiting(self) -> int:
        """Returns the number of waiting requests."""
        return self._order.waiting

    @property
    def running(self) -> int:
        """Returns the number of running requests, with and without a slot."""
        return self._order.in_service

    def enqueue(self, key: Hashable, flow: Hashable = None) -> Turn:
        """Queues a request and returns its turn, which may already be admitted.

        Raises `Throttled` when the key's queue is full.
        """
        self.arrivals.note()
        if self._order.waiting_of(key) >= self.limits.queue_of_one_key:
            detail = "Too many requests of this district are waiting already. Send fewer at once."
            raise Throttled(detail, FULL_QUEUE_RETRY, code="queue.full")
        ticket = self._order.join(key, flow, self._weights.get(key, 1.0))
        turn = Turn(ticket, asyncio.get_running_loop().create_future(), self)
        self._turns[ticket] = turn
        self._admit()
        return turn

    def stop(self) -> None:
        """Lets waiting requests begin for another `STOPPING_SECONDS`, and then refuses those that still wait."""
        if not self._is_stopping:
            asyncio.get_running_loop().call_later(STOPPING_SECONDS, self._refuse_waiting)

    def _refuse_waiting(self) -> None:
        self._is_stopping = True
        for turn in self._turns.values():
            if not turn.may_run and not turn.admitted.done():
                turn.admitted.cancel()

    async def wait(self, turn: Turn) -> None:
        """Waits until the turn is admitted; raises `Overloaded` if that takes too long or the process ends."""
        done, _ = await asyncio.wait({turn.admitted}, timeout=self.limits.longest_wait)
        if self._is_stopping and not turn.may_run:
            raise Overloaded("The server is stopping. Nothing was changed.", 1, code="server.stopping")
        if not done:
            retry_after = max(1, math.ceil(self.limits.longest_wait / 6))
            raise Overloaded("The service is overloaded. Try again later.", retry_after, code="queue.timeout")

    def leave(self, turn: Turn) -> None:
        """Ends a turn, whether it waits or runs, and admits the next requests; a second call does nothing."""
        if self._turns.pop(turn.ticket, None) is None:
            return
        self._give_back(turn)
        self._order.leave(turn.ticket)
        if not turn.admitted.done():
            turn.admitted.cancel()
        self._admit()

    def pause(self, turn: Turn) -> asyncio.Future[None] | None:
        """Returns a future to wait for before the next step of this request, or None if the step may run now.

        A step waits while the event loop handles new arrivals, or while a key with fewer running requests has priority.
        """
        if (received := self.arrivals.awaited) is not None:
            return received
        now = self._clock()
        remaining = self._pause_left(turn, now)
        if remaining <= 0:
            if turn.paused_since is not None:
                turn.paused_for += now - turn.paused_since
                turn.paused_since = None
            return None
        if turn.paused_since is None:
            turn.paused_since = now
        if self._paused is None or self._paused.done():
            self._paused = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(remaining, _resume, self._paused)
        return self._paused

    def _pause_left(self, turn: Turn, now: float) -> float:
        if not turn.holds_slot or len(self._slot_holders) < 2:
            return 0.0
        paused = turn.paused_for + (now - turn.paused_since if turn.paused_since is not None else 0.0)
        if paused > max(self.limits.most_paused, (now - turn.began) / 2):
            return 0.0  # Even under constant load from others, requests of the busiest key run for half of the time.
        load = self._load(turn.ticket.key)
        newest = max(
            (
                other.last_step
                for key, turns in self._slot_holders.items()
                if self._load(key) < load
                for other in turns
                if other.used < self.limits.favoured_seconds
            ),
            default=-math.inf,
        )
        return newest + self.limits.pause_seconds - now

    def note_step(self, turn: Turn, seconds: float) -> None:
        """Records for how many seconds a step of this request has used the event loop."""
        turn.used += seconds
        turn.last_step = self._clock()

    def _load(self, key: Hashable) -> float:
        return len(self._slot_holders[key]) / self._weights.get(key, 1.0)

    def _admit(self) -> None:
        while self._order.in_service < self.limits.most:
            is_full = self._slots_held >= self.limits.slots
            ticket = self._order.take(1 if is_full else self.limits.most_of_one_key)
            if ticket is None:
                return
            turn = self._turns[ticket]
            turn.began = turn.last_step = self._clock()
            turn.holds_slot = True
            self._slots_held += 1
            self._slot_holders.setdefault(ticket.key, set()).add(turn)
            self._schedule_slot_check(turn)
            turn.admitted.set_result(None)

    def _schedule_slot_check(self, turn: Turn) -> None:
        turn.checked_at = self._clock(), self._processor()
        turn.timer = asyncio.get_running_loop().call_later(self.limits.slot_seconds, self._check_slot, turn)

    def _check_slot(self, turn: Turn) -> None:
        """Takes the slot from a long-running request that seems to wait, for example for a lock, instead of computing.

        The request seems to wait if this thread has hardly used the processor since the last check. The request then
        continues without a slot, and the next request gets the slot. Otherwise the next check is scheduled.
        """
        clock, processor = turn.checked_at
        if self._processor() - processor > BUSY_SHARE * (self._clock() - clock):
            self._schedule_slot_check(turn)
            return
        self._give_back(turn)
        self._admit()

    def _give_back(self, turn: Turn) -> None:
        if turn.timer is not None:
            turn.timer.cancel()
            turn.timer = None
        if turn.holds_slot:
            turn.holds_slot = False
            self._slots_held -= 1
            holders = self._slot_holders[turn.ticket.key]
            holders.remove(turn)
            if not holders:
                del self._slot_holders[turn.ticket.key]
            self._order.correct_charge(turn.ticket, self._clock() - turn.began)
            if self._paused is not None:
                _resume(self._paused)


def _resume(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
