"""Defines the states of attendance, and validates a record. Pure."""

from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from app.core.errors import Violation

MAX_BATCH: Final = 500
MINUTES_OF_DAY: Final = 24 * 60
OLDEST: Final = timedelta(days=3 * 366)
"""The largest age of a record when it is sent. A school that changes its system sends the records of three years."""


class AttendanceStatus(StrEnum):
    """Whether the student was there. `tardy` means that the student came late or left before the end."""

    PRESENT = "present"
    ABSENT = "absent"
    TARDY = "tardy"


def violations_of_record(day: date | None, minutes_missed: int | None, today: date, at: str) -> list[Violation]:
    """Returns the violations in the values of an attendance record.

    A value that could not be read is None, and gets no violation here.
    """
    violations = []
    if day is not None and day > today:
        violations.append(Violation(f"{at}/day", "attendance.future", "This day is in the future."))
    if day is not None and day < today - OLDEST:
        violations.append(Violation(f"{at}/day", "attendance.too_old", "This day is more than three years ago."))
    if minutes_missed is not None and not 0 <= minutes_missed <= MINUTES_OF_DAY:
        detail = f"This is from 0 to {MINUTES_OF_DAY} minutes."
        violations.append(Violation(f"{at}/minutes_missed", "attendance.minutes", detail))
    return violations
