"""Provides the current time: instants in UTC, dates in a district's own time zone.

Never uses the machine's time zone.
"""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


def now() -> datetime:
    """Returns the current instant in UTC."""
    return datetime.now(UTC)


def show_instant(instant: datetime) -> str:
    """Returns an instant in UTC as every answer writes it, such as `2026-09-08T13:00:00Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def today_in(zone: str) -> date:
    """Returns today's date in an IANA time zone."""
    return datetime.now(ZoneInfo(zone)).date()


def monday_of(day: date) -> date:
    """Returns the Monday of the week that contains this day."""
    return day - timedelta(days=day.weekday())
