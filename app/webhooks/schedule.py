"""Decides when a delivery is retried and what a response means for it.

Pure: reads no clock and draws no random numbers.
"""

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
"""The wait before each attempt, counted from the previous one: ten attempts over three days."""
SLOWED = timedelta(minutes=1)
"""The pause of an endpoint that reports overload without a `Retry-After`."""
MAX_REST = timedelta(days=1)  # the longest pause that a receiver can ask for
FAILING_LIMIT = timedelta(days=5)
"""The time after which an endpoint is disabled if every attempt has failed."""
OVERLOADED = frozenset({429, 502, 504})
JITTER = 0.2  # each wait is lengthened by up to this share, which spreads the retries


class Meaning(StrEnum):
    """The meaning of a response for the delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class NextStep:
    """The consequence of an attempt: `wait` before this delivery's retry, `rest` for all deliveries of the endpoint."""

    meaning: Meaning
    wait: timedelta | None = None
    rest: timedelta | None = None


def wait_before(number: int, jitter: float) -> timedelta:
    """Returns the wait before attempt `number` (from 1), with a jitter in [0, 1)."""
    if not 0 <= jitter < 1:
        raise ValueError("A jitter is a number from 0 to below 1.")
    return DELAYS[number - 1] * (1 + JITTER * jitter)


def retry_after(header: str | None, at: datetime) -> timedelta | None:
    """Returns how long a receiver asks us to wait from `at` on, at most a day (`Retry-After`, RFC 9110 §10.2.3).

    Returns None without the header or for an invalid value.
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
    """Returns whether an endpoint whose attempts have all failed since this instant must be disabled."""
    return at - failing_since >= FAILING_LIMIT


def next_step(number: int, status: int | None, jitter: float, requested_wait: timedelta | None = None) -> NextStep:
    """Returns the consequence of attempt `number`; `status` is None if there was no response.

    2xx means delivered; 410 Gone disables the endpoint (Standard Webhooks); everything else, including a redirect, is
    retried, but not before the time that the receiver asked for. A receiver that is overloaded or asked for time gets
    no other delivery meanwhile.
    """
    if status is not None and 200 <= status < 300:
        return NextStep(Meaning.DELIVERED)
    if status == 410:
        return NextStep(Meaning.DISABLE)
    rest = requested_wait if requested_wait is not None else SLOWED if status in OVERLOADED else None
    if number >= len(DELAYS):
        return NextStep(Meaning.FAILED, rest=rest)
    return NextStep(Meaning.RETRY, max(wait_before(number + 1, jitter), requested_wait or timedelta(0)), rest)
