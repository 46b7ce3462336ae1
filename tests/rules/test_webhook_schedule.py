"""Tests when a delivery is attempted again, and what a response means. No network is used."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.schedule import (
    DELAYS,
    JITTER,
    MAX_REST,
    SLOWED,
    Meaning,
    has_failed_too_long,
    next_step,
    retry_after,
    wait_before,
)

JITTERS = st.floats(0, 1, exclude_max=True)
NUMBERS = st.integers(1, len(DELAYS))
STATUSES = st.one_of(st.none(), st.integers(100, 599))


def test_the_first_attempt_is_at_once_and_the_last_after_three_days() -> None:
    """The first attempt of a delivery is made at once, and the tenth and last after about 75 hours."""
    assert wait_before(1, 0) == timedelta(0)
    assert len(DELAYS) == 10
    assert sum(DELAYS, timedelta(0)) == timedelta(hours=75, minutes=35, seconds=5)


@given(NUMBERS, JITTERS)
def test_a_wait_is_never_shorter_than_stated_and_little_longer(number: int, jitter: float) -> None:
    """The wait before the next attempt is never shorter than stated, and jitter lengthens it only a little."""
    stated = DELAYS[number - 1]
    assert stated <= wait_before(number, jitter) <= stated * (1 + JITTER)


@pytest.mark.parametrize("jitter", [-0.1, 1.0, float("nan")])
def test_a_jitter_outside_its_range_is_refused(jitter: float) -> None:
    """A jitter outside its range raises an error."""
    with pytest.raises(ValueError, match="jitter"):
        wait_before(1, jitter)


@given(NUMBERS, STATUSES, JITTERS)
def test_every_answer_means_exactly_one_thing(number: int, status: int | None, jitter: float) -> None:
    """2xx means delivered, 410 disables, and anything else is retried until the attempts are used up."""
    step = next_step(number, status, jitter)
    if status is not None and 200 <= status <= 299:
        assert step.meaning is Meaning.DELIVERED
    elif status == 410:
        assert step.meaning is Meaning.DISABLE
    elif number == len(DELAYS):
        assert step.meaning is Meaning.FAILED
    else:
        assert step.meaning is Meaning.RETRY
    assert (step.wait is not None) == (step.meaning is Meaning.RETRY)


@pytest.mark.parametrize(
    ("header", "waits"),
    [
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta(0)),
        ("Mon, 02 Mar 2026 12:10:00 GMT", timedelta(minutes=10)),
        ("Mon, 02 Mar 2026 11:00:00 GMT", timedelta(0)),
        ("9" * 400, MAX_REST),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_REST),
        (None, None),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("1.5", None),
        ("１２", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, waits: timedelta | None) -> None:
    """`Retry-After` is read as seconds or as a date, the two forms of RFC 9110. Anything else is ignored.

    A wait of more than a day is shortened to a day.
    """
    assert retry_after(header, datetime(2026, 3, 2, 12, tzinfo=UTC)) == waits


@given(st.text(max_size=60))
def test_no_header_breaks_the_reading(header: str) -> None:
    """No value of the Retry-After header raises an exception."""
    wait = retry_after(header, datetime(2026, 3, 2, 12, tzinfo=UTC))
    assert wait is None or timedelta(0) <= wait <= MAX_REST


@given(NUMBERS, STATUSES, JITTERS, st.timedeltas(timedelta(0), MAX_REST))
def test_what_a_receiver_asks_for_is_honoured(number: int, status: int | None, jitter: float, wait: timedelta) -> None:
    """The next attempt waits for the longer of two times: the scheduled wait and the wait that the receiver requests.

    The endpoint is paused for the wait that the receiver requests.
    """
    step = next_step(number, status, jitter, wait)
    if step.meaning is Meaning.RETRY:
        assert step.wait == max(wait_before(number + 1, jitter), wait)
        assert step.rest == wait


@pytest.mark.parametrize("status", [429, 502, 504])
def test_an_overloaded_receiver_gets_a_rest(status: int) -> None:
    """A receiver that says it is overloaded gets a pause, even if it names no time.

    After any other failure, there is no pause for the receiver's other deliveries.
    """
    assert next_step(1, status, 0).rest == SLOWED
    assert next_step(1, 500, 0).rest is None


def test_five_days_of_failure_are_hopeless() -> None:
    """An endpoint is disabled after exactly five days of failures."""
    began = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert not has_failed_too_long(began, began + timedelta(days=5, seconds=-1))
    assert has_failed_too_long(began, began + timedelta(days=5))
