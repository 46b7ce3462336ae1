"""Computes the figures of a rule in a population: false alarms, delays and hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.response.world import BETWEEN, NEVER, RESPONDER, STOPPER, Year

Array = NDArray[np.float64]

NAMES = ("FAR", "between", "N8", "N12", "S6", "S8", "S10", "delay", "PPV")


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one rule, keyed by name.

    `count` has the number of students behind each figure. The standard error of the figure is computed from it.
    """

    value: dict[str, float]
    count: dict[str, int]


def first_flag(excess: Array, threshold: float) -> NDArray[np.int64]:
    """Returns the week (from 1) in which the statistic first exceeds the threshold, or 0 for never."""
    over = excess > threshold
    return np.where(over.any(axis=1), over.argmax(axis=1) + 1, 0)


def threshold_for(excess: Array, year: Year, far: float) -> float:
    """Returns the threshold for the false-alarm rate `far`.

    The share `far` of the responders exceeds this threshold in at least one week.
    """
    worst = excess[year.group == RESPONDER].max(axis=1)
    return float(np.quantile(worst, 1 - far))


def figures(flag: NDArray[np.int64], year: Year) -> Figures:
    """Returns a rule's figures, computed from the week in which it first flags each student.

    A stopper is a student whose growth stops during the year. A stopper who is flagged before the stop counts as a
    false alarm in the positive predictive value (PPV). S6, S8 and S10 are the shares of stoppers flagged within so many
    weeks after the stop. These shares leave out a stopper who was flagged before the stop.
    """
    never, stopper, responder = (year.group == kind for kind in (NEVER, STOPPER, RESPONDER))
    late = np.where(flag > year.stop, flag - year.stop, 0)[stopper & ((flag == 0) | (flag > year.stop))]
    hit = flag > 0
    true_flags = hit & (never | (stopper & (flag > year.stop)))
    wrong = hit & (responder | (stopper & (flag <= year.stop)))
    value = {
        "FAR": _share(hit[responder]),
        "between": _share(hit[year.group == BETWEEN]),
        **{f"N{w}": _share((hit & (flag <= w))[never]) for w in (8, 12)},
        **{f"S{w}": _share((late > 0) & (late <= w)) for w in (6, 8, 10)},
        "delay": np.median(late[late > 0]) if (late > 0).any() else np.nan,
        "PPV": true_flags.sum() / max(true_flags.sum() + wrong.sum(), 1),
    }
    of = {"N": never, "S": stopper, "F": responder}
    count = {name: int(of.get(name[0], year.group == BETWEEN).sum()) for name in NAMES}
    count["PPV"] = int(true_flags.sum() + wrong.sum())
    return Figures({name: float(value[name]) for name in NAMES}, count)


def _share(selected: NDArray[np.bool_]) -> float:
    return float(selected.mean()) if len(selected) else float("nan")
