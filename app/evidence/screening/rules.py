"""Defines the states of screening windows, and validates their days and the measures expected in them. Pure."""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum

from app.core.errors import Conflict, Violation

MAX_DAYS = 200
MAX_MEASURES = 50
MAX_GRADES = 30


class WindowState(StrEnum):
    """The state of a screening window."""

    SCHEDULED = "scheduled"
    OPEN = "open"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class WindowGroup(StrEnum):
    """A demographic group of OneRoster, such as sex. The reports of a window can count students by one of these."""

    SEX = "sex"
    AMERICAN_INDIAN_OR_ALASKA_NATIVE = "american_indian_or_alaska_native"
    ASIAN = "asian"
    BLACK_OR_AFRICAN_AMERICAN = "black_or_african_american"
    NATIVE_HAWAIIAN_OR_OTHER_PACIFIC_ISLANDER = "native_hawaiian_or_other_pacific_islander"
    WHITE = "white"
    DEMOGRAPHIC_RACE_TWO_OR_MORE_RACES = "demographic_race_two_or_more_races"
    HISPANIC_OR_LATINO_ETHNICITY = "hispanic_or_latino_ethnicity"


def school_year_of(day: date) -> int:
    """Returns the calendar year in which the school year of a day ends. A school year begins in July."""
    return day.year + (day.month >= 7)


def violations_of_days(opens_on: date, closes_on: date) -> list[Violation]:
    """Returns a violation if a window does not close after the day on which it opens, or is open for too many days."""
    if closes_on <= opens_on:
        return [Violation("/closes_on", "screening.days", "A window closes after the day on which it opens.")]
    if (closes_on - opens_on).days > MAX_DAYS:
        return [Violation("/closes_on", "screening.days", f"A window is open for at most {MAX_DAYS} days.")]
    return []


def violations_of_grades(grades: Sequence[str], at: str) -> list[Violation]:
    """Returns the violations in the grades for which a measure is expected; `at` is the JSON Pointer of the list."""
    violations = []
    for position, grade in enumerate(grades):
        pointer = f"{at}/{position}"
        if not 1 <= len(grade.strip()) <= 20 or "\x00" in grade:
            violations.append(Violation(pointer, "screening.grade", "A grade has 1 to 20 characters."))
        elif grade in grades[:position]:
            violations.append(Violation(pointer, "screening.same_grade", "This grade is named before."))
    return violations


def require_changeable(state: str) -> None:
    """Raises `Conflict` for a closed window, whose results are kept, and for a cancelled window."""
    if state == WindowState.CLOSED:
        raise Conflict("This window is closed, and its results are kept.", code="screening.closed")
    if state == WindowState.CANCELLED:
        raise Conflict("This window was cancelled. Schedule another.", code="screening.cancelled")
