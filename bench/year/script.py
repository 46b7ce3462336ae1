"""The script of the played year: its steps by week. A further step is one more line of `STEPS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.year import beginning, meetings, moves, weekly, windows
from bench.year.state import Year

MONDAY, FRIDAY = 0, 4


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the year: what is done, on which weekday, and in which weeks.

    It is done in the week `week`, or with `every` in each such week from `week` on that is not a break.
    """

    title: str
    do: Callable[[Year], None]
    week: int
    weekday: int = MONDAY
    every: int = 0

    def is_due(self, week: int, *, is_off: bool) -> bool:
        """Returns whether the step is done in this week."""
        if self.every:
            return week >= self.week and (week - self.week) % self.every == 0 and not is_off
        return week == self.week


STEPS: Final = (
    Step("the roster comes in", beginning.connect, 0),
    Step("calendar, measures, rules and team", beginning.set_up, 0),
    Step("windows are scheduled", windows.schedule, 0),
    Step("baselines are taken", beginning.take_baselines, 0, FRIDAY),
    Step("supports and groups are planned", beginning.plan_supports, 0, FRIDAY),
    Step("students join and leave groups", moves.join_groups, 1, MONDAY, every=1),
    Step("a student moves to another school", moves.move_away, 9),
    Step("a student leaves", moves.leave, 11),
    Step("a teacher leaves", moves.lose_a_teacher, 13),
    Step("the student comes back", moves.come_back, 19),
    *(Step("the grade is screened", windows.screen, week, FRIDAY) for week in windows.SEASONS),
    *(Step("a window closes", windows.close, week + windows.LASTS) for week in windows.SEASONS),
    Step("sessions and scores", weekly.record_week, 1, FRIDAY, every=1),
    Step("the team meets", meetings.meet, meetings.EVERY, FRIDAY, every=meetings.EVERY),
    Step("unserved concerns", windows.check_unserved, meetings.EVERY, FRIDAY, every=meetings.EVERY),
)
"""Steps of one day are done in this order."""


def play_week(year: Year) -> None:
    """Plays one week, in two moves of the clock: to its Monday, and to its Friday."""
    year.taught += not year.is_off and year.week > 0
    for weekday in (MONDAY, FRIDAY):
        year.move_to(year.day(weekday))
        for step in STEPS:
            if step.weekday == weekday and step.is_due(year.week, is_off=year.is_off):
                with year.caller.counting(step.title):
                    step.do(year)
    year.read_feed()
