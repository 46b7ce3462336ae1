"""Defines the script of the simulated year: its steps by week. Each step is one line of `STEPS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.year import (
    beginning,
    caseload,
    incidents,
    meetings,
    moves,
    notes,
    questions,
    signals,
    stalls,
    tasks,
    weekly,
    windows,
)
from bench.year.observing import follow_unserved, read_states
from bench.year.state import Year

MONDAY, TUESDAY, FRIDAY = 0, 1, 4


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the year: what is done, on which weekday, and in which weeks.

    It is done in the week `week`. With `every`, it is done in each `every`-th week from `week` on that is not a break.
    """

    title: str
    do: Callable[[Year], None]
    week: int
    weekday: int = MONDAY
    every: int = 0

    def is_due(self, week: int, *, is_off: bool) -> bool:
        """Returns whether this step of the script is due in the week."""
        if self.every:
            return week >= self.week and (week - self.week) % self.every == 0 and not is_off
        return week == self.week


STEPS: Final = (
    Step("the roster comes in", beginning.connect, 0),
    Step("calendar, measures, rules and team", beginning.set_up, 0),
    Step("windows are scheduled", windows.schedule, 0),
    Step("signal rules are published", signals.publish_rules, 0),
    Step("a rule about core stalls is published", stalls.publish_rule, 0),
    Step("series of meetings are scheduled", meetings.schedule, 0),
    Step("baselines are taken", beginning.take_baselines, 0, FRIDAY),
    Step("supports and groups are planned", beginning.plan_supports, 0, FRIDAY),
    Step("students join and leave groups", moves.join_groups, 1, MONDAY, every=1),
    Step("a member adds an item", lambda year: tasks.add_own(year, "Who calls the families?"), 3),
    Step("a member adds an item", moves.ask_about_leaver, 10),
    *(Step("a teacher raises a concern", caseload.concern_in_class, week, FRIDAY) for week in (7, 22)),
    Step("a student moves to another school", moves.move_away, 9),
    Step("a student leaves", moves.leave, 11),
    Step("a teacher leaves", moves.lose_a_teacher, 13),
    Step("the student comes back", moves.come_back, 19),
    *(Step("the grade is screened", windows.screen, week, FRIDAY) for week in windows.SEASONS),
    *(Step("some are screened again", windows.screen_again, week + 1) for week in windows.SEASONS),
    *(Step("a window closes", windows.close, week + windows.LASTS) for week in windows.SEASONS),
    *(Step("incidents are recorded", incidents.record_incidents, week, FRIDAY) for week in incidents.INCIDENTS),
    Step("an incident is removed", incidents.remove_mistake, incidents.CORRECTED),
    Step("signals", signals.follow_signals, 1, TUESDAY, every=1),
    Step("core stalls", stalls.follow_stalls, 1, TUESDAY, every=1),
    Step("a note is amended", notes.amend, 6, MONDAY, every=5),
    Step("each question is asked", questions.ask_all, 3, TUESDAY, every=4),
    Step("the series follow the breaks", meetings.check_series, 3, TUESDAY, every=4),
    Step("the teams meet", meetings.meet, 1, TUESDAY, every=1),
    Step("sessions and scores", weekly.record_week, 1, FRIDAY, every=1),
)
"""Steps of one day are done in this order."""


def play_week(year: Year) -> None:
    """Simulates one week: moves the clock to Monday, Tuesday and Friday, and does the steps that are due on each of
    them.
    """
    year.taught += not year.is_off and year.week > 0
    for weekday in (MONDAY, TUESDAY, FRIDAY):
        reasons = tasks.with_reason(year)
        year.move_to(year.day(weekday))
        if "source" in year.ids:
            read_states(year)
            tasks.follow_hypotheses(year, reasons)
            follow_unserved(year)
        for step in STEPS:
            if step.weekday == weekday and step.is_due(year.week, is_off=year.is_off):
                with year.caller.counting(step.title):
                    step.do(year)
    year.read_feed()
