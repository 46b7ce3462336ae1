"""Simulates a school year: students who grow or stop growing, and their noisy scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BASELINES = 3
"""The number of baseline scores of a student, which are taken just before week 1."""

RESPONDER, BETWEEN, NEVER, STOPPER = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class World:
    """The parameters of the simulated year. The defaults are the benchmark's; a stress test changes some of them.

    `bar` is the lowest growth rate at which a student counts as a responder, relative to the required rate.
    """

    weeks: int = 26
    cohort: int = 25
    level: tuple[float, float] = (35.0, 10.0)
    growth: tuple[float, float] = (1.3, 0.6)
    goal_rate: float = 1.5
    wobble: float = 0.5
    noise: float = 8.0
    noise_spread: float = 0.25
    form_share: float = 0.35
    tail: float = 5.0
    missing: float = 0.12
    stopping: float = 0.2
    after: tuple[float, float] = (0.1, 0.3)
    stops: tuple[int, int] = (6, 14)
    stated_sem: float = 8.0
    baseline_forms: bool = True
    outliers: float = 0.0
    autocorrelation: float = 0.0
    fade: int = 0
    kept: float = 0.0
    spring: float = 1.0
    bar: float = 1.0


@dataclass(frozen=True, slots=True)
class Year:
    """The simulated scores of one population. A missing score is nan.

    * `baseline` (students, 3) and `scores` (students, weeks): the scores.
    * `cohort`: the index of the group of students that share their forms.
    * `group`: one of RESPONDER, BETWEEN, NEVER, STOPPER.
    * `stop`: the last week before growth changed, or 0 for none.
    * `true` and `rate` (students, weeks): the true level and the true growth. The rules do not get them.
    * `sd` (students,): each student's noise. The rules do not get it.
    """

    baseline: Array
    scores: Array
    cohort: NDArray[np.int64]
    group: NDArray[np.int64]
    stop: NDArray[np.int64]
    world: World
    true: Array
    rate: Array
    sd: Array


def simulate(world: World, students: int, seed: int) -> Year:
    """Returns a population of this many students, rounded down to whole cohorts.

    The same seed gives the same numbers.
    """
    rng = np.random.default_rng(seed)
    n = students // world.cohort * world.cohort
    growth = rng.normal(*world.growth, n)
    group = np.where(
        growth < world.goal_rate / 2, NEVER, np.where(growth >= world.bar * world.goal_rate, RESPONDER, BETWEEN)
    )
    stops = (group == RESPONDER) & (rng.random(n) < world.stopping)
    group = np.where(stops, STOPPER, group)
    stop = np.where(stops, rng.integers(world.stops[0], world.stops[1] + 1, n), 0)
    after = rng.normal(*world.after, n) + world.kept * growth
    rate = _rates(world, growth, after, stop)
    true = rng.normal(*world.level, n)[:, None] + _risen(world, rate, rng)
    times = BASELINES + world.weeks
    sd = world.noise * np.exp(world.noise_spread * rng.normal(size=n))
    forms = world.noise * np.sqrt(world.form_share) * rng.normal(size=(n // world.cohort, times))
    if not world.baseline_forms:
        forms[:, :BASELINES] = 0
    day = rng.standard_t(world.tail, (n, times)) / np.sqrt(world.tail / (world.tail - 2))
    if world.autocorrelation:
        for t in range(1, times):
            r = world.autocorrelation
            day[:, t] = r * day[:, t - 1] + np.sqrt(1 - r * r) * day[:, t]
    day[rng.random((n, times)) < world.outliers] *= 4
    own = np.where(np.arange(times) < BASELINES, 1.0, np.sqrt(1 - world.form_share))
    own = own if not world.baseline_forms else np.full(times, np.sqrt(1 - world.form_share))
    levels = np.concatenate([np.repeat(true[:, :1], BASELINES, axis=1), true[:, 1:]], axis=1)
    cohort = np.arange(n) // world.cohort
    levels = np.maximum(levels + forms[cohort] + own * sd[:, None] * day, 0.0)
    scores = np.where(rng.random((n, world.weeks)) < world.missing, np.nan, levels[:, BASELINES:])
    return Year(levels[:, :BASELINES], scores, cohort, group, stop, world, true[:, 1:], rate, sd)


def further_scores(year: Year, seed: int, times: int) -> Array:
    """Returns further scores of the same students, as an array (times, students, weeks).

    They have other forms and other daily errors. The share of missing scores is the same.
    """
    rng = np.random.default_rng([seed, 1])
    world, shape = year.world, (times, *year.scores.shape)
    forms = world.noise * np.sqrt(world.form_share) * rng.normal(size=(times, year.cohort.max() + 1, shape[2]))
    day = rng.standard_t(world.tail, shape) / np.sqrt(world.tail / (world.tail - 2))
    error = np.sqrt(1 - world.form_share) * year.sd[:, None] * day + forms[:, year.cohort]
    return np.where(rng.random(shape) < world.missing, np.nan, np.maximum(year.true + error, 0.0))


def _rates(world: World, growth: Array, after: Array, stop: NDArray[np.int64]) -> Array:
    """Returns each student's true growth in each week."""
    week = np.arange(1, world.weeks + 1)
    past = np.clip((week - stop[:, None]) / max(world.fade, 1), 0, 1) * (stop[:, None] > 0)
    rate = growth[:, None] * (1 - past) + after[:, None] * past
    return np.where((world.spring < 1) & (week > world.weeks * 2 // 3), rate * world.spring, rate)


def _risen(world: World, rate: Array, rng: np.random.Generator) -> Array:
    """Returns how much each student's true level has risen since the start, for each week from week 0 on.

    The rise includes a random variation of the level from week to week.
    """
    steps = rate + world.wobble * rng.normal(size=rate.shape)
    return np.concatenate([np.zeros((len(rate), 1)), np.cumsum(steps, axis=1)], axis=1)
