"""Defines the supports of the simulated year: what is planned for each student, and how the student truly grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

GOAL_WEEKS: Final = 30
"""The instructional weeks of the year's supports, on which their goals are based."""
MISSED: Final = 0.08
"""The share of weeks in which a student's score is missing."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The true growth of a student in one measure.

    * `rates` has pairs: an instructional week, and the weekly growth from this week on.
    * `helped` is the weekly growth after the support was changed, or None if no change helps.
    * `levels` replaces growth in measures without growth. It has pairs: an instructional week, and the level from this
      week on.
    """

    rates: tuple[tuple[int, float], ...] = ()
    noise: float = 4.0
    helped: float | None = None
    levels: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Followed:
    """A measure of a support: the baseline, the growth that the goal requires, and the simulated student's true
    growth.
    """

    measure: str
    baseline: float
    goal: float
    curve: Curve


@dataclass(frozen=True, slots=True)
class Plan:
    """A support that the team plans.

    * `key` is its name in the report.
    * `measures` are its measures, in order. A support that has a review date instead of a goal has no measures.
    * `goal_weeks` is the number of school weeks until the goal's date.
    * Up to the week `delivered_until`, only every other session takes place.
    * `group` is the group of which it is a member; `joins` and `leaves` are the weeks of its membership.
    """

    key: str
    area: str
    intervention: str
    measures: tuple[Followed, ...] = ()
    goal_weeks: int = GOAL_WEEKS + 4
    delivered_until: int = 0
    group: str | None = None
    joins: int = 1
    leaves: int | None = None


def reading(baseline: float, *rates: tuple[int, float], helped: float | None = None, noise: float = 5.0) -> Followed:
    """Returns the measure `orf` (oral reading) of a support. Its goal is a growth of 1.4 words a week."""
    return Followed("orf", baseline, baseline + 1.4 * GOAL_WEEKS, Curve(rates, noise, helped))


def maze(baseline: float, *rates: tuple[int, float]) -> Followed:
    """Returns the measure `maze` (comprehension) of a support. Its goal is a growth of 0.5 a week."""
    return Followed("maze", baseline, baseline + 0.5 * GOAL_WEEKS, Curve(rates, 1.8))


def facts(baseline: float, *rates: tuple[int, float], helped: float | None = None) -> Followed:
    """Returns the measure `computation` of a support. Its goal is a growth of 1.2 digits a week."""
    return Followed("computation", baseline, baseline + 1.2 * GOAL_WEEKS, Curve(rates, 3.5, helped))


def levels(measure: str, baseline: float, goal: float, noise: float, *steps: tuple[int, float]) -> Followed:
    """Returns a measure of counts or percentages, whose level changes in steps."""
    return Followed(measure, baseline, goal, Curve(levels=steps, noise=noise))


