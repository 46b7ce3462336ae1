"""Owns the imagined district: students as the calibration believes them to be. Never a real one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.model import DEFAULT, Array, Prior
from app.response.rules.monitor.panel import Panel, judge_weeks

WEEKS = 26
"""A stated false-alarm rate is of so many weeks."""


@dataclass(frozen=True, slots=True)
class ImaginedDistrict:
    """What the imagined students are drawn from. In units of the estimated noise, and g.

    growth: mean and SD of the true rate, in g. later: the common pace by week, 1 where it stays the same. errors: a
    pool of standardised own errors. spread: SD of the log of students' noise. sizes: of cohorts. baselines: variance
    of the error of each baseline score. level: SD of the level. goals: required rates, drawn one for a cohort.
    """

    growth: tuple[float, float]
    later: Array
    errors: Array
    spread: float
    correlation: float
    wobble: float
    share: float
    missing: float
    sizes: NDArray[np.int64]
    baselines: Array
    level: float
    goals: Array


def imagine(district: ImaginedDistrict, students: int, seed: int, hazard: float) -> tuple[Panel, NDArray[np.bool_]]:
    """Some students in whole cohorts over 26 weeks, and who of them grows as the goal needs, or faster, to the end.

    hazard: probability a week that growth turns to what it is after a change.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.choice(district.sizes, max(int(students / district.sizes.mean()), 1))
    cohort = np.repeat(np.arange(len(sizes)), sizes)
    n, base = len(cohort), len(district.baselines)
    rate = rng.normal(*district.growth, n)
    goals = rng.choice(district.goals, len(sizes))[cohort]
    steps = (rate * goals)[:, None] * district.later + district.wobble * rng.normal(size=(n, WEEKS))
    change = rng.geometric(hazard, n)
    after = rng.normal(*DEFAULT.after, n) - rate
    steps += np.where(np.arange(1, WEEKS + 1) > change[:, None], (after * goals)[:, None], 0)
    risen = np.concatenate([np.zeros((n, base)), np.cumsum(steps, axis=1)], axis=1)
    error = rng.choice(district.errors, (n, base + WEEKS))
    r = district.correlation
    for t in range(1, base + WEEKS if r else 0):
        error[:, t] = r * error[:, t - 1] + np.sqrt(1 - r * r) * error[:, t]
    noise = np.r_[district.baselines, np.ones(WEEKS)]
    own = np.sqrt((1 - district.share) * noise) * np.exp(district.spread * rng.normal(size=n))[:, None]
    forms = np.sqrt(district.share * np.minimum(noise, 1)) * rng.normal(size=(len(sizes), base + WEEKS))
    values = district.level * rng.normal(size=n)[:, None] + risen + own * error + forms[cohort]
    values[:, base:][rng.random((n, WEEKS)) < district.missing] = np.nan
    times = np.r_[np.zeros(base, np.int64), np.arange(1, WEEKS + 1)]
    return Panel(times, np.ascontiguousarray(values.T), goals, cohort, noise), (rate >= 1) & (change >= WEEKS)


def worst_of_responders(district: ImaginedDistrict, prior: Prior, students: int, seed: int, hazard: float) -> Array:
    """The highest statistic of the 26 weeks, of each imagined student whose growth is what the goal needs or more.

    Some of their classmates stop growing: that makes the forms look harder than they were, and them better.
    """
    panel, keeps_pace = imagine(district, students, seed, hazard)
    found = judge_weeks(panel, prior, range(3, WEEKS + 1), only=keeps_pace)
    return np.asarray(np.max([week.statistic for week in found], axis=0))
