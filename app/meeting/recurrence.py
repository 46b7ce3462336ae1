"""Parses a recurrence rule of RFC 5545, and lists the days on which it occurs. Uses no database.

The rule of a series gives only the days of its meetings; the series itself has the time of day. The days are found by
testing each day of the period. A library would search for the next occurrence. For a rule that never occurs, such as
one for the thirtieth of February, it would search until the year 9999 and take many seconds.
"""

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final

from app.core.errors import Invalid, Violation

FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY")
WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WEEKDAY: Final = "|".join(WEEKDAYS)
_DAY: Final = rf"(?:[+-]?[1-5])?(?:{_WEEKDAY})"
_MONTH_DAY: Final = r"[+-]?(?:[1-9]|[12]\d|3[01])"
_MONTH: Final = r"(?:[1-9]|1[0-2])"
_PLACE: Final = r"[+-]?[1-9]\d?"
PARTS: Final[Mapping[str, str]] = {
    "FREQ": "|".join(FREQUENCIES),
    "INTERVAL": r"[1-9]\d?",
    "COUNT": r"[1-9]\d{0,2}",
    "UNTIL": r"\d{8}(?:T\d{6}Z?)?",
    "BYDAY": rf"{_DAY}(?:,{_DAY}){{0,20}}",
    "BYMONTHDAY": rf"{_MONTH_DAY}(?:,{_MONTH_DAY}){{0,30}}",
    "BYMONTH": rf"{_MONTH}(?:,{_MONTH}){{0,11}}",
    "BYSETPOS": rf"{_PLACE}(?:,{_PLACE}){{0,20}}",
    "WKST": _WEEKDAY,
}
"""The parts that a rule may have, each with the pattern of its value.

Parts for times of day and for days of the year are not allowed.
"""
FIRST_WITHIN: Final = timedelta(days=400)
"""The time after the beginning of a series within which its rule must occur at least once."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A parsed rule.

    * `weekdays` are pairs, such as (0, 4) for "every Friday", (2, 4) for "the second Friday of the month" and (-1, 4)
      for "the last Friday of the month". The second number is the weekday, with 0 for Monday.
    * `places` are the values of BYSETPOS.
    """

    frequency: str
    interval: int
    count: int | None
    until: date | None
    weekdays: tuple[tuple[int, int], ...]
    month_days: tuple[int, ...]
    months: tuple[int, ...]
    places: tuple[int, ...]
    week_begins: int

    def days(self, begins_on: date, since: date, until: date) -> list[date]:
        """Returns the days from `since` to `until`, both included, of a series that begins on `begins_on`."""
        last = until if self.until is None else min(until, self.until)
        # Only a rule with COUNT needs the days before `since`.
        needed_from = begins_on if self.count is not None else max(begins_on, since)
        first = needed_from - timedelta(days=31 if self.frequency == "MONTHLY" else 6)
        candidates = (first + timedelta(days=number) for number in range((last - first).days + 32))
        own = self._number(begins_on)
        days_of_rule: list[date] = []
        for number, period in groupby(candidates, self._number):
            if self.count is not None and len(days_of_rule) >= self.count:
                break
            if number >= own and (number - own) % self.interval == 0:
                days = self._chosen([day for day in period if self._matches(day, begins_on)])
                days_of_rule += [day for day in days if begins_on <= day <= last]
        return [day for day in days_of_rule[: self.count] if day >= since]

    def _number(self, day: date) -> int:
        """Returns a number that is the same for all days of one period, and grows by 1 from each period to the next.

        The period is a day, a week or a month, by the frequency of the rule.
        """
        if self.frequency == "MONTHLY":
            return day.year * 12 + day.month
        if self.frequency == "WEEKLY":
            return (day.toordinal() - 1 - self.week_begins) // 7
        return day.toordinal()

    def _matches(self, day: date, begins_on: date) -> bool:
        if self.months and day.month not in self.months:
            return False
        length = monthrange(day.year, day.month)[1]
        if self.month_days and not {day.day, day.day - length - 1} & set(self.month_days):
            return False
        if self.weekdays:
            places = {0, (day.day - 1) // 7 + 1, -((length - day.day) // 7 + 1)}
            return any(weekday == day.weekday() and place in places for place, weekday in self.weekdays)
        if self.frequency == "WEEKLY":
            return day.weekday() == begins_on.weekday()
        return self.frequency == "DAILY" or bool(self.month_days) or day.day == begins_on.day

    def _chosen(self, days: Sequence[date]) -> list[date]:
        """Returns the days whose places in the period are listed in BYSETPOS. Without BYSETPOS, returns all days."""
        if not self.places:
            return list(days)
        return [day for place, day in enumerate(days, 1) if {place, place - len(days) - 1} & set(self.places)]


def check_rule(rule: str, begins_on: date, pointer: str = "/rule") -> None:
    """Raises `Invalid` unless the rule can be parsed and occurs within `FIRST_WITHIN` from `begins_on`."""
    if not parse_rule(rule, pointer).days(begins_on, begins_on, begins_on + FIRST_WITHIN):
        detail = "By this rule the meeting never occurs in the year after its beginning."
        raise Invalid([Violation(pointer, "meeting_series.never_occurs", detail)])


def parse_rule(rule: str, pointer: str = "/rule") -> Recurrence:
    """Returns the parsed rule; raises `Invalid` for parts that are unknown or malformed, or contradict each other."""
    parts = _parts_of(rule, pointer)
    frequency = parts["FREQ"]
    weekdays = tuple((int(day[:-2] or 0), WEEKDAYS.index(day[-2:])) for day in _list(parts, "BYDAY"))
    contradictions = {
        "A rule has COUNT or UNTIL, and not both.": {"COUNT", "UNTIL"} <= parts.keys(),
        "BYDAY has a place in the month only with FREQ=MONTHLY.": frequency != "MONTHLY"
        and any(place for place, _ in weekdays),
        "BYMONTHDAY does not go with FREQ=WEEKLY.": frequency == "WEEKLY" and "BYMONTHDAY" in parts,
        "BYSETPOS chooses among the days of another part, such as BYDAY.": "BYSETPOS" in parts
        and not {"BYDAY", "BYMONTHDAY"} & parts.keys(),
    }
    for detail, is_so in contradictions.items():
        if is_so:
            raise _unreadable(pointer, detail)
    return Recurrence(
        frequency=frequency,
        interval=int(parts.get("INTERVAL", 1)),
        count=int(parts["COUNT"]) if "COUNT" in parts else None,
        until=_day_of(parts["UNTIL"], pointer) if "UNTIL" in parts else None,
        weekdays=weekdays,
        month_days=tuple(int(day) for day in _list(parts, "BYMONTHDAY")),
        months=tuple(int(month) for month in _list(parts, "BYMONTH")),
        places=tuple(int(place) for place in _list(parts, "BYSETPOS")),
        week_begins=WEEKDAYS.index(parts.get("WKST", "MO")),
    )


def _parts_of(rule: str, pointer: str) -> dict[str, str]:
    """Returns the parts of a rule by name; raises `Invalid` for a part that is unknown, repeated or malformed."""
    parts: dict[str, str] = {}
    if not rule.isascii():  # in capitals, some non-ASCII letters become ASCII
        raise _unreadable(pointer, "A rule has ASCII characters only.")
    for part in rule.strip().upper().removeprefix("RRULE:").rstrip(";").split(";"):
        name, _, value = part.partition("=")
        if name not in PARTS:
            raise _unreadable(pointer, f"A rule has the parts {', '.join(PARTS)}, such as FREQ=WEEKLY;BYDAY=TU.")
        if name in parts or not re.fullmatch(PARTS[name], value, re.ASCII):
            raise _unreadable(pointer, f"The value of {name} cannot be read, or is given twice.")
        parts[name] = value
    if "FREQ" not in parts:
        raise _unreadable(pointer, f"Name FREQ: {', '.join(FREQUENCIES)}.")
    return parts


def _list(parts: Mapping[str, str], name: str) -> list[str]:
    return parts[name].split(",") if name in parts else []


def _day_of(text: str, pointer: str) -> date:
    try:
        return datetime.strptime(text[:8], "%Y%m%d").date()  # a day, without a time zone
    except ValueError:
        raise _unreadable(pointer, "UNTIL is no day of the calendar.") from None


def _unreadable(pointer: str, detail: str) -> Invalid:
    return Invalid([Violation(pointer, "meeting_series.rule", detail)])
