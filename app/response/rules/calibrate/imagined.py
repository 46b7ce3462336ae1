"""Simulates the students of a district from the estimates of a calibration. Uses no data of a real student."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.model import DEFAULT, Array, Prior
from app.response.rules.monitor.panel import Panel, judge_weeks

WEEKS = 26
"""The number of weeks to which a stated false-alarm rate refers."""


@dataclass(frozen=True, slots=True)
class ImaginedDistrict:
    """The distributions from which simulated students are drawn.

    Scores are in units of the estimated noise. The required rate of a student's cohort is called g.

    * growth: mean and SD of the true rate, as a multiple of g.
    * later: for each week, the factor by which the growth of all students is multiplied; 1 changes nothing.
    * errors: standardized errors from which the error of each score is drawn.
    * spread: SD of the log of students' noise.
    * correlation: the correlation of two errors of one student that are one week apart.
    * wobble: SD of the random weekly change of a student's true score (the score without error).
    * share: the part of a score's variance that comes from its form (the version of the test).
    * missing: the share of scores that are missing.
    * sizes: cohort sizes, one of which is drawn for each cohort.
    * baselines: the variance of the error of each baseline score.
    * level: SD of the students' levels.
    * goals: required rates; one rate is drawn for each cohort.
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
    """Returns simulated students in whole cohorts over 26 weeks, and which of them always grow as the goal requires.

    The second result is an array with True or False for each student. `hazard` is the probability per week that a
    student's growth changes.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.choice(district.sizes, max(int(students / district.sizes.mean()), 1))
    cohort = np.repeat(np.arange(len(sizes)), sizes)
    n, baseline_scores = len(cohort), len(district.baselines)
    rate = rng.normal(*district.growth, n)
    goals = rng.choice(district.goals, len(sizes))[cohort]
    steps = (rate * goals)[:, None] * district.later + district.wobble * rng.normal(size=(n, WEEKS))
    change = rng.geometric(hazard, n)
    after = rng.normal(*DEFAULT.after, n) - rate
    steps += np.where(np.arange(1, WEEKS + 1) > change[:, None], (after * goals)[:, None], 0)
    gains = np.concatenate([np.zeros((n, baseline_scores)), np.cumsum(steps, axis=1)], axis=1)
    error = rng.choice(district.errors, (n, baseline_scores + WEEKS))
    r = district.correlation
    for t in range(1, baseline_scores + WEEKS if r else 0):
        error[:, t] = r * error[:, t - 1] + np.sqrt(1 - r * r) * error[:, t]
    noise = np.r_[district.baselines, np.ones(WEEKS)]
    own = np.sqrt((1 - district.share) * noise) * np.exp(district.spread * rng.normal(size=n))[:, None]
    forms = np.sqrt(district.share * np.minimum(noise, 1)) * rng.normal(size=(len(sizes), baseline_scores + WEEKS))
    values = district.level * rng.normal(size=n)[:, None] + gains + own * error + forms[cohort]
    values[:, baseline_scores:][rng.random((n, WEEKS)) < district.missing] = np.nan
    times = np.r_[np.zeros(baseline_scores, np.int64), np.arange(1, WEEKS + 1)]
    return Panel(times, np.ascontiguousarray(values.T), goals, cohort, noise), (rate >= 1) & (change >= WEEKS)


def worst_of_responders(district: ImaginedDistrict, prior: Prior, students: int, seed: int, hazard: float) -> Array:
    """Simulates students, and returns for each responder the highest statistic in the weeks up to week 26.

    A responder always grows as the goal requires. The statistic is the monitor's log odds of slow growth. The monitor
    raises a false alarm for a responder if the statistic exceeds the threshold.

    Some classmates of the responders stop growing. The forms (versions of the test) then look more difficult than they
    are, and the responders look better than they are. `hazard` is the probability per week that a student's growth
    changes.
    """
    panel, keeps_pace = imagine(district, students, seed, hazard)
    estimates = judge_weeks(panel, prior, range(3, WEEKS + 1), only=keeps_pace)
    return np.asarray(np.max([week.statistic for week in estimates], axis=0))
