"""Decides when a delivery is attempted again, and what a response means for the delivery. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

DELAYS = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""The wait before each attempt, counted from the previous attempt: ten attempts in three days."""
SLOWED = timedelta(minutes=1)
"""The pause for an endpoint that reports overload but sends no `Retry-After`."""
MAX_REST = timedelta(days=1)  # The longest pause that a receiver can request.
FAILING_LIMIT = timedelta(days=5)
"""An endpoint is disabled once all attempts to reach it have failed for this long."""
OVERLOADED = frozenset({429, 502, 504})
JITTER = 0.2  # Each wait is lengthened by up to this share, at random, so that the attempts are spread.


class Meaning(StrEnum):
    """What the result of an attempt can mean: delivered, to be retried, failed for good, endpoint to be disabled."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What happens after an attempt to send a delivery.

    `wait` is the time before the next attempt of this delivery. `rest` is the time during which nothing is sent to the
    endpoint.
    """

    meaning: Meaning
    wait: timedelta | None = None
    rest: timedelta | None = None


def wait_before(number: int, jitter: float) -> timedelta:
    """Returns the wait before an attempt, given its number, which begins with 1.

    `jitter` is a random number from 0 to below 1. It lengthens the wait by up to the share `JITTER`.
    """
    if not 0 <= jitter < 1:
        raise ValueError("A jitter is a number from 0 to below 1.")
    return DELAYS[number - 1] * (1 + JITTER * jitter)


def retry_after(header: str | None, at: datetime) -> timedelta | None:
    """Returns the wait that a receiver requests by `Retry-After` (RFC 9110 §10.2.3), at most a day.

    If the header has a date, the wait is from `at` to this date. Returns None without the header or for an invalid
    value.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), MAX_REST)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - at, timedelta(0)), MAX_REST)


def has_failed_too_long(failing_since: datetime, at: datetime) -> bool:
    """Returns whether an endpoint has failed for so long at the time `at` that it must be disabled.

    All attempts since `failing_since` have failed.
    """
    return at - failing_since >= FAILING_LIMIT


def next_step(number: int, status: int | None, jitter: float, requested_wait: timedelta | None = None) -> NextStep:
    """Returns what happens after the attempt with this number. `status` is the HTTP status, or None without a response.

    * 2xx means that the event was delivered.
    * 410 Gone disables the endpoint (Standard Webhooks).
    * Anything else, including a redirect, leads to another attempt, but not before the time that the receiver
      requested. After the last attempt, the delivery has failed.

    If the receiver is overloaded or requested a wait, nothing is sent to the endpoint for a while (`rest`).
    """
    if status is not None and 200 <= status < 300:
        return NextStep(Meaning.DELIVERED)
    if status == 410:
        return NextStep(Meaning.DISABLE)
    rest = requested_wait if requested_wait is not None else SLOWED if status in OVERLOADED else None
    if number >= len(DELAYS):
        return NextStep(Meaning.FAILED, rest=rest)
    return NextStep(Meaning.RETRY, max(wait_before(number + 1, jitter), requested_wait or timedelta(0)), rest)
