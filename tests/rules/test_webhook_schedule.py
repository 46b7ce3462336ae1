"""When a delivery is tried again, and what an answer means. Pure."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.schedule import DELAYS, JITTER, Meaning, after, wait_before

JITTERS = st.floats(0, 1, exclude_max=True)
NUMBERS = st.integers(1, len(DELAYS))
STATUSES = st.one_of(st.none(), st.integers(100, 599))


def test_the_first_attempt_is_at_once_and_the_last_after_three_days() -> None:
    """The schedule that integrators know: ten attempts over 75 hours and some."""
    assert wait_before(1, 0) == timedelta(0)
    assert len(DELAYS) == 10
    assert sum(DELAYS, timedelta(0)) == timedelta(hours=75, minutes=35, seconds=5)


@given(NUMBERS, JITTERS)
def test_a_wait_is_never_shorter_than_stated_and_little_longer(number: int, jitter: float) -> None:
    """Jitter spreads what failed together; it never hurries."""
    stated = DELAYS[number - 1]
    assert stated <= wait_before(number, jitter) <= stated * (1 + JITTER)


@pytest.mark.parametrize("jitter", [-0.1, 1.0, float("nan")])
def test_a_jitter_outside_its_range_is_refused(jitter: float) -> None:
    """A fault of ours, said at once."""
    with pytest.raises(ValueError, match="jitter"):
        wait_before(1, jitter)


@given(NUMBERS, STATUSES, JITTERS)
def test_every_answer_means_exactly_one_thing(number: int, status: int | None, jitter: float) -> None:
    """2xx delivered, 410 disables, all else (redirects, silence) is tried again until the attempts are used up."""
    found = after(number, status, jitter)
    if status is not None and 200 <= status <= 299:
        assert found.meaning is Meaning.DELIVERED
    elif status == 410:
        assert found.meaning is Meaning.DISABLE
    elif number == len(DELAYS):
        assert found.meaning is Meaning.FAILED
    else:
        assert found.meaning is Meaning.RETRY
    assert (found.wait is not None) == (found.meaning is Meaning.RETRY)
