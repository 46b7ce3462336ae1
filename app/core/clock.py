"""Owns the time: instants in UTC, dates in a district's own zone. Never reads the machine's time zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


def now() -> datetime:
    """This instant, in UTC."""
    return datetime.now(UTC)


def today_in(zone: str) -> date:
    """The date on the wall of a district whose IANA time zone is `zone`."""
    return datetime.now(ZoneInfo(zone)).date()


def monday_of(day: date) -> date:
    """The Monday of the day's week."""
    return day - timedelta(days=day.weekday())
