"""Defines the prior of the response monitor, and converts the monitor's log odds.

Scores, thresholds and states are in other modules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Weeks = NDArray[np.int64]

NODES = np.linspace(-1.7, 1.45, 5)
"""The values that the model assumes for the noise of a student's scores.

A value is the logarithm of the noise, in units of the standard deviation `Prior.noise_spread`. The values reach
further below the average than above it, so that the model can recognize a student with little noise. More values would
hardly change the statistic.
"""

NODE_WEIGHTS = -0.5 * NODES**2
"""The log weights of NODES."""


@dataclass(frozen=True, slots=True)
class Prior:
    """The monitor's assumptions before the first score.

    Rates are multiples of the required rate g. The unit of `wobble` is the measure's standard error of measurement
    (SEM).

    * `before`, `after`: mean and standard deviation of the rate before and after a change.
    * `hazard`: the probability of a change per week.
    * `wobble`: the standard deviation of the random weekly change of the true score (the score without error).
    * `noise_spread`: students differ in noise; this is the standard deviation of the log of their noise.
    * `share`: the part of the SEM's variance that comes from the form (the passage or set of tasks).
    * `slow`, `pace`: the statistic compares the probability of a rate below `slow` with that of a rate of at least
      `pace`.
    * `once`: the lowest rate that counts as keeping pace in the time before growth stopped.
    """

    before: tuple[float, float] = (0.87, 0.40)
    after: tuple[float, float] = (0.07, 0.20)
    hazard: float = 0.0165
    wobble: float = 0.0625
    noise_spread: float = 0.35
    share: float = 0.35
    slow: float = 0.5
    pace: float = 0.8
    once: float = 0.7

    def __post_init__(self) -> None:
        spreads = self.before[1], self.after[1], self.wobble, self.noise_spread
        if not (0 < self.hazard < 1 and 0 <= self.share < 1 and all(0 <= spread < math.inf for spread in spreads)):
            raise ValueError("A prior has a hazard between 0 and 1, a share from 0 to under 1, and no SD below zero.")


DEFAULT = Prior()


def normal_cdf(z: Array) -> Array:
    """Returns the standard normal distribution function, with a relative error under 2e-7 in both tails.

    It is a Chebyshev fit of erfc in t = 1 / (1 + |x| / 2) (Press and others, Numerical Recipes, "erfcc").
    """
    x = np.abs(z)
    x *= 0.7071067811865476
    t = 1 / (1 + 0.5 * x)
    series = np.full_like(t, 0.17087277)
    for c in (-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368):
        series *= t
        series += c
    series *= t
    x *= x
    series -= x
    series -= 1.26551223
    tail = np.exp(np.maximum(series, -80, out=series), out=series)
    tail *= t
    tail *= 0.5
    return np.asarray(np.where(z > 0, 1 - tail, tail))


def log_odds(slow: Array, pace: Array) -> Array:
    """Returns the log odds of slow growth, log(`slow` / `pace`), limited to +-15.

    Both arguments have a probability for each student. `slow` is the probability that the present rate is below half of
    the required rate. `pace` is the probability that it is at least .8 of the required rate. (Half and .8 are the
    defaults of `Prior.slow` and `Prior.pace`.)
    """
    floor = 1e-30
    return np.asarray(np.clip(np.log((slow + floor) / (pace + floor)), -15, 15))


SLOW_SHARE, UNDER_SHARE = (-0.663, 0.91), (-0.082, 0.934)
"""Two pairs of intercept and slope, which convert the model's log odds into the displayed log odds.

`SLOW_SHARE` is for a rate below .5 g, and `UNDER_SHARE` is for a rate below g, where g is the required rate. Both pairs
were fitted in the benchmark by logistic regression over all students and weeks (`bench/response/shares.py`). The model
gives changes of growth a larger weight than they have in the benchmark, so that the statistic reacts quickly. The
displayed shares are corrected for that weight.
"""


def shares_below(slow: Array, under: Array) -> tuple[Array, Array]:
    """Converts two probabilities of the model into calibrated ones, which are shown to people.

    `slow` is the probability that the rate is below half of the required rate, and `under` that it is below the
    required rate. Returns both in this order.
    """
    displayed_slow, displayed_under = (
        1 / (1 + np.exp(-(intercept + slope * log_odds(raw, np.maximum(1 - raw, 0)))))
        for raw, (intercept, slope) in ((slow, SLOW_SHARE), (under, UNDER_SHARE))
    )
    return displayed_slow, np.maximum(displayed_slow, displayed_under)


DISPLAYED_ODDS = (-0.6, 0.9)
"""Intercept and slope that convert the statistic's log odds into the displayed log odds.

They were fitted in the benchmark by logistic regression. The statistic gives changes of growth a larger weight than
they have in the benchmark, so that it reacts quickly. The displayed odds are corrected for that weight, as
docs/response.md shows.
"""


def calibrated_log_odds(log_odds: Array) -> Array:
    """Converts the log odds of the monitor's statistic to the log odds that are shown to people.

    The conversion was fitted in the benchmark, which simulates students. Larger values of `log_odds` give larger
    results.
    """
    return np.asarray(DISPLAYED_ODDS[0] + DISPLAYED_ODDS[1] * log_odds)
