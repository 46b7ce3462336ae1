"""Owns the response monitor's arithmetic: a bank of Kalman filters over students, one for every week of change.

Pure arrays, batched; one student is a batch of one. Never a sentence, a threshold or a state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

CLIP = 3.0
"""A score further than this many standard errors from what is expected counts as if it were no further."""

NODES = np.linspace(-1.5, 1.5, 7)


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before the first score. Rates are in required rates g, the rest in the measure's SEM.

    before, after: mean and SD of the rate before and after a change. hazard: probability of a change a week.
    wobble: SD of the weekly step of the true level. noise_spread: SD of the log of a student's own noise.
    share: the part of the SEM's variance that is the form. slow, pace: the rates that the statistic tells apart,
    in g; once: the rate that counts as having kept pace before growth stopped.
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


@dataclass(frozen=True, slots=True)
class Posterior:
    """The mixture at the last week. Axes: change week (0: no change), noise multiple, student.

    weight sums to 1 over the first two. mean, sd: of the rate now, in g. was: mean and SD of the rate just
    before the change, as it was known then, `was_mean`, `was_sd`.
    """

    weight: Array
    mean: Array
    sd: Array
    was_mean: Array
    was_sd: Array
    prior: Prior


def normal_cdf(z: Array) -> Array:
    """The standard normal distribution function, relative error under 2e-7 in both tails.

    A Chebyshev fit of erfc in t = 1 / (1 + |x| / 2) (Press and others, Numerical Recipes, "erfcc").
    """
    x = np.abs(z) * np.asarray(0.7071067811865476, z.dtype)
    t = 1 / (1 + 0.5 * x)
    series = np.full_like(t, 0.17087277)
    for c in (-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368):
        series *= t
        series += c
    tail = 0.5 * t * np.exp(np.maximum(-x * x - 1.26551223 + t * series, -80))
    return np.asarray(np.where(z > 0, 1 - tail, tail))


def filter_bank(
    times: NDArray[np.int64],
    values: Array,
    extra: Array,
    g: Array,
    start: tuple[Array, Array],
    own: Array,
    prior: Prior,
    upto: int | None = None,
) -> Posterior:
    """The posterior over change weeks and rates, given scores at these times, as of week `upto`.

    times: (slots,), whole weeks in order. values: (slots, students) in SEM, nan where there is no score, better
    is up. extra: (slots, students) or (slots, 1), variance of each score besides the student's own, SEM^2.
    g: (students,), the required rate in SEM a week. start: mean and variance of the level at week 0,
    (students,). own: (slots,), variance of a
    score's own noise, SEM^2. Under "change after week w" the rate is drawn anew
    from `after` at the end of week w; level and rate are exact Gaussian (Kalman, 1960; Adams and MacKay, 2007,
    for the bank of change times).
    """
    kind, students = values.dtype, values.shape[1]
    last = int(times[-1]) if upto is None else upto
    factor = np.exp(2 * prior.noise_spread * NODES).astype(kind)
    shape = (max(last, 1), len(NODES), students)
    level, rate, ll, was, was_var = (np.zeros(shape, kind) for _ in range(5))
    vll, vlr, vrr = (np.zeros(shape, kind) for _ in range(3))
    level[0], vll[0] = start[0], start[1]
    rate[0], vrr[0] = prior.before[0] * g, (prior.before[1] * g) ** 2
    ll[0] = (-0.5 * NODES**2)[:, None]
    q = np.asarray((prior.wobble) ** 2, kind)
    stay, change = np.log1p(-prior.hazard), np.log(prior.hazard)
    after_mean, after_var = prior.after[0] * g, (prior.after[1] * g) ** 2
    slot, live = 0, 1
    for week in range(last + 1):
        a = slice(0, live)
        if week:
            level[a] += rate[a]
            vll[a] += 2 * vlr[a] + vrr[a] + q
            vlr[a] += vrr[a]
        while slot < len(times) and times[slot] <= week:
            there = ~np.isnan(values[slot])
            if there.any():
                v = np.where(there, values[slot], 0) - level[a]
                s = vll[a] + (own[slot] * factor)[:, None] + extra[slot]
                inverse = there / s
                limit = CLIP * np.sqrt(s)
                v = np.minimum(np.maximum(v, -limit), limit)
                kl, kr = vll[a] * inverse, vlr[a] * inverse
                ll[a] -= 0.5 * (v * v * inverse + np.where(there, np.log(s), 0))
                level[a] += kl * v
                rate[a] += kr * v
                vrr[a] -= kr * vlr[a]
                vlr[a] -= kl * vlr[a]
                vll[a] -= kl * vll[a]
            slot += 1
        if 1 <= week < last:
            w = live
            level[w], vll[w], vlr[w] = level[0], vll[0], 0
            rate[w], vrr[w] = after_mean, after_var
            was[w], was_var[w] = rate[0], vrr[0]
            ll[w] = ll[0] + change
            live += 1
            ll[0] += stay
    ll, a = ll[:live], slice(0, live)
    top = ll.max(axis=(0, 1))
    weight = np.exp(ll - top)
    weight /= weight.sum(axis=(0, 1))
    return Posterior(weight, rate[a] / g, np.sqrt(vrr[a]) / g, was[a] / g, np.sqrt(was_var[a]) / g, prior)


def log_odds(posterior: Posterior) -> Array:
    """log [ P(rate now < slow g) / P(rate now >= pace g) ], (students,); kept within +-15."""
    p, prior = posterior, posterior.prior
    slow = (p.weight * normal_cdf((prior.slow - p.mean) / p.sd)).sum(axis=(0, 1))
    pace = (p.weight * normal_cdf((p.mean - prior.pace) / p.sd)).sum(axis=(0, 1))
    floor = 1e-30
    return np.asarray(np.clip(np.log((slow + floor) / (pace + floor)), -15, 15))
