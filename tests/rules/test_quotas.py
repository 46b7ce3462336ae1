"""Tests quotas by key: exact counts, separate windows, limited memory, and the part of a quota for each process."""

import pytest

from app.core.fairness.quota import Policy, Quotas

POLICY = Policy("client", 3, 60)


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_gets_its_quota_and_no_more_until_its_window_ends() -> None:
    """A client gets exactly the announced quota until the announced reset."""
    clock = _Clock()
    quotas = Quotas(POLICY, clock)
    assert [quotas.take("a").remaining for _ in range(3)] == [2, 1, 0]
    clock.now += 20.5
    refused = quotas.take("a")
    assert (refused.is_allowed, refused.remaining, refused.reset) == (False, 0, 40)
    assert quotas.take("b").is_allowed, "another key has a quota of its own"
    clock.now += refused.reset
    assert quotas.take("a").is_allowed
    assert quotas.take("b").is_allowed


def test_what_is_given_back_can_be_used_again() -> None:
    """A request that was counted can be returned to the quota and used again.

    The number of used requests never falls below zero.
    """
    quotas = Quotas(POLICY, _Clock())
    quotas.give_back("a")
    assert quotas.take("a").remaining == 2
    quotas.give_back("a")
    assert quotas.take("a").remaining == 2


def test_memory_is_bounded() -> None:
    """The number of counters is limited: new keys replace the oldest ones."""
    quotas = Quotas(POLICY, _Clock(), most_keys=10)
    for number in range(1000):
        quotas.take(number)
    assert len(quotas) == 10
    assert quotas.take(999).remaining == 1


@pytest.mark.parametrize(("processes", "quota"), [(1, 100), (3, 33), (8, 12), (1000, 1)])
def test_each_process_has_its_part(processes: int, quota: int) -> None:
    """The quota of one process is an equal part of the whole quota, rounded down, and at least one request."""
    assert Policy("district", 100, 60).divided(processes) == Policy("district", quota, 60)