READ, TALK = "Repeated reading with feedback", "Check-in, check-out with a mentor"
FLUENCY, FACTS, CONDUCT = "ela.fluency", "math.computation", "behaviour"
GROUPS: Final = {"blue": (FLUENCY, "orf"), "green": (FACTS, "computation"), "red": (CONDUCT, None)}
"""The groups' areas and measures."""
PLANS: Final = (
    Plan("responds", FLUENCY, READ, (reading(46, (0, 1.6)),)),
    Plan("stops", FLUENCY, READ, (reading(52, (0, 1.6), (12, 0.0), helped=1.7),)),
    Plan("never", FLUENCY, READ, (reading(44, (0, 0.1)),)),
    Plan("referrals fall", CONDUCT, TALK, (levels("referrals", 6, 1, 0.8, (0, 6), (5, 3), (10, 1)),)),
    Plan("on task, collapses", CONDUCT, TALK, (levels("on-task", 55, 85, 4, (0, 60), (4, 88), (16, 20)),)),
    Plan("two measures, one slow", FLUENCY, READ, (reading(50, (0, 1.6)), maze(9, (0, 0.0)))),
    Plan("mentoring", CONDUCT, "A mentor for the way to school"),
    Plan("blue 1", FLUENCY, READ, (reading(48, (0, 1.5)),), group="blue"),
    Plan("blue 2", FLUENCY, READ, (reading(43, (0, 0.2), helped=1.2),), group="blue", leaves=15),
    Plan("blue 3", FLUENCY, READ, (reading(55, (0, 1.8)),), group="blue"),
    Plan("blue 4, joins", FLUENCY, READ, (reading(47, (0, 1.4)),), group="blue", joins=6),
    Plan("half delivered", FLUENCY, READ, (reading(45, (0, 0.6), (6, 1.7)),), delivered_until=6),
    Plan("facts, responds", FACTS, "Cover, copy, compare", (facts(22, (0, 1.4)),)),
    Plan("facts, stops", FACTS, "Cover, copy, compare", (facts(25, (0, 1.4), (14, -0.1)),)),
    Plan("quiet and slow", FLUENCY, READ, (reading(22, (0, 0.4), helped=0.6, noise=3.0),)),
    Plan("between", FLUENCY, READ, (reading(50, (0, 1.0)),)),
    Plan("goal in December", FLUENCY, READ, (reading(60, (0, 1.5)),), goal_weeks=14),
    Plan("referrals stay", CONDUCT, TALK, (levels("referrals", 6, 1, 1.2, (0, 6)),)),
    Plan("criterion", FACTS, "Fact fluency", (levels("criterion", 0, 1, 0.3, (0, 0), (6, 1)),)),
    Plan("two measures, one stops", FLUENCY, READ, (reading(48, (0, 1.6), (15, 0.0)), maze(10, (0, 0.6)))),
    Plan("green 1", FACTS, "Facts at a table", (facts(20, (0, 1.3)),), group="green"),
    Plan("green 2", FACTS, "Facts at a table", (facts(24, (0, 1.3), (10, 0.0), helped=1.2),), group="green"),
    Plan("green 3", FACTS, "Facts at a table", (facts(21, (0, 1.6)),), group="green"),
    Plan("red 1", CONDUCT, "Lunch with the counsellor", group="red"),
    Plan("red 2", CONDUCT, "Lunch with the counsellor", group="red"),
    Plan("red 3", CONDUCT, "Lunch with the counsellor", group="red", joins=3),
    Plan("recovers", FLUENCY, READ, (reading(49, (0, 0.1), (11, 2.6)),)),
)
"""The supports, in the order of the students. A play with fewer students has the first of them."""


@dataclass
class Child:
    """A simulated student, with the true growth in the measures of one support."""

    plan: Plan
    random: Random
    helped_from: int | None = None
    grown: dict[str, float] = field(default_factory=dict)

    def grow(self, week: int) -> None:
        """Simulates the student's growth in a week of instruction."""
        for followed in self.plan.measures:
            curve = followed.curve
            rate = _value_at(curve.rates, week) if curve.rates else 0.0
            if curve.helped is not None and self.helped_from is not None and week >= self.helped_from:
                rate = curve.helped
            self.grown[followed.measure] = self.grown.get(followed.measure, 0.0) + rate

    def score(self, followed: Followed, week: int, hardness: float) -> float | None:
        """Returns the score of a week, or None if the student misses it."""
        is_missed = self.random.random() < MISSED
        value = self._value(followed, week, hardness if followed.measure == "orf" else 0.0)
        return None if is_missed else value

    def baseline(self, followed: Followed) -> float:
        """Returns a random baseline score of the student in this measure. It is 0 for the measure `criterion`."""
        if followed.measure == "criterion":
            return 0.0
        return _whole(followed.measure, followed.baseline + self.random.gauss(0, followed.curve.noise / 2))

    def _value(self, followed: Followed, week: int, hardness: float) -> float:
        curve = followed.curve
        level = followed.baseline + self.grown.get(followed.measure, 0.0)
        if curve.levels:
            level = _value_at(curve.levels, week)
        return _whole(followed.measure, level - hardness + self.random.gauss(0, curve.noise))


def _value_at(steps: Sequence[tuple[int, float]], week: int) -> float:
    return [value for begins, value in steps if begins <= week][-1]


HIGHEST: Final = {"on-task": 100.0, "criterion": 1.0, "maze": 60.0, "referrals": 50.0}


def _whole(measure: str, value: float) -> float:
    return float(min(max(round(value), 0), HIGHEST.get(measure, 150.0)))
