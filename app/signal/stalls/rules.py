"""Decides which grades may be compared and which have stalled, so that nobody can infer a count under 10.

Only students who have a level in both windows are counted, so that the same children are compared. The level says, for
example, whether a student has reached the benchmark. The SQL statement that computes the core stalls of a district has
the same conditions as this module; a test compares the two. Does no input or output.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.core.errors import Conflict

SMALLEST: Final = 10
"""A grade is compared only if at least this many students are on each side of the benchmark in both windows."""


class StallState(StrEnum):
    """The state of a core stall (a grade whose share at the benchmark fell): whether and how somebody has answered
    it.
    """

    SUGGESTED = "suggested"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class GradeInWindows:
    """Counts of one grade's students, for one measure, in an earlier and a later window. The counts are never shown.

    * `expected_before` and `expected`: the students who were to be screened in the earlier and in the later window.
    * `leveled_before`: the students with a level in the earlier window.
    * `counted`: the students with a level in both windows.
    * `reached_before` and `reached`: the counted students at or above the benchmark in the earlier and later window.
    """

    expected_before: int
    expected: int
    leveled_before: int
    counted: int
    reached_before: int
    reached: int

    @property
    def comparable(self) -> bool:
        """Returns whether the grade may be compared.

        In both windows, each side of the benchmark must have at least `SMALLEST` students. At least half of the
        students with a level in the earlier window must be counted, that is, have a level in the later window too.
        """
        sides = (self.reached_before, self.counted - self.reached_before, self.reached, self.counted - self.reached)
        return min(sides) >= SMALLEST and 2 * self.counted >= self.leveled_before

    @property
    def fell_by(self) -> int:
        """Returns the whole percentage points by which the share of students at the benchmark fell, or 0."""
        if not self.counted:
            return 0
        return max(0, 100 * (self.reached_before - self.reached) // self.counted)

    @property
    def counted_at_least(self) -> int:
        """Returns a multiple of ten that may be shown as "at least so many students were counted".

        It is at most the number of counted students. In each window, it is also at least `SMALLEST` below the number of
        students who were to be screened. A higher number could show that only a few of them were not counted.
        """
        beyond = SMALLEST
        return min(self.counted, self.expected_before - beyond, self.expected - beyond) // 10 * 10

    def has_stalled(self, points: int) -> bool:
        """Returns whether the grade may be compared and `fell_by` is at least `points`."""
        return self.comparable and self.fell_by >= points


def require_open(state: str) -> None:
    """Raises `Conflict` if somebody has already accepted or dismissed the core stall, or if it has lapsed.

    A core stall is a fall in the share of a grade's students who reach the benchmark.
    """
    if state == StallState.LAPSED:
        raise Conflict("The data no longer support this core stall.", code="core_stall.lapsed")
    if state != StallState.SUGGESTED:
        raise Conflict(f"This core stall is {state} already.", code="core_stall.settled")
