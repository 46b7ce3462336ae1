"""Decides which grades may be compared and which have stalled, so that no count under 10 can be found. Pure.

The students who have a level in both windows are counted, so that the same children are compared. The statement that
computes the stalls of a district has the same conditions; a test compares the two.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.core.errors import Conflict

SMALLEST: Final = 10
"""The smallest number of students on each side of the benchmark, in both windows, of a grade that is compared."""


class StallState(StrEnum):
    """The state of a core stall."""

    SUGGESTED = "suggested"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class GradeInWindows:
    """The numbers of students of a grade by one measure in two windows. None of them is ever shown.

    * `expected` and `expected_before` are those to be screened, and `leveled_before` those with a level before.
    * `counted` have a level in both windows. `reached_before` and `reached` of them are at or above the benchmark.
    """

    expected_before: int
    expected: int
    leveled_before: int
    counted: int
    reached_before: int
    reached: int

    @property
    def comparable(self) -> bool:
        """Returns whether the grade may be compared: enough of the same students, and no few on either side."""
        sides = (self.reached_before, self.counted - self.reached_before, self.reached, self.counted - self.reached)
        return min(sides) >= SMALLEST and 2 * self.counted >= self.leveled_before

    @property
    def fell_by(self) -> int:
        """Returns by how many whole percentage points the share that reaches the benchmark fell, or 0."""
        if not self.counted:
            return 0
        return max(0, 100 * (self.reached_before - self.reached) // self.counted)

    @property
    def counted_at_least(self) -> int:
        """Returns a lower limit of the counted students in tens. At least 10 of the expected ones may be beyond it."""
        beyond = SMALLEST
        return min(self.counted, self.expected_before - beyond, self.expected - beyond) // 10 * 10

    def has_stalled(self, points: int) -> bool:
        """Returns whether the share fell by at least this many percentage points."""
        return self.comparable and self.fell_by >= points


def require_open(state: str) -> None:
    """Raises `Conflict` for a core stall that is settled or has lapsed."""
    if state == StallState.LAPSED:
        raise Conflict("The data no longer support this core stall.", code="core_stall.lapsed")
    if state != StallState.SUGGESTED:
        raise Conflict(f"This core stall is {state} already.", code="core_stall.settled")
