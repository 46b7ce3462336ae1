"""Owns when a delivery is tried again and what an answer means: pure. Never reads a clock or rolls dice."""

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
"""The wait before each attempt, after the one before it: ten attempts over three days."""
SLOWED = timedelta(minutes=1)
"""How long an endpoint rests that says it is overloaded, and does not say for how long."""
LONGEST_REST = timedelta(days=1)  # a receiver may ask for more; it is asked again after this
HOPELESS = timedelta(days=5)
"""Nothing but failure for so long disables an endpoint."""
OVERLOADED = frozenset({429, 502, 504})
JITTER = 0.2  # a wait is lengthened by up to this share, so that what failed together does not come back together


class Meaning(StrEnum):
    """What an answer means for the delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What follows an attempt: `wait` for this delivery (a retry only), `rest` for everything of the endpoint's."""

    meaning: Meaning
    wait: timedelta | None = None
    rest: timedelta | None = None


def wait_before(number: int, jitter: float) -> timedelta:
    """The wait before attempt `number` (from 1), with a jitter in [0, 1)."""
    if not 0 <= jitter < 1:
        raise ValueError("A jitter is a number from 0 to below 1.")
    return DELAYS[number - 1] * (1 + JITTER * jitter)


def retry_after(header: str | None, at: datetime) -> timedelta | None:
    """How long a receiver asks us to wait (RFC 9110 §10.2.3: seconds, or a date), from `at`; a day at most.

    None without the header, or where it says neither.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), LONGEST_REST)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - at, timedelta(0)), LONGEST_REST)


def has_failed_too_long(failing_since: datetime, at: datetime) -> bool:
    """Whether an endpoint that has only failed since then is given up."""
    return at - failing_since >= HOPELESS


def next_step(number: int, status: int | None, jitter: float, asked: timedelta | None = None) -> NextStep:
    """What follows attempt `number` that was answered with this status, or not at all.

    2xx is delivered; 410 Gone disables the endpoint (Standard Webhooks); all else, a redirect too, is tried again, not
    before the receiver `asked`. An overloaded receiver, or one that asked, gets nothing at all meanwhile.
    """
    if status is not None and 200 <= status < 300:
        return NextStep(Meaning.DELIVERED)
    if status == 410:
        return NextStep(Meaning.DISABLE)
    rest = asked if asked is not None else SLOWED if status in OVERLOADED else None
    if number >= len(DELAYS):
        return NextStep(Meaning.FAILED, rest=rest)
    return NextStep(Meaning.RETRY, max(wait_before(number + 1, jitter), asked or timedelta(0)), rest)
