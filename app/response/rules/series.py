"""Defines the series that a rule judges: the scores of a phase by instructional week. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from statistics import median
from typing import NamedTuple
from uuid import UUID

from app.response.aimline import SLACK, Aimline, Direction, UnjudgeableSeries, usable

# Every rule takes the median of the last three scores as the current level.
LEVEL_SCORES = 3


class Observation(NamedTuple):
    """One score: its instructional week, its value and its id.

    * Week 0 is the week in which the phase began. Only instructional weeks are counted, so a break does not count.
    * The id is passed on to the verdict.
    * If a day has several scores, their median is the value of one observation. `score_id` is then the id of the first
      score, and `same_day` has the ids of the other scores.
    """

    week: int
    value: float
    score_id: UUID | str = ""
    same_day: tuple[UUID | str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeliveredMinutes:
    """The planned and the delivered minutes: by instructional week from week 1 on, or one number for the whole phase.

    A week without a record is unknown, not missed. In such a week, both numbers must be nan, or both lists must end
    before the week.
    """

    planned: tuple[float, ...]
    delivered: tuple[float, ...]
    by_week: bool = True

    def share(self, after: int, upto: int) -> float | None:
        """Returns the share of the planned minutes that was delivered in the weeks after `after`, up to `upto`.

        If the minutes are not given by week, the share is that of the whole phase. Returns None if no planned minutes
        are known.
        """
        window = slice(after, upto) if self.by_week else slice(None)
        pairs = zip(self.planned[window], self.delivered[window], strict=False)
        recorded = [
            (planned, delivered) for planned, delivered in pairs if planned == planned and delivered == delivered
        ]
        planned = sum(pair[0] for pair in recorded)
        return sum(pair[1] for pair in recorded) / planned if planned > 0 else None

    def adherence(self) -> tuple[float, int] | None:
        """Returns the share of checklist parts that were done, and how many sessions were checked; None if unknown."""
        return None

    def weekly_shares(self, upto: int) -> tuple[float, ...]:
        """Returns the delivered share of each week's planned minutes, from week 1 to the week `upto`.

        The share is 1 if the week has no record or no planned minutes, or if more was delivered than planned. If the
        minutes are not given by week, each week has the share of the whole phase, or 1 if it is unknown.
        """
        if not self.by_week:
            share = self.share(0, upto)
            return (1.0 if share is None else min(share, 1.0),) * upto
        pairs = list(zip(self.planned[:upto], self.delivered[:upto], strict=False))
        shares = [
            min(delivered / planned, 1.0) if planned > 0 and delivered == delivered else 1.0
            for planned, delivered in pairs
        ]
        return (*shares, *(1.0,) * (upto - len(shares)))


@dataclass(frozen=True)
class Series:
    """The scores of a phase in the form that rules judge, with baseline, goal and the week of the goal.

    * Observations may be given in any order of weeks, because they are sorted by week. The observations of one week
      keep the given order, so they must be given in the order in which they were taken.
    * Nothing is validated before `check` or `aimline` is used.
    * `sem` is the measure's standard error of measurement in its units, or None if it is unknown.
    * `dosage` has the planned and the delivered minutes, or is None if there is no record.
    * `before` has the points of the baseline, oldest first. It is empty if they are not known.
    """

    observations: tuple[Observation, ...]
    baseline: float
    goal: float
    goal_week: int
    direction: Direction = "up"
    sem: float | None = None
    dosage: DeliveredMinutes | None = None
    before: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        in_order = tuple(sorted(self.observations, key=attrgetter("week")))
        object.__setattr__(self, "observations", in_order)
        # 40 and 40.0 are the same goal and must give the same bytes.
        object.__setattr__(self, "baseline", float(self.baseline))
        object.__setattr__(self, "goal", float(self.goal))

    @cached_property
    def weekly_delivery(self) -> tuple[float, ...] | None:
        """Returns the delivered share of each week's dose up to the last score, from week 1 on.

        Returns None if there is no score, if there is no record, or if the share of every week is 1.
        """
        if self.dosage is None or not self.weeks:
            return None
        shares = self.dosage.weekly_shares(self.weeks[-1])
        return shares if any(share < 1 for share in shares) else None

    def check(self) -> Aimline:
        """Validates the series, and returns its aimline.

        Raises UnjudgeableSeries with the codes of `Aimline`, or with `score_not_a_number`, `week_before_phase` or
        `sem_not_positive`.
        """
        line = self.aimline
        if not all(map(usable, self.values)):
            raise UnjudgeableSeries("score_not_a_number", "Give every score as an ordinary finite number.")
        if self.weeks and self.weeks[0] < 0:
            raise UnjudgeableSeries(
                "week_before_phase",
                "Leave out scores from before the phase began: they belong to its baseline.",
            )
        if self.sem is not None and not (usable(self.sem) and self.sem > 0):
            raise UnjudgeableSeries(
                "sem_not_positive",
                "Give the measure's standard error of measurement as a number above zero, or leave it out.",
            )
        return line

    @cached_property
    def aimline(self) -> Aimline:
        return Aimline(self.baseline, self.goal, self.goal_week, self.direction)

    @property
    def goal_rate(self) -> float:
        """Returns the required rate in the measure's units a week."""
        return self.aimline.rate

    @cached_property
    def weeks(self) -> tuple[int, ...]:
        return tuple([observation.week for observation in self.observations])

    @cached_property
    def values(self) -> tuple[float, ...]:
        return tuple([float(observation.value) for observation in self.observations])

    @property
    def score_ids(self) -> tuple[UUID | str, ...]:
        """Returns the ids of all scores in order; the ids of one day's scores are adjacent."""
        return tuple(
            [
                score_id
                for observation in self.observations
                for score_id in (observation.score_id, *observation.same_day)
                if score_id
            ]
        )

    @property
    def slack(self) -> float:
        """Returns the largest difference between two numbers that is treated as a rounding error."""
        return SLACK * max(abs(self.baseline), abs(self.goal), *map(abs, self.values))

    def sides(self) -> tuple[int, ...]:
        """Returns the side of the aimline on which each score is: +1 better, -1 worse, 0 on the line."""
        line, slack = self.aimline, self.slack
        return tuple(
            side(line.better * (value - line.at(week)), slack)
            for week, value in zip(self.weeks, self.values, strict=True)
        )

    def level_now(self) -> float | None:
        """Returns the median of the last three scores, in the measure's units, or None if there are fewer."""
        if len(self.observations) < LEVEL_SCORES:
            return None
        return median(self.values[-LEVEL_SCORES:])

    def goal_is_met(self) -> bool:
        """Returns whether the median of the last three scores reaches the final goal."""
        level = self.level_now()
        return level is not None and self.aimline.better * (level - self.goal) >= -self.slack


def side(lead: float, slack: float) -> int:
    """Returns the side of the aimline on which a score lies: +1 better, -1 worse, 0 on the line.

    `lead` is the distance of the score from the aimline. A score lies on the line if the distance is at most `slack`.
    """
    return 0 if abs(lead) <= slack else (1 if lead > 0 else -1)
