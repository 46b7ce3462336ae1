"""Owns judging many series at once with the response monitor: panels of scores in, arrays out. Never a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.forms import LEAST, form_effects
from app.response.rules.monitor.model import Array, Posterior, Prior, filter_bank, log_odds, normal_cdf

WIDE = 100.0
"""Variance of the level, SEM^2, where no cohort says where students stand."""

STOPPED = 0.62
"""A student counts as stopped, not as never responding, from this probability on."""

MIDDLE_80 = 1.2815515655446004

CHUNK = 500
"""Students judged at a time: what a processor's cache holds."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Series on common slots: a slot is one form in one week, or one administration where no form is known.

    times: (slots,) instructional weeks, in order; 0 for the baseline. values: (slots, students) in SEM, nan where
    there is none, turned so that better is up. g: (students,), the required rate, SEM a week, above zero. cohort:
    (students,), equal numbers side by side. noise: (slots,), variance of a slot's error in SEM^2, 1 for one score.
    """

    times: NDArray[np.int64]
    values: Array
    g: Array
    cohort: NDArray[np.int64]
    noise: Array

    def upto(self, week: int) -> Panel:
        """What was known at the end of that week."""
        known = self.times <= week
        return Panel(self.times[known], self.values[known], self.g, self.cohort, self.noise[known])

    def part(self, students: slice) -> Panel:
        return Panel(self.times, self.values[:, students], self.g[students], self.cohort[students], self.noise)


@dataclass(frozen=True, slots=True)
class Found:
    """For each student: the statistic (log odds), the rate now with its middle 80 % in g, and how it came to be.

    slow, pace: P(rate < .5 g), P(rate >= .8 g). stopped: P(growth kept pace before it changed, given that it is
    slow now). change: the likeliest week of the change, 0 where no change is likelier than none.
    """

    statistic: Array
    rate: Array
    low: Array
    high: Array
    slow: Array
    pace: Array
    stopped: Array
    change: NDArray[np.int64]


def starting_level(panel: Panel) -> tuple[Array, Array]:
    """Mean and variance of the level at week 0 for each student: the cohort's, from its first scores.

    Cohorts of under five students get their own first score and a variance that leaves it open.
    """
    base = np.where((panel.times == 0)[:, None], panel.values, np.nan)
    there = ~np.isnan(base)
    number = there.sum(axis=0)
    first = np.take_along_axis(panel.values, (~np.isnan(panel.values)).argmax(axis=0)[None], axis=0)[0]
    first = np.where(np.isnan(first), 0, first)
    level = np.where(number > 0, np.where(there, base, 0).sum(axis=0) / np.maximum(number, 1), first)
    noise = np.where(there, panel.noise[:, None], 0).sum(axis=0) / np.maximum(number, 1) ** 2
    mean, variance = level.copy(), np.full_like(level, WIDE)
    edges = np.flatnonzero(np.r_[True, panel.cohort[1:] != panel.cohort[:-1], True])
    for begin, end in pairwise(edges):
        if end - begin >= LEAST and number[begin:end].all():
            mean[begin:end] = level[begin:end].mean()
            spread = level[begin:end].var(ddof=1) - noise[begin:end].mean()
            variance[begin:end] = max(spread, 0.3) + 0.1
    return mean, variance


def posterior_of(panel: Panel, prior: Prior, adjust: bool, week: int | None = None) -> Posterior:
    """The monitor's posterior for a panel whose times are all up to `week`."""
    start = starting_level(panel)
    effect: Array = np.zeros((len(panel.times), 1))
    variance: Array = np.full((len(panel.times), 1), prior.share)
    if adjust:
        effect, variance = form_effects(panel.times, panel.values, panel.g, start, panel.cohort, prior)
    own = (1 - prior.share) * panel.noise
    extra = variance * np.minimum(panel.noise, 1)[:, None]
    return filter_bank(panel.times, panel.values - effect, extra, panel.g, start, own, prior, week)


def judge_panel(panel: Panel, prior: Prior, *, adjust: bool = True, week: int | None = None) -> Found:
    """The monitor as of `week` (default: the last that has a score). Work and memory grow with students x slots."""
    week = int(panel.times[-1]) if week is None else week
    panel = panel.upto(week)
    parts = [read(posterior_of(panel.part(part), prior, adjust, week)) for part in _parts(panel.cohort)]
    names = Found.__dataclass_fields__
    return Found(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _parts(cohort: NDArray[np.int64]) -> list[slice]:
    """Runs of whole cohorts of about CHUNK students; a larger cohort stays whole."""
    edges = np.flatnonzero(np.r_[True, cohort[1:] != cohort[:-1], True])
    cuts = [0]
    for begin, end in pairwise(edges):
        if end - cuts[-1] > CHUNK and begin > cuts[-1]:
            cuts.append(int(begin))
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(cohort)], strict=True)]


def read(posterior: Posterior) -> Found:
    """What a posterior says: odds, rate, interval (mean and SD of the mixture, as if normal), kind and week."""
    p, prior = posterior, posterior.prior
    below = p.weight * normal_cdf((prior.slow - p.mean) / p.sd)
    slow, pace = below.sum(axis=(0, 1)), (p.weight * normal_cdf((p.mean - prior.pace) / p.sd)).sum(axis=(0, 1))
    rate = (p.weight * p.mean).sum(axis=(0, 1))
    sd = np.sqrt(np.maximum((p.weight * (p.sd**2 + p.mean**2)).sum(axis=(0, 1)) - rate**2, 1e-12))
    changed = below[1:]
    once = (changed * normal_cdf((p.was_mean[1:] - prior.once) / np.maximum(p.was_sd[1:], 1e-6))).sum(axis=(0, 1))
    by_week = changed.sum(axis=1)
    change = by_week.argmax(axis=0) + 1 if len(by_week) else np.zeros(rate.shape, np.int64)
    stopped = once / np.maximum(slow, 1e-30)
    low, high = rate - MIDDLE_80 * sd, rate + MIDDLE_80 * sd
    return Found(log_odds(p), rate, low, high, slow, pace, stopped, change)
