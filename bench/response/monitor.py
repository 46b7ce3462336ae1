"""Owns the response monitor on whole populations, week by week. Never its arithmetic, which is the product's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.panel import STOPPED, Panel, judge_weeks
from bench.response.figures import first_flag
from bench.response.world import BASELINES, NEVER, STOPPER, Year

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Watched:
    """By student and week: statistic, P(stopped rather than never), likeliest week of change, interval, P(slow)."""

    statistic: Array
    stopped: Array
    change: Array
    low: Array
    high: Array
    slow: Array


def panel(year: Year) -> Panel:
    """A population as the monitor takes it: three baseline slots at week 0, then a slot a week."""
    world, (students, weeks) = year.world, year.scores.shape
    times = np.concatenate([np.zeros(BASELINES, np.int64), np.arange(1, weeks + 1)])
    values = np.concatenate([year.baseline, year.scores], axis=1).T / world.stated_sem
    g = np.full(students, world.goal_rate / world.stated_sem)
    return Panel(times, values, g, year.cohort, np.ones(len(times)))


def watch(
    year: Year, calibration: Calibration = PUBLISHED, *, adjust: bool = True, only: NDArray[np.bool_] | None = None
) -> Watched:
    """Judges every student (or some only) in every week, each time from data up to that week only."""
    whole, weeks = panel(year), year.scores.shape[1]
    whole = replace(whole, values=whole.values / calibration.noise, g=whole.g / calibration.noise)
    found = judge_weeks(whole, calibration.prior, range(1, weeks + 1), adjust=adjust, only=only)
    columns = {name: np.stack([getattr(f, name) for f in found], axis=1) for name in Watched.__dataclass_fields__}
    return Watched(**columns)


def told_apart(watched: Watched, year: Year, threshold: float, split: float = STOPPED) -> dict[str, float]:
    """Of those rightly flagged, at the first flag: shares of kinds told right, and the change week's median error."""
    flag = first_flag(watched.statistic, threshold)
    at = np.maximum(flag - 1, 0)[:, None]
    stopped, change = (np.take_along_axis(a, at, axis=1)[:, 0] for a in (watched.stopped, watched.change))
    never = (year.group == NEVER) & (flag > 0)
    stopper = (year.group == STOPPER) & (flag > year.stop)
    told = stopper & (stopped > split)
    return {
        "never": float((stopped[never] <= split).mean()),
        "stopped": float((stopped[stopper] > split).mean()),
        "change error": float(np.median(np.abs(change[told] - year.stop[told]))),
        "change bias": float(np.median(change[told] - year.stop[told])),
    }


BINS = 10

FIRST_WEEK = 3
"""Odds are looked at from here on: a rule says nothing before three scores."""


def odds_by_bin(watched: Watched, year: Year) -> tuple[Array, Array, Array]:
    """For ten equal bins of P(rate now < g / 2): cases, mean said, share true; all students, weeks 3 to the last."""
    said = watched.slow[:, FIRST_WEEK - 1 :].ravel()
    true = (year.rate[:, FIRST_WEEK - 1 :] < year.world.goal_rate / 2).ravel()
    at = np.minimum((said * BINS).astype(int), BINS - 1)
    number, sums, hits = (np.bincount(at, weights=w, minlength=BINS) for w in (np.ones_like(said), said, true))
    with np.errstate(invalid="ignore"):  # a bin with nobody in it is 0 / 0, and shown as nan
        return number, sums / number, hits / number


def calibration_error(watched: Watched, year: Year) -> float:
    """The expected calibration error: the mean distance of said and true over the bins, weighted by their cases."""
    number, said, true = odds_by_bin(watched, year)
    return float(np.nansum(number * np.abs(said - true)) / number.sum())
