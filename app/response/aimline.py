"""Computes the aimline, which is the straight line from baseline to goal.

Raises an error with the reason if there can be no such line. This module judges no scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Direction = Literal["up", "down"]

# Beyond this size, float arithmetic loses digits that a verdict displays.
MAX_NUMBER = 1e12

# Numbers that differ by less than this part of the larger one count as equal, because floats cannot represent 0.1.
SLACK = 1e-9


class UnjudgeableSeries(ValueError):
    """Raised if no rule can judge a series, because of its baseline, its goal or a score.

    `code` is stable and is meant for programs. `sentence` is meant for people. Neither contains a student's value.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def usable(number: float) -> bool:
    """Returns whether a number is finite and small enough for exact comparisons."""
    return math.isfinite(number) and abs(number) <= MAX_NUMBER


@dataclass(frozen=True, slots=True)
class Aimline:
    """The line A(t) = baseline + rate * t, with rate = (goal - baseline) / goal_week in the measure's units per week.

    * t is in instructional weeks. In week 0, in which the phase began, the line is at the baseline.
    * After `goal_week` the line continues at the same rate.
    * Raises UnjudgeableSeries: `not_a_number`, `goal_week_not_positive`, `goal_not_better`.

    Source: the baseline-to-goal line of curriculum-based measurement (Deno, 1985).
    """

    baseline: float
    goal: float
    goal_week: int
    direction: Direction = "up"

    def __post_init__(self) -> None:
        for name, number in (("baseline", self.baseline), ("goal", self.goal)):
            if not usable(number):
                raise UnjudgeableSeries("not_a_number", f"Give the {name} as an ordinary finite number.")
        if self.goal_week <= 0:
            raise UnjudgeableSeries(
                "goal_week_not_positive",
                "Set the goal's date at least one instructional week after the phase begins.",
            )
        slack = SLACK * max(abs(self.baseline), abs(self.goal))
        if self.better * (self.goal - self.baseline) <= slack:
            side = "above" if self.direction == "up" else "below"
            raise UnjudgeableSeries(
                "goal_not_better",
                f"Set a goal {side} the baseline: for this measure that is the better side.",
            )

    @property
    def better(self) -> int:
        """Returns +1 if higher scores are better, and -1 if lower scores are better.

        A difference of scores times this factor is positive for an improvement.
        """
        return 1 if self.direction == "up" else -1

    @property
    def rate(self) -> float:
        """Returns the required rate in the measure's units a week; it is negative if lower scores are better."""
        return (self.goal - self.baseline) / self.goal_week

    def at(self, week: float) -> float:
        """Returns the line's value in a week, in the measure's units."""
        return self.baseline + self.rate * week
