"""Places days on the horizontal axis of a chart. The axis counts instructional weeks. Pure.

* Week 0 is the week in which the first phase begins.
* A break takes no space on the axis. All its days are placed half a week after the last week before the break.
* Other days are a tenth of a week apart, with Wednesday in the middle of the week.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from app.core.clock import monday_of


@dataclass(frozen=True, slots=True)
class Break:
    """A series of weeks without instruction.

    It follows the week `after_week` of the axis. The break includes its first day and its last day.
    """

    after_week: int
    begins_on: date
    ends_on: date
    weeks: int


class Axis:
    """The instructional weeks between two days, numbered from 0.

    The weeks in `off` have no instruction and are left out.
    """

    def __init__(self, begins: date, first: date, last: date, off: Collection[date]) -> None:
        last = max(monday_of(last), monday_of(begins))
        mondays = [monday_of(first) + timedelta(weeks=n) for n in range((last - monday_of(first)).days // 7 + 1)] or [
            monday_of(begins)
        ]
        instructional = [monday for monday in mondays if monday not in off] or mondays
        first_phase_position = next(
            (position for position, monday in enumerate(instructional) if monday >= monday_of(begins)),
            len(instructional) - 1,
        )
        self.mondays = {position - first_phase_position: monday for position, monday in enumerate(instructional)}
        self._weeks = {monday: week for week, monday in self.mondays.items()}
        self._first = min(self.mondays)

    def week(self, day: date) -> int:
        """Returns the number of the week of a day. A day in a break has the number of the week before the break."""
        monday = monday_of(day)
        while monday not in self._weeks and monday > self.mondays[self._first]:
            monday -= timedelta(weeks=1)
        return self._weeks.get(monday, self._first)

    def place(self, day: date) -> float:
        """Returns the position of a day on the axis, in weeks."""
        in_break = monday_of(day) not in self._weeks
        return self.week(day) + (0.5 if in_break else (day.weekday() - 2) / 10)

    def breaks(self) -> list[Break]:
        """Returns the breaks between the weeks of the axis."""
        breaks = []
        for week, monday in self.mondays.items():
            following = self.mondays.get(week + 1)
            if following is not None and (following - monday).days > 7:
                begins = monday + timedelta(weeks=1)
                breaks.append(Break(week, begins, following - timedelta(days=1), (following - begins).days // 7))
        return breaks
