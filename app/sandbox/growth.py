"""Generates series of reading scores for the demonstration and its tests.

Scores are whole numbers of words read correctly in a minute, one each week.
"""

from dataclasses import dataclass
from random import Random
from statistics import median

NOISE = 2.0  # standard deviation of a score around the student's true level, in words a minute
AHEAD = 1.6  # growth while the student responds, as a multiple of the goal's rate
LOST = 1 / 3  # weekly loss after growth has stopped, as a multiple of the goal's rate


@dataclass(frozen=True, slots=True)
class StoppingReader:
    """A simulated student with three baseline scores and one score per week. Growth stops after week `stopped_at`.

    `weekly[0]` is the score of week 1.
    """

    baseline: list[float]
    weekly: list[float]
    stopped_at: int


def stopping_reader(seed: int, weeks: int = 22, baseline: float = 42, goal_rate: float = 1.5) -> StoppingReader:
    """Returns a student who first grows faster than the goal requires, then stops half-way and slowly declines.

    The aimline is `median(baseline) + goal_rate * week`. The decline is so clear that even a cautious rule detects it
    before the series ends. If the measure's noise is eight words a minute, the rule needs some eight weeks for this.
    Raises ValueError for fewer than 20 weeks, or for a goal rate of less than one word a week.
    """
    if weeks < 20 or goal_rate < 1:
        raise ValueError("A reader who stops needs 20 weeks or more and a goal of at least 1 word a week.")
    rng = Random(f"stopping reader {seed}")
    baseline_scores = [round(baseline) - rng.randint(1, 4), round(baseline), round(baseline) + rng.randint(1, 4)]
    rng.shuffle(baseline_scores)
    start, stopped_at = median(baseline_scores), weeks // 2
    grown = [
        AHEAD * goal_rate * min(week, stopped_at) - LOST * goal_rate * max(0, week - stopped_at)
        for week in range(1, weeks + 1)
    ]
    weekly = [float(max(0, round(start + gain + rng.gauss(0, NOISE)))) for gain in grown]
    return StoppingReader([float(score) for score in baseline_scores], weekly, stopped_at)
