"""Estimates how scores scatter: by noise, by the difficulty of forms, and by the correlation between weeks.

A form is a version of a test. Growth is not estimated. All estimates use contrasts: the second differences y(t - k) - 2
y(t) + y(t + k) of a student's scores at lag k. A contrast does not depend on the student's level or on steady growth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.forms import Cohorts
from app.response.rules.monitor.model import DEFAULT, Array
from app.response.rules.monitor.panel import Panel

LAGS = (1, 2, 3, 4, 6, 8, 10, 12)
"""The lags of the contrasts, in weeks. A wobble shows at long lags, and a correlation of errors at short lags."""

CORRELATION_SD, WOBBLE_SD = 0.25, 0.012
"""The standard deviations of two priors.

The prior of the correlation is centred on zero. The prior of the wobble's variance is centred on the default variance.
A correlation and a wobble leave similar traces in the scores, and the priors decide between the two.
"""

CHANGES = 0.005
"""The share of students whose growth changes in any one week, as the estimate of the scatter assumes it.

This is the share in the middle of the year, because contrasts at long lags are centred on the middle of the year. The
monitor's prior assumes a larger share, so that the monitor reacts quickly. In the estimate of the scatter, a larger
share would hide the wobble.
"""

SKEW = 0.35**2 - 0.25**2
"""A correction that is added to the square of the estimated spread of students' noise.

The monitor works best if it assumes that noise varies slightly more between students than it really does
(docs/response.md).
"""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Variances that describe how a student's scores scatter around steady growth.

    They are in SEM^2 (squared standard errors of measurement). A score's error has two parts: the effect of its form
    (the version of the test), which all students who took the form share, and an error of its own.

    * own: the average variance of the scores' own errors.
    * form: the variance of a form's effect.
    * wobble: the variance of the random weekly change of a student's true score (the score without error).
    * correlation: the correlation of two own errors of one student that are one week apart.
    * spread: students differ in noise; this is the standard deviation, over the students, of the log of their noise.
    * pairs: the number of products from which `form` is estimated. Each multiplies the contrasts of two classmates (see
      `contrasts`).
    """

    own: float
    form: float
    wobble: float
    correlation: float
    spread: float
    pairs: int


def weekly(panel: Panel) -> Array:
    """Returns a table of shape (students, weeks) with one score per student and week.

    If a week has several scores, the table has the first score. If a week has no score, the table has nan.
    """
    after = panel.times > panel.times[0]
    weeks = np.arange(int(panel.times[0]) + 1, int(panel.times[-1]) + 1)
    table = np.full((panel.values.shape[1], len(weeks)), np.nan)
    for slot in np.flatnonzero(after)[::-1]:
        week = int(panel.times[slot]) - int(panel.times[0]) - 1
        has_score = ~np.isnan(panel.values[slot]) & (panel.times[slot] > panel.starts)
        table[has_score, week] = panel.values[slot, has_score]
    return table


def contrasts(table: Array, k: int) -> Array:
    """Returns the contrasts at lag k, y(t - k) - 2 y(t) + y(t + k), as an array of shape (students, weeks - 2 k)."""
    return np.asarray(table[:, : -2 * k] - 2 * table[:, k:-k] + table[:, 2 * k :])


def estimate_scatter(panel: Panel) -> Scatter:
    """Returns the variances and the correlation in `Scatter`, estimated from the scores of all students.

    They are estimated from contrasts. A contrast at lag k is y(t - k) - 2 y(t) + y(t + k), where y(t) is a student's
    score in week t. The estimates need some hundreds of series of ten weeks or more.

    * Classmates take the same forms (versions of the test), and share nothing else in a contrast. So the mean product
      of two classmates' contrasts is six times the variance of a form's effect.
    * The mean square of a contrast contains all variances. The parts that come from forms and from changes of growth
      are subtracted. The rest is `own` times (6 - 8 r^k + 2 r^2k), plus 2 k times `wobble`. Solved for several lags k
      together, this equation gives `own`, `wobble` and the correlation r.
    * A prior keeps r near 0. The wobble stays near its default unless the scores clearly contradict it.
    """
    table, cohorts = weekly(panel), Cohorts.of(panel.cohort)
    lags = [k for k in LAGS if table.shape[1] > 2 * k]
    own, influence = [], []
    products = [_products(contrasts(table, k), cohorts) for k in lags]
    pairs = int(sum(p[1] for p in products[:3]))
    form = max(sum(p[0] for p in products[:3]) / max(pairs, 1) / 6, 0.0) if pairs else DEFAULT.share
    g2 = float(np.mean(panel.g**2))
    turn = ((DEFAULT.before[0] - DEFAULT.after[0]) ** 2 + DEFAULT.before[1] ** 2 + DEFAULT.after[1] ** 2) * g2
    for k in lags:
        squares = contrasts(table, k) ** 2
        number = (~np.isnan(squares)).sum(axis=1)
        sums = np.nansum(squares, axis=1)
        mean = sums.sum() / max(number.sum(), 1)
        change_terms = CHANGES * turn * sum((k - abs(j)) ** 2 for j in range(-k, k + 1))
        own.append(mean - 6 * form - change_terms)
        # Most of the chance error is common to all lags, because a noisy student is noisy at every lag. The differences
        # between lags are known much better.
        influence.append(cohorts.sums((sums - mean * number)[:, None])[:, 0] / max(number.sum(), 1))
    covariance = np.array(influence) @ np.array(influence).T + 1e-12 * np.eye(len(lags))
    sigma, wobble, r = _fit(np.array(lags), np.array(own), covariance)
    return Scatter(sigma, form, wobble, r, _spread(table, form), pairs)


