"""Owns when a delivery is tried again and what an answer means: pure. Never reads a clock or rolls dice."""

from dataclasses import dataclass
from datetime import timedelta
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
JITTER = 0.2  # a wait is lengthened by up to this share, so that what failed together does not come back together


class Meaning(StrEnum):
    """What an answer means for the delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    DISABLE = "disable"


@dataclass(frozen=True, slots=True)
class Next:
    """What follows an attempt; `wait` is given for a retry only."""

    meaning: Meaning
    wait: timedelta | None = None


def wait_before(number: int, jitter: float) -> timedelta:
    """The wait before attempt `number` (from 1), with a jitter in [0, 1)."""
    if not 0 <= jitter < 1:
        raise ValueError("A jitter is a number from 0 to below 1.")
    return DELAYS[number - 1] * (1 + JITTER * jitter)


def after(number: int, status: int | None, jitter: float) -> Next:
    """What follows attempt `number` that was answered with this status, or not at all.

    2xx is delivered; 410 Gone disables the endpoint (Standard Webhooks); all else, a redirect too, is tried again.
    """
    if status is not None and 200 <= status < 300:
        return Next(Meaning.DELIVERED)
    if status == 410:
        return Next(Meaning.DISABLE)
    if number >= len(DELAYS):
        return Next(Meaning.FAILED)
    return Next(Meaning.RETRY, wait_before(number + 1, jitter))
