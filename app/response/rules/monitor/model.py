"""Owns the response monitor's arithmetic: a bank of Kalman filters over students, one for every week of change.

Pure arrays, batched; one student is a batch of one. Never a sentence, a threshold or a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    last = int(times[-1]) if upto is None else upto
    bank = _Bank(max(last, 1), values.dtype, g, start, prior)
    holes, slot = np.isnan(values), 0
    filled, none = np.where(holes, 0, values), np.all(holes, axis=1, keepdims=True)[:, 0]
    for week in range(last + 1):
        if week:
            bank.predict()
        while slot < len(times) and times[slot] <= week:
            if not none[slot]:
                bank.see(filled[slot], np.flatnonzero(holes[slot]), own[slot], extra[slot])
            slot += 1
        if 1 <= week < last:
            bank.split()
    return bank.posterior()


class _Bank:
    """The filters that live so far: no change, then one for each week of change. Axes: filter, noise, student."""

    def __init__(self, most: int, kind: np.dtype[Any], g: Array, start: tuple[Array, Array], prior: Prior) -> None:
        shape = (most, len(NODES), len(g))
        self.live, self.g, self.prior = 1, g, prior
        self.factor = np.exp(2 * prior.noise_spread * NODES).astype(kind)
        self.level, self.rate, self.was, self.was_var = (np.zeros(shape, kind) for _ in range(4))
        self.vll, self.vlr, self.vrr = (np.zeros(shape, kind) for _ in range(3))
        self.lost, self.size, self.logs = np.zeros(shape, kind), np.ones(shape, kind), np.zeros(shape, kind)
        self.room = [np.empty(shape, kind) for _ in range(4)]
        self.level[0], self.vll[0] = start
        self.rate[0], self.vrr[0] = prior.before[0] * g, (prior.before[1] * g) ** 2
        self.logs[0] = (NODES**2)[:, None]
        self.seen = 0

    def predict(self) -> None:
        """A week goes by: the level moves by the rate, and wobbles."""
        a, step = slice(0, self.live), self.room[0][: self.live]
        self.level[a] += self.rate[a]
        np.add(self.vlr[a], self.vlr[a], out=step)
        step += self.vrr[a]
        step += np.asarray(self.prior.wobble**2, step.dtype)
        self.vll[a] += step
        self.vlr[a] += self.vrr[a]

    def see(self, values: Array, missing: NDArray[np.int64], own: Array, extra: Array) -> None:
        """One slot's scores; students without one stay as they are."""
        a = slice(0, self.live)
        s, v, e, k = (room[a] for room in self.room)
        np.add(self.vll[a], (own * self.factor)[:, None] + extra, out=s)
        if len(missing):
            s[:, :, missing] = np.inf
        np.subtract(values, self.level[a], out=v)
        np.multiply(v, v, out=e)
        e /= s
        far = e > CLIP**2
        if far.any():
            v[far] = np.copysign(CLIP * np.sqrt(s[far]), v[far])
            e[far] = CLIP**2
        self.lost[a] += e
        np.divide(self.vlr[a], s, out=k)
        self._gain(k, v, e, self.rate[a], self.vrr[a])
        np.divide(self.vll[a], s, out=k)
        self._gain(k, v, e, self.level[a], self.vlr[a])
        k *= self.vll[a]
        self.vll[a] -= k
        if len(missing):
            s[:, :, missing] = 1
        self.size[a] *= s
        self.seen += 1
        if self.seen % 8 == 0:
            # Logarithms are dear: one for eight scores.
            self.logs[a] += np.log(self.size[a])
            self.size[a] = 1

    def _gain(self, k: Array, v: Array, room: Array, mean: Array, variance: Array) -> None:
        np.multiply(k, v, out=room)
        mean += room
        np.multiply(k, self.vlr[: self.live], out=room)
        variance -= room

    def split(self) -> None:
        """From the filter without a change, one in which the rate is drawn anew at the end of this week."""
        w, after = self.live, self.prior.after
        self.level[w], self.vll[w], self.size[w], self.lost[w] = self.level[0], self.vll[0], self.size[0], self.lost[0]
        self.rate[w], self.vrr[w], self.vlr[w] = after[0] * self.g, (after[1] * self.g) ** 2, 0
        self.was[w], self.was_var[w] = self.rate[0], self.vrr[0]
        self.logs[w] = self.logs[0] - 2 * np.log(self.prior.hazard)
        self.logs[0] -= 2 * np.log1p(-self.prior.hazard)
        self.live += 1

    def posterior(self) -> Posterior:
        a, g = slice(0, self.live), self.g
        ll = -0.5 * (self.lost[a] + self.logs[a] + np.log(self.size[a]))
        weight = np.exp(ll - ll.max(axis=(0, 1)))
        weight /= weight.sum(axis=(0, 1))
        sd, was_sd = np.sqrt(self.vrr[a]) / g, np.sqrt(self.was_var[a]) / g
        return Posterior(weight, self.rate[a] / g, sd, self.was[a] / g, was_sd, self.prior)


def log_odds(posterior: Posterior) -> Array:
    """log [ P(rate now < slow g) / P(rate now >= pace g) ], (students,); kept within +-15."""
    p, prior = posterior, posterior.prior
    slow = (p.weight * normal_cdf((prior.slow - p.mean) / p.sd)).sum(axis=(0, 1))
    pace = (p.weight * normal_cdf((p.mean - prior.pace) / p.sd)).sum(axis=(0, 1))
    floor = 1e-30
    return np.asarray(np.clip(np.log((slow + floor) / (pace + floor)), -15, 15))
