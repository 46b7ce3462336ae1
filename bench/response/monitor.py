"""Runs the response monitor on whole populations, week by week, with the product's own arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.estimate import STOPPED
from app.response.rules.monitor.panel import Panel, judge_weeks
from bench.response.figures import first_flag
from bench.response.world import BASELINES, NEVER, STOPPER, Year

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MonitorResults:
    """The monitor's estimates by student and week. The fields have the same meaning as in `PanelEstimate`."""

    statistic: Array
    stopped: Array
    change: Array
    low: Array
    high: Array
    slow: Array


def panel(year: Year) -> Panel:
    """Returns a population in the monitor's input form: three baseline scores at week 0, then a score for each week."""
    world, (students, weeks) = year.world, year.scores.shape
    times = np.concatenate([np.zeros(BASELINES, np.int64), np.arange(1, weeks + 1)])
    values = np.concatenate([year.baseline, year.scores], axis=1).T / world.stated_sem
    g = np.full(students, world.goal_rate / world.stated_sem)
    return Panel(times, values, g, year.cohort, np.ones(len(times)))


def run_monitor(
    year: Year, calibration: Calibration = PUBLISHED, *, adjust: bool = True, only: NDArray[np.bool_] | None = None
) -> MonitorResults:
    """Judges all students, or those in `only`, in every week, each time from data up to that week."""
    whole, weeks = panel(year), year.scores.shape[1]
    whole = replace(whole, values=whole.values / calibration.noise, g=whole.g / calibration.noise)
    readings = judge_weeks(whole, calibration.prior, range(1, weeks + 1), adjust=adjust, only=only)
    columns = {
        name: np.stack([getattr(f, name) for f in readings], axis=1) for name in MonitorResults.__dataclass_fields__
    }
    return MonitorResults(**columns)


def kind_accuracy(watched: MonitorResults, year: Year, threshold: float, split: float = STOPPED) -> dict[str, float]:
    """Measures how well the monitor tells students who stopped growing from students who never kept pace.

    Only students who were flagged correctly count. `never` and `stopped` are, for each of these two kinds of students,
    the share that was recognized. The monitor also estimates the week in which growth stopped: `change error` is the
    median size of its error, and `change bias` the median of the signed error.
    """
    flag = first_flag(watched.statistic, threshold)
    at = np.maximum(flag - 1, 0)[:, None]
    stopped, change = (np.take_along_axis(a, at, axis=1)[:, 0] for a in (watched.stopped, watched.change))
    never = (year.group == NEVER) & (flag > 0)
    stopper = (year.group == STOPPER) & (flag > year.stop)
    recognized = stopper & (stopped > split)
    return {
        "never": float((stopped[never] <= split).mean()),
        "stopped": float((stopped[stopper] > split).mean()),
        "change error": float(np.median(np.abs(change[recognized] - year.stop[recognized]))),
        "change bias": float(np.median(change[recognized] - year.stop[recognized])),
    }


BINS = 10

FIRST_WEEK = 3
"""The first week in which the stated probabilities are evaluated, because a rule concludes nothing before three
scores.
"""


def odds_by_bin(watched: MonitorResults, year: Year) -> tuple[Array, Array, Array]:
    """Compares the monitor's stated probability of slow growth with the true share, in ten bins of the probability.

    Growth is slow if the present rate is below half of the required rate g. The three results have, for each bin, the
    number of cases, the mean stated probability, and the true share. All students are included, from week 3 on.
    """
    stated = watched.slow[:, FIRST_WEEK - 1 :].ravel()
    true = (year.rate[:, FIRST_WEEK - 1 :] < year.world.goal_rate / 2).ravel()
    at = np.minimum((stated * BINS).astype(int), BINS - 1)
    number, sums, hits = (np.bincount(at, weights=w, minlength=BINS) for w in (np.ones_like(stated), stated, true))
    with np.errstate(invalid="ignore"):  # an empty bin is 0 / 0, and shown as nan
        return number, sums / number, hits / number


def calibration_error(watched: MonitorResults, year: Year) -> float:
    """Returns the expected calibration error of the probability of slow growth that the monitor states.

    This is the mean difference between stated probabilities and true shares, over all students from week 3 on.
    """
    late = slice(FIRST_WEEK - 1, None)
    return binned_error(watched.slow[:, late], year.rate[:, late] < year.world.goal_rate / 2)


def binned_error(stated: Array, true: NDArray[np.bool_]) -> float:
    """Returns the mean difference between stated probabilities and true shares, in ten bins of the stated probability.

    `stated` has the probability of each case, and `true` states whether the case was true. A bin counts by its number
    of cases.
    """
    at = np.minimum((stated.ravel() * BINS).astype(int), BINS - 1)
    sums, hits = (np.bincount(at, weights=values.ravel(), minlength=BINS) for values in (stated, true))
    return float(np.abs(sums - hits).sum() / stated.size)