def _products(c: Array, cohorts: Cohorts) -> tuple[float, float]:
    """Multiplies the contrasts of every two classmates in the same week; returns the sum and the number of products.

    `c` has the contrasts, with the axes students and weeks.
    """
    has_score, filled = ~np.isnan(c), np.nan_to_num(c)
    n = cohorts.sums(has_score.astype(float))
    total = cohorts.sums(filled) ** 2 - cohorts.sums(filled**2)
    return float(total.sum()), float((n * (n - 1)).sum())


def _fit(k: NDArray[np.int64], squares: Array, covariance: Array) -> tuple[float, float, float]:
    """Returns `own`, `wobble` and `correlation` of a `Scatter`, fitted by penalized least squares.

    * `k` has the lags, in weeks.
    * `squares` has the mean squared contrast at each lag, after the parts that are due to forms and to changes of
      growth were subtracted.
    * `covariance` (lags, lags) is the covariance of the errors of `squares`.

    The values of the correlation are tried on a grid. For each value, the other two are computed.
    """
    usual, whitened = DEFAULT.wobble**2, np.linalg.inv(np.linalg.cholesky(covariance))
    best, estimates = np.inf, (0.65, usual, 0.0)
    for r in np.linspace(0, 0.8, 81):
        shape = 6 - 8 * r**k + 2 * r ** (2 * k)
        rows, targets = whitened @ np.column_stack([shape, 2.0 * k]), whitened @ squares
        error, wobble = np.linalg.lstsq(rows, targets, rcond=None)[0]
        free = wobble - usual
        # The wobble is moved towards its default by twice its standard error, in which r counts as estimated too.
        # Chance then does not move the false-alarm rates, and a large wobble is still learnt.
        by_r = whitened @ (error * 4 * k * (r ** (2 * k - 1) - 2 * r ** (k - 1)))
        all_rows = np.column_stack([rows, by_r])
        variance = np.linalg.inv(all_rows.T @ all_rows)[1, 1]
        wobble = max(usual + (free * max(0.0, 1 - 4 * variance / free**2) if free else 0.0), 0.0)
        rest = targets - rows[:, 1] * wobble
        x = np.array([rows[:, 0] @ rest / (rows[:, 0] @ rows[:, 0]), wobble])
        loss = float(
            ((rows @ x - targets) ** 2).sum() + (r / CORRELATION_SD) ** 2 + ((wobble - usual) / WOBBLE_SD) ** 2
        )
        if loss < best and x[0] > 0:
            best, estimates = loss, (float(x[0]), float(x[1]), float(r))
    return estimates


def _spread(table: Array, form: float) -> float:
    """Returns how much students differ in noise: the standard deviation, over the students, of the log of their noise.

    A contrast is a combination of three scores that cancels steady growth (see `contrasts`). For each student, takes
    contrasts that have no score in common, squares them, and multiplies the squares in pairs. Because of this, a single
    extreme error hardly affects the result. `table` has the scores. `form` is the variance of the effect of a form
    (version of the test).
    """
    squares = (contrasts(table, 1)[:, ::3]) ** 2
    number = (~np.isnan(squares)).sum(axis=1)
    sums, sums_of_squares = np.nansum(squares, axis=1), np.nansum(squares**2, axis=1)
    pairs = (number * (number - 1)).sum()
    if pairs < 1000:
        return DEFAULT.noise_spread
    mean, product = sums.sum() / number.sum(), (sums**2 - sums_of_squares).sum() / pairs
    own = max(mean - 6 * form, 1e-6)
    ratio = (product - 2 * own * 6 * form - (6 * form) ** 2) / own**2
    return float(np.sqrt(np.clip(np.log(max(ratio, 1.0)) / 4, 0.0, 1.0)))
