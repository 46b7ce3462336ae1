"""Owns made-up series of reading scores for the demo and its tests. Never judges a series.

Scores are words read correctly in a minute, whole numbers, one a week.
"""

from dataclasses import dataclass
from random import Random
from statistics import median

NOISE = 2.0  # standard deviation of a score about the student's true level, words a minute
AHEAD = 1.6  # growth while the student responds, in rates that the goal needs
LOST = 1 / 3  # what is lost each week after the stop, likewise


@dataclass(frozen=True, slots=True)
class StoppingReader:
    """Three baseline scores, then one a week (`weekly[0]` is week 1). Growth ends after week `stopped_at`."""

    baseline: list[float]
    weekly: list[float]
    stopped_at: int


def stopping_reader(seed: int, weeks: int = 22, baseline: float = 42, goal_rate: float = 1.5) -> StoppingReader:
    """A student who responds (grows faster than the goal needs), and half-way stops, and slowly loses again.

    The aimline is `median(baseline) + goal_rate * week`. The stop is plain, so that a careful rule sees it before the
    series ends: with a measure's noise of eight words a minute it takes some eight weeks.
    ValueError: under 20 weeks, or a goal rate too small beside the noise.
    """
    if weeks < 20 or goal_rate < 1:
        raise ValueError("A reader who stops needs 20 weeks or more and a goal of at least 1 word a week.")
    rng = Random(f"stopping reader {seed}")
    before = [round(baseline) - rng.randint(1, 4), round(baseline), round(baseline) + rng.randint(1, 4)]
    rng.shuffle(before)
    start, stopped_at = median(before), weeks // 2
    grown = [
        AHEAD * goal_rate * min(week, stopped_at) - LOST * goal_rate * max(0, week - stopped_at)
        for week in range(1, weeks + 1)
    ]
    weekly = [float(max(0, round(start + more + rng.gauss(0, NOISE)))) for more in grown]
    return StoppingReader([float(score) for score in before], weekly, stopped_at)
