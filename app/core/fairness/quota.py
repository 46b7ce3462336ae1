"""Owns how many requests a key may send in a window of time. Knows no request and no header.

The window of a key begins with its first request, so that the keys' windows do not all end at once. Only so many keys
are counted: the one that was not seen for longest is forgotten.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Self

MOST_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """A quota of requests in a window of seconds."""

    name: str
    quota: int
    window: int

    def divided(self, processes: int) -> Self:
        """Returns the part of the policy that one of so many processes enforces, at least one request."""
        return replace(self, quota=max(1, self.quota // processes))


@dataclass(frozen=True, slots=True)
class QuotaState:
    """What a key has left of a policy, and in how many seconds it has all of it again."""

    policy: Policy
    remaining: int
    reset: int
    is_allowed: bool


class Quotas:
    """The counters of one policy."""

    def __init__(self, policy: Policy, clock: Callable[[], float] = monotonic, most_keys: int = MOST_KEYS) -> None:
        self.policy = policy
        self._clock, self._most_keys = clock, most_keys
        self._windows: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, key: Hashable) -> QuotaState:
        """Counts a request of this key where the quota allows it, and returns how the key stands."""
        began, used = self._window(key)
        is_allowed = used < self.policy.quota
        used += is_allowed
        self._windows[key] = began, used
        self._windows.move_to_end(key)
        if len(self._windows) > self._most_keys:
            self._windows.popitem(last=False)
        reset = max(1, math.ceil(began + self.policy.window - self._clock()))
        return QuotaState(self.policy, self.policy.quota - used, reset, is_allowed)

    def give_back(self, key: Hashable) -> None:
        """Uncounts a request that was counted in the present window."""
        began, used = self._window(key)
        if used:
            self._windows[key] = began, used - 1

    def _window(self, key: Hashable) -> tuple[float, int]:
        now = self._clock()
        began, used = self._windows.get(key, (now, 0))
        return (now, 0) if now >= began + self.policy.window else (began, used)
