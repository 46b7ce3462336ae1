"""Owns made-up series of reading scores for the demo and its tests. Never judges a series.

Scores are words read correctly in a minute, whole numbers, one a week.
"""

from dataclasses import dataclass
from random import Random
from statistics import median

NOISE = 2.5  # standard deviation of a score about the student's true level, words a minute
LEAD = 1.0  # how far above the aimline the student's true level runs while they respond
RUN = 4  # scores in a row below the aimline by which the field's rule sees the stop
SOONEST, LATEST = 4, 6  # weeks from the stop to that rule's answer


@dataclass(frozen=True, slots=True)
class StoppingReader:
    """Three baseline scores, then one a week (`weekly[0]` is week 1). Growth ends after week `stopped_at`."""

    baseline: list[float]
    weekly: list[float]
    stopped_at: int


def stopping_reader(seed: int, weeks: int = 16, baseline: float = 42, goal_rate: float = 1.5) -> StoppingReader:
    """A student who responds (grows on or above the aimline), and then stops growing.

    The aimline is `median(baseline) + goal_rate * week`. Noise is drawn again until the story is clear. Up to
    the stop three scores in five or more are on or above the aimline, the last one is, and no three in a row
    are below it. Four to six weeks after it, and no sooner, four in a row are, and from then on all are.
    ValueError: under 12 weeks, or a goal rate too small beside the noise.
    """
    if weeks < 12 or goal_rate < 1:
        raise ValueError("A reader who stops needs 12 weeks or more and a goal of at least 1 word a week.")
    rng = Random(f"stopping reader {seed}")
    before = [round(baseline) - rng.randint(1, 4), round(baseline), round(baseline) + rng.randint(1, 4)]
    rng.shuffle(before)
    start = median(before)
    aimline = [start + goal_rate * week for week in range(1, weeks + 1)]
    stopped_at = weeks // 2 + rng.randint(0, 1)
    while True:
        weekly = [
            float(max(0, round(start + LEAD + goal_rate * min(week, stopped_at) + rng.gauss(0, NOISE))))
            for week in range(1, weeks + 1)
        ]
        below = [score < line for score, line in zip(weekly, aimline, strict=True)]
        if _clear(below, stopped_at):
            return StoppingReader([float(score) for score in before], weekly, stopped_at)


def _clear(below: list[bool], stopped_at: int) -> bool:
    """Whether the weeks' answers to "below the aimline?" tell the story that `stopping_reader` promises."""
    responding = below[:stopped_at]
    if responding[-1] or sum(responding) > 0.4 * stopped_at:
        return False
    if any(all(responding[at : at + 3]) for at in range(stopped_at - 2)):
        return False
    seen = next((at + RUN for at in range(len(below) - RUN + 1) if all(below[at : at + RUN])), None)
    return seen is not None and SOONEST <= seen - stopped_at <= LATEST and all(below[seen:])
