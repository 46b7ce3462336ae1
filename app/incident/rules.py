"""Validates an incident. Reads no database."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from app.core.errors import Violation

MAX_BATCH: Final = 500
OLDEST: Final = timedelta(days=3 * 366)
"""The largest age of an incident when it is sent. A school that changes its system sends the incidents of three
years.
"""
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
REFERENCE: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""What a shared reference looks like. It has no spaces, so that it is an identifier and not a sentence about people."""


def is_instant(occurred_at: datetime) -> bool:
    """Returns whether an instant has an offset and can be converted to every time zone."""
    return occurred_at.tzinfo is not None and EARLIEST <= occurred_at < LATEST


def violations_of_incident(
    occurred_at: datetime | None, shared_reference: str | None, today: date, zone: str, at: str
) -> list[Violation]:
    """Returns the violations in the values of an incident. `zone` is the district's time zone.

    A value that could not be read is None, and gets no violation here.
    """
    violations = []
    if occurred_at is not None:
        violations += _violations_of_instant(occurred_at, today, zone, f"{at}/occurred_at")
    if shared_reference is not None and not REFERENCE.fullmatch(shared_reference):
        detail = "A reference has up to 64 letters, digits, and the characters . _ : and -."
        violations.append(Violation(f"{at}/shared_reference", "incident.reference", detail))
    return violations


def _violations_of_instant(occurred_at: datetime, today: date, zone: str, pointer: str) -> list[Violation]:
    if not is_instant(occurred_at):
        detail = "An instant from 2000 to 2099 with an offset, such as 2026-09-28T15:40:00Z."
        return [Violation(pointer, "incident.occurred_at", detail)]
    day = day_of(occurred_at, zone)
    if day > today:
        return [Violation(pointer, "incident.future", "This day is in the future.")]
    if day < today - OLDEST:
        return [Violation(pointer, "incident.too_old", "This day is more than three years ago.")]
    return []


def day_of(occurred_at: datetime, zone: str) -> date:
    """Returns the day of an instant in a time zone."""
    return occurred_at.astimezone(ZoneInfo(zone)).date()
