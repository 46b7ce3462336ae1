"""Owns how many requests run at once in this process, and lets the others wait in the fair order.

Each key that has requests has one under way. Beyond that a few slots are shared: a request that runs holds one, and
the next in the fair order gets it. Requests of the key that has most under way pause between their steps while another
key's request runs, so that a district's one request need not share the processor with all of another's.

A request that takes long while the processor has little to do, such as a statement that waits for a lock, gives its
slot back while it goes on: it keeps no other waiting. How many of one key may be under way is bounded instead.
"""

import asyncio
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from app.core.errors import Overloaded, Throttled
from app.core.fairness.order import FairOrder, Ticket
from app.core.fairness.processor import processor_demand

BUSY = 0.5
"""The share of the processor from which on this thread is what requests wait for: more of them would help nobody."""
LONG_STEP = 0.002
"""Seconds of one step after which the loop looks for what has come before it goes on with other requests' steps."""
FULL_QUEUE_RETRY = 1
"""Seconds after which a caller whose queue is full is asked to return."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many requests run and wait.

    A request has others pause until it has used the loop for `favoured_seconds`, or has waited for `pause_seconds` at
    one step; nobody pauses for more than `most_paused` seconds, or half of its time.
    """

    slots: int
    most_of_one_key: int
    most: int
    queue_of_one_key: int = 100
    longest_wait: float = 30.0
    slot_seconds: float = 1.0
    favoured_seconds: float = 0.25
    pause_seconds: float = 0.5
    most_paused: float = 2.0


@dataclass(eq=False, slots=True)
class Turn:
    """One request at the gate; `admitted` is done once it may run."""

    ticket: Ticket
    admitted: asyncio.Future[None]
    gate: "Gate" = field(repr=False)
    began: float = 0.0
    holds_slot: bool = False
    looked: tuple[float, float] = (0.0, 0.0)
    used: float = 0.0
    last_step: float = 0.0
    paused_since: float | None = None
    paused_for: float = 0.0
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def may_run(self) -> bool:
        """Whether the request has been let in."""
        return not self.ticket.is_waiting

    def pause(self) -> asyncio.Future[None] | None:
        """Returns what the next step has to wait for, or None."""
        return self.gate.pause(self)

    def stepped(self, seconds: float) -> None:
        """Takes note of a step; after a long one the loop looks for what has come."""
        self.gate.note_step(self, seconds)
        if seconds > LONG_STEP:
            self.gate.look_around()


class Gate:
    """The slots of this process and the queue before them."""

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
        self._holding: dict[Hashable, set[Turn]] = {}
        self._slots_held = 0
        self._paused: asyncio.Future[None] | None = None
        self._looking: asyncio.Future[None] | None = None

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
        turn = Turn(ticket, asyncio.get_running_loop().create_future(), self)
        self._turns[ticket] = turn
        self._admit()
        return turn

    async def wait(self, turn: Turn) -> None:
        """Waits until the turn may run; raises `Overloaded` when that takes too long."""
        done, _ = await asyncio.wait({turn.admitted}, timeout=self.limits.longest_wait)
        if not done:
            retry = max(1, math.ceil(self.limits.longest_wait / 6))
            raise Overloaded("The service has more to do than it can. Try again later.", retry, code="queue.timeout")

    def leave(self, turn: Turn) -> None:
        """Ends a turn in whatever state it is, and lets the next ones in; a second call does nothing."""
        if self._turns.pop(turn.ticket, None) is None:
            return
        self._give_back(turn)
        self._order.leave(turn.ticket)
        if not turn.admitted.done():
            turn.admitted.cancel()
        self._admit()

    def pause(self, turn: Turn) -> asyncio.Future[None] | None:
        """Returns what this turn's next step has to wait for: a request of a key that has fewer under way."""
        if self._looking is not None and not self._looking.done():
            return self._looking
        now = self._clock()
        left = self._pause_left(turn, now)
        if left <= 0:
            if turn.paused_since is not None:
                turn.paused_for += now - turn.paused_since
                turn.paused_since = None
            return None
        if turn.paused_since is None:
            turn.paused_since = now
        if self._paused is None or self._paused.done():
            self._paused = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(left, _resume, self._paused)
        return self._paused

    def _pause_left(self, turn: Turn, now: float) -> float:
        if not turn.holds_slot or len(self._holding) < 2:
            return 0.0
        paused = turn.paused_for + (now - turn.paused_since if turn.paused_since is not None else 0.0)
        if paused > max(self.limits.most_paused, (now - turn.began) / 2):
            return 0.0  # others come all the time: who has most under way still goes on for half of the time
        load = self._load(turn.ticket.key)
        newest = max(
            (
                one.last_step
                for key, turns in self._holding.items()
                if self._load(key) < load
                for one in turns
                if one.used < self.limits.favoured_seconds
            ),
            default=-math.inf,
        )
        return newest + self.limits.pause_seconds - now

    def note_step(self, turn: Turn, seconds: float) -> None:
        """Takes note of for how long a turn has used the loop, and when it did so last."""
        turn.used += seconds
        turn.last_step = self._clock()

    def look_around(self) -> None:
        """Lets no further step begin before the loop has taken in what came meanwhile, such as another's request."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(_resume, self._looking)

    def _load(self, key: Hashable) -> float:
        return len(self._holding[key]) / self._weights.get(key, 1.0)

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
            self._holding.setdefault(ticket.key, set()).add(turn)
            self._look_later(turn)
            turn.admitted.set_result(None)

    def _look_later(self, turn: Turn) -> None:
        turn.looked = self._clock(), self._processor()
        turn.timer = asyncio.get_running_loop().call_later(self.limits.slot_seconds, self._look, turn)

    def _look(self, turn: Turn) -> None:
        """Takes the slot of a turn that runs for long without the processor, and gives it to the next one."""
        clock, processor = turn.looked
        if self._processor() - processor > BUSY * (self._clock() - clock):
            self._look_later(turn)
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
            holding = self._holding[turn.ticket.key]
            holding.remove(turn)
            if not holding:
                del self._holding[turn.ticket.key]
            self._order.correct_charge(turn.ticket, self._clock() - turn.began)
            if self._paused is not None:
                _resume(self._paused)


def _resume(paused: asyncio.Future[None]) -> None:
    if not paused.done():
        paused.set_result(None)
