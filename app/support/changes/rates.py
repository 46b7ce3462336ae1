"""Compares the growth that a goal requires with the highest growth that published norms call realistic."""

import math
from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import Invalid, Violation
from app.support.rules import is_ahead

RATE_TOLERANCE = 0.005
"""The amount by which a required rate may exceed the realistic rate, because goals are set in whole units."""
UNREALISTIC = "goal.unrealistic"


class RateCheck(StrEnum):
    """How the growth that a goal requires compares with the norms.

    * `realistic`: the required growth is not more than the norms call realistic.
    * `confirmed`: the required growth is more than that, and the team has confirmed the goal.
    * `no_norm`: no norm of growth is known for the measure and the student's grade.
    """

    REALISTIC = "realistic"
    CONFIRMED = "confirmed"
    NO_NORM = "no_norm"


@dataclass(frozen=True, slots=True)
class RequiredRate:
    """The growth that a goal requires, with what the norms call realistic.

    `weeks` are the weeks of instruction until the goal's date. `realistic` is the highest realistic improvement per
    week, as a positive number in the measure's units, or None if no norm is known.
    """

    direction: str
    lowest: float
    highest: float
    unit: str
    baseline: float
    goal: float
    weeks: int
    realistic: float | None = None
    source: str = ""

    @property
    def sign(self) -> int:
        """Returns 1 if higher scores are better, and -1 if lower scores are better."""
        return 1 if self.direction == "up" else -1

    @property
    def rate(self) -> float:
        """Returns the growth per week that the goal requires, in the measure's units.

        It is negative if lower scores are better.
        """
        return (self.goal - self.baseline) / self.weeks

    @property
    def is_realistic(self) -> bool:
        """Returns whether the required rate is at most the realistic rate plus `RATE_TOLERANCE`.

        Returns true if no norm is known.
        """
        return self.realistic is None or self.sign * self.rate <= self.realistic + RATE_TOLERANCE

    @property
    def proposed_goal(self) -> float:
        """Returns the goal that a student with the highest realistic growth reaches by the goal date.

        The goal is rounded towards the baseline, to as few decimals as possible, at most two. The rounded goal must
        still be better than the baseline. If two decimals are too few for this, the goal is not rounded.
        """
        exact = self.baseline + self.sign * (self.realistic or 0.0) * self.weeks
        exact = min(max(exact, self.lowest), self.highest)
        down = math.floor if self.direction == "up" else math.ceil
        rounded = (down(round(exact * 10**digits, 6)) / 10**digits for digits in (0, 1, 2))
        return next((goal for goal in rounded if is_ahead(goal, self.baseline, self.direction)), exact)

    @property
    def weeks_needed(self) -> int:
        """Returns how many weeks of instruction a student with the highest realistic growth needs to reach the goal."""
        return math.ceil(round(abs(self.goal - self.baseline) / (self.realistic or abs(self.rate)), 6))


def check_rate(required: RequiredRate, *, confirmed: bool) -> RateCheck:
    """Returns how the growth that a goal requires compares with the norms.

    Raises `Invalid` if it is not realistic, unless `confirmed` is true.
    """
    if required.realistic is None:
        return RateCheck.NO_NORM
    if required.is_realistic:
        return RateCheck.REALISTIC
    if confirmed:
        return RateCheck.CONFIRMED
    rate, proposed = abs(required.rate), required.proposed_goal
    detail = (
        f"This goal requires {rate:.2f} {required.unit} in each of {required.weeks} weeks of instruction; the norms "
        f"call {required.realistic:g} realistic for this measure and grade ({required.source}). Until this date, "
        f"{proposed:g} is a realistic goal; this goal takes {required.weeks_needed} weeks. Set another goal or date, "
        "or confirm the rate."
    )
    figures = (
        ("required_rate", round(required.rate, 4)),
        ("realistic_rate", required.sign * required.realistic),
        ("proposed_goal", proposed),
        ("weeks", float(required.weeks)),
        ("weeks_needed", float(required.weeks_needed)),
    )
    raise Invalid([Violation("/goal", UNREALISTIC, detail, figures)], code=UNREALISTIC, detail=detail)
