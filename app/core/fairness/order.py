"""Owns whose waiting request is served next: weighted fair queuing. Holds no clock, no lock and no task.

Every key (a district) has a share by its weight. The order is start-time fair queuing: each request is charged to its
key in virtual time, and the key that has received least is next. What a request costs is known only when it has ended,
so it is charged what the key's requests have cost lately, and the difference is settled afterwards. Within a key its
flows (clients) take turns.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

FIRST_COST = 0.01
"""What the first request of a key is expected to cost."""
SMOOTHING = 0.2
"""The weight of the latest request in what the next one is expected to cost."""
KEYS_BEFORE_PRUNING = 256


@dataclass(slots=True)
class _Share:
    """The requests of one key, and the virtual time up to which the key has been served."""

    weight: float
    served_until: float
    expected: float = FIRST_COST
    flows: OrderedDict[Hashable, deque["Ticket"]] = field(default_factory=OrderedDict)
    waiting: int = 0
    in_service: int = 0


@dataclass(eq=False, slots=True)
class Ticket:
    """One request: waiting, in service or ended."""

    key: Hashable
    flow: Hashable
    number: int
    charged: float = 0.0
    is_waiting: bool = True
    is_ended: bool = False


class FairOrder:
    """The waiting requests of all keys, in the order of service."""

    def __init__(self) -> None:
        self._shares: dict[Hashable, _Share] = {}
        self._virtual_time = 0.0
        self._joined = 0
        self.waiting = 0
        self.in_service = 0

    @property
    def keys(self) -> int:
        """Returns how many keys are remembered."""
        return len(self._shares)

    def waiting_of(self, key: Hashable) -> int:
        """Returns how many requests of this key wait."""
        share = self._shares.get(key)
        return share.waiting if share else 0

    def join(self, key: Hashable, flow: Hashable = None, weight: float = 1.0) -> Ticket:
        """Adds a request to the queue of its key and flow."""
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
        """Moves the next request into service; None where none waits, or those that wait have enough in service."""
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

    def settle(self, ticket: Ticket, cost: float) -> None:
        """Replaces what a request in service was charged by what it has cost."""
        share = self._shares[ticket.key]
        share.served_until += (cost - ticket.charged) / share.weight
        share.expected += SMOOTHING * (cost - share.expected)
        ticket.charged = cost

    def leave(self, ticket: Ticket) -> None:
        """Ends a request, whether it waited or was in service; a second call does nothing."""
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
        """Drops the keys without requests: all of them when nothing is left to do, else those that owe nothing."""
        if not self.waiting and not self.in_service:
            self._shares.clear()
            self._virtual_time = 0.0
        elif len(self._shares) > KEYS_BEFORE_PRUNING:
            idle = [key for key, share in self._shares.items() if not share.waiting and not share.in_service]
            for key in idle:
                if self._shares[key].served_until <= self._virtual_time:
                    del self._shares[key]
