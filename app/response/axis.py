"""Owns where days stand in a picture: the axis of instructional weeks, and its breaks. Reads nothing.

Week 0 is the one in which the first phase begins. A break takes no room, as in the judging. Within a week a day stands
a tenth beside the next, Wednesday in the middle; a day of a break stands half a week after the last week before it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from app.core.clock import monday_of


@dataclass(frozen=True, slots=True)
class Break:
    """Weeks without instruction, after a week of the axis; both days included."""

    after_week: int
    begins_on: date
    ends_on: date
    weeks: int


class Axis:
    """Where days stand: instructional weeks from the first, without those that are `off`."""

    def __init__(self, begins: date, first: date, last: date, off: Collection[date]) -> None:
        last = max(monday_of(last), monday_of(begins))
        mondays = [monday_of(first) + timedelta(weeks=n) for n in range((last - monday_of(first)).days // 7 + 1)] or [
            monday_of(begins)
        ]
        taught = [monday for monday in mondays if monday not in off] or mondays
        zero = next((place for place, monday in enumerate(taught) if monday >= monday_of(begins)), len(taught) - 1)
        self.mondays = {place - zero: monday for place, monday in enumerate(taught)}
        self._weeks = {monday: week for week, monday in self.mondays.items()}
        self._first = min(self.mondays)

    def week(self, day: date) -> int:
        """The week of a day; the one before it in a break."""
        monday = monday_of(day)
        while monday not in self._weeks and monday > self.mondays[self._first]:
            monday -= timedelta(weeks=1)
        return self._weeks.get(monday, self._first)

    def place(self, day: date) -> float:
        """Where a day stands."""
        in_break = monday_of(day) not in self._weeks
        return self.week(day) + (0.5 if in_break else (day.weekday() - 2) / 10)

    def breaks(self) -> list[Break]:
        """The stretches without instruction between two weeks."""
        found = []
        for week, monday in self.mondays.items():
            following = self.mondays.get(week + 1)
            if following is not None and (following - monday).days > 7:
                begins = monday + timedelta(weeks=1)
                found.append(Break(week, begins, following - timedelta(days=1), (following - begins).days // 7))
        return found
