"""Counts how many requests each key (a caller) sends in a window of time.

The window of a key begins with its first request, so that not all windows end at once. The number of counted keys is
bounded: when it is reached, the least recently used key is dropped.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Self

MAX_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Policy:
    """A quota: the number of requests that are allowed in a window of time, and the length of the window in seconds."""

    name: str
    quota: int
    window: int

    def divided(self, processes: int) -> Self:
        """Returns the quota of one process, if this quota is divided equally among `processes` processes.

        The quota of a process is at least one request.
        """
        return replace(self, quota=max(1, self.quota // processes))


@dataclass(frozen=True, slots=True)
class QuotaState:
    """The state of one key's quota: the number of requests left, and the seconds until its window ends."""

    policy: Policy
    remaining: int
    reset: int
    is_allowed: bool


class Quotas:
    """Counts the requests of each key, such as a client, against one quota."""

    def __init__(self, policy: Policy, clock: Callable[[], float] = monotonic, most_keys: int = MAX_KEYS) -> None:
        self.policy = policy
        self._clock, self._most_keys = clock, most_keys
        self._windows: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, key: Hashable) -> QuotaState:
        """Counts a request of this key, unless its quota is used up, and returns the state of the quota."""
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
        """Removes a counted request from the key's current window."""
        began, used = self._window(key)
        if used:
            self._windows[key] = began, used - 1

    def _window(self, key: Hashable) -> tuple[float, int]:
        now = self._clock()
        began, used = self._windows.get(key, (now, 0))
        return (now, 0) if now >= began + self.policy.window else (began, used)
