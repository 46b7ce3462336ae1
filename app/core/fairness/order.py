"""Decides which waiting request runs next, by start-time fair queuing.

Every key stands for a district. Each key has an account of the time that its requests have taken, divided by the key's
weight (this is called virtual time), and the key with the lowest account is next. The real duration of a request is
known only at its end, so its key is first charged the recent average, and the charge is corrected afterwards. Within a
key, its flows (clients) take turns.

The module is pure: it uses no clock, lock or task.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

FIRST_COST = 0.01
"""The estimated cost of a key's first request, in seconds."""
SMOOTHING = 0.2
"""The weight of the latest request in the estimated cost of the next one."""
KEYS_BEFORE_PRUNING = 256


@dataclass(slots=True)
class _Share:
    """The waiting requests of one key (a district), by flow (a client), and the time that the key has used.

    `served_until` is this time, divided by the key's weight. The key with the lowest value is next.
    """

    weight: float
    served_until: float
    expected: float = FIRST_COST
    flows: OrderedDict[Hashable, deque["Ticket"]] = field(default_factory=OrderedDict)
    waiting: int = 0
    in_service: int = 0


@dataclass(eq=False, slots=True)
class Ticket:
    """One request in the order: waiting, running or ended."""

    key: Hashable
    flow: Hashable
    number: int
    charged: float = 0.0
    is_waiting: bool = True
    is_ended: bool = False


class FairOrder:
    """The waiting requests of all keys, in the order in which they will run."""

    def __init__(self) -> None:
        self._shares: dict[Hashable, _Share] = {}
        self._virtual_time = 0.0
        self._joined = 0
        self.waiting = 0
        self.in_service = 0

    @property
    def keys(self) -> int:
        """Returns the number of keys (districts) in memory.

        These are the keys with requests, and idle keys that have used more than their share. The latter are remembered,
        because their next request must wait.
        """
        return len(self._shares)

    def waiting_of(self, key: Hashable) -> int:
        """Returns the number of waiting requests of this key."""
        share = self._shares.get(key)
        return share.waiting if share else 0

    def join(self, key: Hashable, flow: Hashable = None, weight: float = 1.0) -> Ticket:
        """Adds a request to the waiting requests of its key (a district) and flow (a client), and returns it."""
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share(weight, self._virtual_time)
        share.weight = weight
        self._joined += 1
        ticket = Ticket(key, flow, self._joined)
        share.flows.setdefault(flow, deque()).append(ticket)
        share.waiting += 1
        self.waiting += 1
        return ticket

    def take(self, most_of_one_key: int) -> Ticket | None:
        """Removes the next request from the queue and returns it as running.

        Returns None if no request waits, or if every key with a waiting request already has `most_of_one_key` running.
        """
        candidates = [share for share in self._shares.values() if share.waiting and share.in_service < most_of_one_key]
        if not candidates:
            return None
        share = min(candidates, key=self._rank)
        flow, queue = next(iter(share.flows.items()))
        ticket = queue.popleft()
        share.flows.move_to_end(flow)
        if not queue:
            del share.flows[flow]
        self._virtual_time = max(self._virtual_time, share.served_until)
        ticket.is_waiting = False
        ticket.charged = share.expected
        share.served_until = self._virtual_time + ticket.charged / share.weight
        share.waiting -= 1
        share.in_service += 1
        self.waiting -= 1
        self.in_service += 1
        return ticket

    def correct_charge(self, ticket: Ticket, cost: float) -> None:
        """Replaces the estimated charge of a running request by its real cost."""
        share = self._shares[ticket.key]
        share.served_until += (cost - ticket.charged) / share.weight
        share.expected += SMOOTHING * (cost - share.expected)
        ticket.charged = cost

    def leave(self, ticket: Ticket) -> None:
        """Ends a request, whether it waits or runs; a second call does nothing."""
        if ticket.is_ended:
            return
        ticket.is_ended = True
        share = self._shares[ticket.key]
        if ticket.is_waiting:
            queue = share.flows[ticket.flow]
            queue.remove(ticket)
            if not queue:
                del share.flows[ticket.flow]
            share.waiting -= 1
            self.waiting -= 1
        else:
            share.in_service -= 1
            self.in_service -= 1
        self._forget()

    def _rank(self, share: _Share) -> tuple[float, int, int]:
        first = next(iter(share.flows.values()))[0]
        return max(share.served_until, self._virtual_time), share.in_service, first.number

    def _forget(self) -> None:
        """Deletes the accounts of keys (districts) without requests, to save memory.

        If no request waits or runs, all accounts are deleted. Otherwise, if there are many keys, the accounts of idle
        keys are deleted. The account of an idle key stays if the key has used more than its share, because its next
        request must wait.
        """
        if not self.waiting and not self.in_service:
            self._shares.clear()
            self._virtual_time = 0.0
        elif len(self._shares) > KEYS_BEFORE_PRUNING:
            idle = [key for key, share in self._shares.items() if not share.waiting and not share.in_service]
            for key in idle:
                if self._shares[key].served_until <= self._virtual_time:
                    del self._shares[key]
