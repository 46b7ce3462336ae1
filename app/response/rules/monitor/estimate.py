"""Summarizes posteriors: the statistic, the present rate, the probabilities of slow growth and the week of a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.filters import Posterior
from app.response.rules.monitor.model import Array, log_odds, normal_cdf, shares_below

STOPPED = 0.62
"""The limit of `PanelEstimate.stopped`. Above it, the kind of nonresponse is `stopped`, otherwise it is `never`."""

LEAST_SLOW = 0.6
"""An alarm can be named "not responding" only if the model's probability of slow growth is above this value.

If the probability is not above this value, the kind of nonresponse is not needed, so it is not computed.
"""

MIDDLE_80 = 1.2815515655446004


@dataclass(frozen=True, slots=True)
class PanelEstimate:
    """The monitor's estimate for each student: the statistic, the present rate with its interval, and the change.

    * statistic: the log odds of slow growth, which are compared with the threshold (see `model.log_odds`).
    * if_delivered: the statistic that would follow if all of the planned dose had been delivered.
    * rate, low, high: the present rate and the bounds of its middle 80 %, as multiples of the required rate.
    * slow: the probability that the rate is below half of the required rate, calibrated for display.
    * under: the probability that the rate is below the required rate, calibrated for display. It is never lower than
      `slow`.
    * stopped: if growth is slow now, the probability that it kept pace before and then changed. It is 0 if slow growth
      is too improbable for an alarm to be called "not responding" (`LEAST_SLOW`).
    * change: the most likely week of the change, counted from the start of the phase. 0 if no change was possible.
    """

    statistic: Array
    if_delivered: Array
    rate: Array
    low: Array
    high: Array
    slow: Array
    under: Array
    stopped: Array
    change: NDArray[np.int64]

    @classmethod
    def together(cls, parts: Sequence[PanelEstimate]) -> PanelEstimate:
        """Joins the estimates of several panels, and returns them as one."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))


def summarize(posterior: Posterior) -> PanelEstimate:
    """Returns the estimate that follows from a posterior.

    The interval of the rate is computed as if the rate, over all hypotheses together, had a normal distribution.
    """
    p, prior = posterior, posterior.prior
    z = np.empty((2, *p.mean.shape))
    np.subtract(prior.slow, p.mean, out=z[0])
    np.subtract(p.mean, prior.pace, out=z[1])
    z /= p.sd
    below, within = normal_cdf(z)
    # Summed over the hypotheses one axis after the other, so that other students in the panel never change the result.
    parts = np.empty((4, *p.mean.shape))
    changed = np.multiply(p.weight, below, out=parts[0])[1:]
    np.multiply(p.weight, within, out=parts[1])
    np.multiply(p.weight, p.mean, out=parts[2])
    np.multiply(parts[2], p.mean, out=parts[3])
    variance = np.multiply(p.sd, p.sd, out=z[0])
    variance *= p.weight
    parts[3] += variance
    slow, pace, rate, square = parts.sum(axis=1).sum(axis=1)
    under = _under(p.weight, parts[2], parts[3])
    sd = np.sqrt(np.maximum(square - rate**2, 1e-12))
    statistic = log_odds(slow, pace)
    change = p.week[changed.sum(axis=1).argmax(axis=0)] - p.began
    low, high = rate - MIDDLE_80 * sd, rate + MIDDLE_80 * sd
    displayed_slow, displayed_under = shares_below(slow, under)
    stopped = _stopped(p, parts[0], slow, np.flatnonzero(slow > LEAST_SLOW))
    change = np.maximum(change, 0)
    return PanelEstimate(statistic, statistic, rate, low, high, displayed_slow, displayed_under, stopped, change)


def _under(weight: Array, rate: Array, square: Array) -> Array:
    """Returns the probability that a student's growth rate is below the required rate.

    A hypothesis is a week of change together with a level of noise. `weight` has the weight of each hypothesis. `rate`
    has the mean rate of each hypothesis, multiplied by the weight, and `square` the mean squared rate, multiplied by
    the weight. Rates are multiples of the required rate. For each week of change, all levels of noise together are
    approximated by one normal distribution.
    """
    # So few numbers are added in order, so that other students in the panel never change the result.
    total, mean, spread = weight.sum(axis=1), rate.sum(axis=1), square.sum(axis=1)
    np.maximum(total, 1e-300, out=total)
    mean /= total
    spread /= total
    spread -= mean * mean
    z = (1 - mean) / np.sqrt(np.maximum(spread, 1e-12))
    return np.asarray(np.add.accumulate(total * normal_cdf(z), axis=0)[-1])


def _stopped(p: Posterior, below: Array, slow: Array, chosen: NDArray[np.int64]) -> Array:
    """Returns the probability that growth kept pace before and then changed, given that growth is slow now.

    It is computed only for the students whose indices are in `chosen`, and is 0 for all others. A hypothesis is a week
    of change together with a level of noise. `below` has, for each hypothesis, the probability that it is true and the
    rate is slow. `slow` is the sum of `below` over the hypotheses.
    """
    stopped = np.zeros(len(slow))
    if not len(chosen):
        return stopped
    z = p.was_mean[:, :, chosen] - p.prior.once
    z /= np.maximum(p.was_sd[:, :, chosen], 1e-6)
    kept = normal_cdf(z)
    kept *= below[:, :, chosen]
    kept[0] = 0
    stopped[chosen] = kept.sum(axis=0).sum(axis=0) / np.maximum(slow[chosen], 1e-30)
    return stopped
