"""Applies decision rules that schools use in practice to whole populations of simulated students.

The rules themselves are in `app/response/rules`; a test checks that both give the same verdicts. Each function returns
a number for every student and week, from data up to that week. The number says by how much the series exceeds the rule.
It is above zero exactly where the rule as commonly used concludes "not responding". With a higher threshold than zero,
the rule has fewer false alarms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.response.world import Year

Array = NDArray[np.float64]

PRIOR_RATE, PRIOR_SPREAD = 0.87, 0.40


def _leads(year: Year) -> Array:
    line = np.median(year.baseline, axis=1)[:, None] + year.world.goal_rate * np.arange(1, year.scores.shape[1] + 1)
    return (year.scores - line) / year.world.stated_sem


def _last(values: Array, k: int) -> Array:
    """Returns the last k values up to each week, as (students, weeks, k), with nan for missing ones."""
    students, weeks = values.shape
    out, kept_values = np.full((students, weeks, k), np.nan), np.full((students, k), np.nan)
    for week in range(weeks):
        has_score = ~np.isnan(values[:, week])
        kept_values[has_score] = np.concatenate([kept_values[has_score, 1:], values[has_score, week, None]], axis=1)
        out[:, week] = kept_values
    return out


def k_point(year: Year, k: int) -> Array:
    """Returns the smallest of k numbers: by how much each of the last k scores is below the aimline, in SEM.

    SEM is the standard error of measurement. A number is negative if its score is above the aimline.
    """
    worst = -_last(_leads(year), k).max(axis=2)
    return np.where(np.isnan(worst), -np.inf, worst)


def median(year: Year) -> Array:
    """Returns the median of three numbers: by how much each of the last three scores is below the aimline, in SEM.

    SEM is the standard error of measurement. A number is negative if its score is above the aimline.
    """
    middle = -np.sort(_last(_leads(year), 3), axis=2)[:, :, 1]
    few = np.cumsum(~np.isnan(year.scores), axis=1) < 3
    return np.where(few, -np.inf, middle)


def _fit(year: Year) -> tuple[Array, Array, Array, Array, Array]:
    """Returns the parts of the least-squares line through each student's scores up to each week.

    They are the number of scores, the mean week, the mean score, the sum of squared deviations of the weeks, and the
    slope.
    """
    has_score, t = ~np.isnan(year.scores), np.arange(1.0, year.scores.shape[1] + 1)
    y = np.where(has_score, year.scores, 0.0)
    n = np.maximum(np.cumsum(has_score, axis=1), 1)
    mean_t, mean_y = np.cumsum(has_score * t, axis=1) / n, np.cumsum(y, axis=1) / n
    spread = np.cumsum(has_score * t * t, axis=1) - n * mean_t**2
    slope = (np.cumsum(y * t, axis=1) - n * mean_t * mean_y) / np.where(spread > 1e-9, spread, np.nan)
    return n.astype(float), mean_t, mean_y, spread, slope


def _from(excess: Array, enough: NDArray[np.bool_]) -> Array:
    return np.where(enough & ~np.isnan(excess), excess, -np.inf)


def trend(year: Year) -> Array:
    """Returns how far the least-squares slope is below the goal's growth rate g, as a part of g."""
    n, _, _, _, slope = _fit(year)
    return _from(1 - slope / year.world.goal_rate, n >= 8)


def theil_sen(year: Year) -> Array:
    """Returns how far the median of the pairwise slopes is below the goal's growth rate g, as a fraction of g."""
    first, second = np.triu_indices(year.scores.shape[1], 1)
    order = np.argsort(second, kind="stable")
    first, second = first[order], second[order]
    out = np.full(year.scores.shape, -np.inf)
    for part in np.array_split(np.arange(len(out)), max(len(out) // 1000, 1)):
        y = year.scores[part].astype(np.float32)
        slopes = (y[:, second] - y[:, first]) / (second - first).astype(np.float32)
        for week in range(7, out.shape[1]):
            upto = np.sort(slopes[:, : (week + 1) * week // 2], axis=1)
            counts = np.count_nonzero(~np.isnan(upto), axis=1)
            rows = np.arange(len(part))
            low, high = np.maximum(counts - 1, 0) // 2, np.minimum(counts // 2, upto.shape[1] - 1)
            middle = (upto[rows, low] + upto[rows, high]) / 2
            out[part, week] = 1 - middle / year.world.goal_rate
    return _from(out, np.cumsum(~np.isnan(year.scores), axis=1) >= 8)


def dual_discrepancy(year: Year) -> Array:
    """Returns how far both the level and the slope are below the limit of -.674 standard errors."""
    n, _, _, spread, slope = _fit(year)
    pace = (slope - year.world.goal_rate) * np.sqrt(spread) / year.world.stated_sem
    level = -median(year) / 0.67
    return _from(-0.6744897502 - np.maximum(level, pace), n >= 8)


def slope_interval(year: Year) -> Array:
    """Returns how far the goal is beyond the 75 % interval of the fitted line in the last week, in SEM."""
    n, mean_t, mean_y, spread, slope = _fit(year)
    weeks = year.scores.shape[1]
    t, y = np.arange(1.0, weeks + 1), np.where(np.isnan(year.scores), 0.0, year.scores)
    residual = np.cumsum(y * y, axis=1) - n * mean_y**2 - slope**2 * spread
    see = np.sqrt(np.maximum(residual, 0) / np.maximum(n - 2, 1))
    # The rule extends the line from the last score's week, not from the present one.
    last = np.maximum.accumulate(np.where(np.isnan(year.scores), 0.0, t), axis=1)
    goal = np.median(year.baseline, axis=1)[:, None] + year.world.goal_rate * weeks
    width = 1.1503493804 * see / np.sqrt(spread) * (weeks - last)
    return _from((goal - mean_y - slope * (weeks - mean_t) - width) / year.world.stated_sem, (n >= 4) & (last >= 6))


def eb_slope(year: Year) -> Array:
    """Returns how far the empirical-Bayes slope is below the goal's growth rate g, as a part of g."""
    n, _, _, spread, slope = _fit(year)
    error = year.world.stated_sem**2 / spread
    prior = (PRIOR_SPREAD * year.world.goal_rate) ** 2
    shrunken = (slope * prior + PRIOR_RATE * year.world.goal_rate * error) / (prior + error)
    return _from(1 - shrunken / year.world.goal_rate, n >= 8)


RULES: dict[str, Callable[[Year], Array]] = {
    "four-point": lambda year: k_point(year, 4),
    "three-point": lambda year: k_point(year, 3),
    "median": median,
    "trend": trend,
    "theil-sen": theil_sen,
    "dual-discrepancy": dual_discrepancy,
    "slope-interval": slope_interval,
    "eb-slope": eb_slope,
}
