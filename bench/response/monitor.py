"""Owns the response monitor on whole populations, week by week. Never its arithmetic, which is the product's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.model import Prior
from app.response.rules.monitor.panel import STOPPED, Panel, judge_weeks
from bench.response.figures import first_flag
from bench.response.world import BASELINES, NEVER, STOPPER, Year

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Watched:
    """By student and week: the statistic, P(stopped rather than never), the likeliest week of change, the interval."""

    statistic: Array
    stopped: Array
    change: Array
    low: Array
    high: Array


def panel(year: Year) -> Panel:
    """A population as the monitor takes it: three baseline slots at week 0, then a slot a week."""
    world, (students, weeks) = year.world, year.scores.shape
    times = np.concatenate([np.zeros(BASELINES, np.int64), np.arange(1, weeks + 1)])
    values = np.concatenate([year.baseline, year.scores], axis=1).T / world.stated_sem
    g = np.full(students, world.goal_rate / world.stated_sem)
    return Panel(times, values, g, year.cohort, np.ones(len(times)))


def watch(year: Year, prior: Prior | None = None, *, adjust: bool = True) -> Watched:
    """Judges every student in every week, each time from data up to that week only."""
    whole, prior, weeks = panel(year), prior or Prior(), year.scores.shape[1]
    found = judge_weeks(whole, prior, range(1, weeks + 1), adjust=adjust)
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
