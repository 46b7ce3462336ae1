"""`python -m bench.response.shares`: measures the probabilities of growth, and the alarms that depend on them.

All students are counted, even those who grow at between half of the required rate and all of it. With `--fit`, it also
prints the numbers that calibrate the probabilities, from populations that are not used for the measurement.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.response.rules.choose import RULES
from app.response.rules.monitor.calibration import PUBLISHED
from app.response.rules.monitor.estimate import STOPPED
from app.response.rules.monitor.model import SLOW_SHARE, UNDER_SHARE, log_odds
from app.response.rules.monitor.panel import judge_weeks
from app.response.rules.wording import NAMED
from bench.response.figures import figures
from bench.response.monitor import FIRST_WEEK, binned_error, panel
from bench.response.world import NEVER, STOPPER, World, Year, simulate

Array = NDArray[np.float64]
FAR = 0.10


@dataclass(frozen=True, slots=True)
class Population:
    """The judgements of all students of a population. Each attribute is an array with the axes students and weeks.

    * `statistic`: the number for which the monitor has a threshold. Above it, an alarm is raised.
    * `slow`: the calibrated probability that growth is below half of the goal's growth rate.
    * `under`: the calibrated probability that growth is below the goal's growth rate.
    * `stopped`: if growth is slow now, the probability that it kept pace before and then changed.
    """

    statistic: Array
    slow: Array
    under: Array
    stopped: Array


@dataclass(frozen=True, slots=True)
class Ends:
    """What was measured in one population.

    * `errors`: the calibration error of each probability.
    * `off_track` and `not_responding`: the figures of these two alarms, such as the false-alarm rate.
    """

    errors: dict[str, float]
    off_track: dict[str, float]
    not_responding: dict[str, float]


def judge_population(year: Year) -> Population:
    """Judges every student in every week, each time from the scores up to that week only."""
    weeks = judge_weeks(panel(year), PUBLISHED.prior, range(1, year.scores.shape[1] + 1))
    return Population(*(np.stack([getattr(week, name) for week in weeks], axis=1) for name in NAMES))


NAMES = ("statistic", "slow", "under", "stopped")


def ends(judged: Population, year: Year, far: float = FAR, named: float = NAMED) -> Ends:
    """Measures the errors of the probabilities and the quality of the alarms in one population.

    `far` is the false-alarm rate that the rule states. An alarm counts as "not responding" if the probability of slow
    growth is at least `named`.
    """
    g, late = year.world.goal_rate, slice(FIRST_WEEK - 1, None)
    shares = {
        "slow": (judged.slow, year.rate < g / 2),
        "short": (judged.under - judged.slow, (year.rate >= g / 2) & (year.rate < g)),
        "on pace": (1 - judged.under, year.rate >= g),
    }
    errors = {name: binned_error(stated[:, late], true[:, late]) for name, (stated, true) in shares.items()}
    alarm = judged.statistic > RULES["monitor"].threshold_at(far)
    alarm[:, : FIRST_WEEK - 1] = False
    is_named = alarm & (judged.slow >= named)
    kinds = kind_shares(is_named, judged.stopped, year)
    return Ends(errors, flagged(alarm, year, g), flagged(is_named, year, g / 2) | kinds)


def kind_shares(is_named: NDArray[np.bool_], stopped: Array, year: Year) -> dict[str, float]:
    """Returns how often the first verdict "not responding" names the right kind.

    `never` is the share for students who never responded, and `stopped` the share for students who responded at first.
    """
    first = np.where(is_named.any(axis=1), is_named.argmax(axis=1) + 1, 0)
    says_stopped = stopped[np.arange(len(first)), np.maximum(first - 1, 0)] > STOPPED
    never = (year.group == NEVER) & (first > 0)
    stopper = (year.group == STOPPER) & (first > year.stop)
    return {"never": float((~says_stopped[never]).mean()), "stopped": float(says_stopped[stopper].mean())}


def flagged(alarm: NDArray[np.bool_], year: Year, rate: float) -> dict[str, float]:
    """Returns the figures of a rule that are computed from each student's first alarm, such as the false-alarm rate.

    `true` is the share of the students with an alarm who truly grow more slowly than `rate`.
    """
    first = np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1, 0)
    true = year.rate[np.arange(len(first)), np.maximum(first - 1, 0)]
    return figures(first, year).value | {"true": float((true[first > 0] < rate).mean())}


def fit(raw: Array, true: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the intercept and the slope of a logistic regression, computed by Newton's method.

    The regression predicts `true` from the log odds of the probabilities `raw`.
    """
    x, y = log_odds(raw, 1 - raw).ravel(), true.ravel().astype(float)
    design, beta = np.stack([np.ones_like(x), x]), np.array([0.0, 1.0])
    for _ in range(30):
        p = 1 / (1 + np.exp(-beta @ design))
        beta = beta + np.linalg.solve((design * (p * (1 - p))) @ design.T, design @ (y - p))
    return float(beta[0]), float(beta[1])


def uncalibrated(share: Array, calibration: tuple[float, float]) -> Array:
    """Returns the probabilities before calibration, computed from the calibrated probabilities."""
    intercept, slope = calibration
    return np.asarray(1 / (1 + np.exp(-(log_odds(share, 1 - share) - intercept) / slope)))


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m bench.response.shares", description=__doc__)
    ask.add_argument("--students", type=int, default=20_000)
    ask.add_argument("--pairs", type=int, default=5)
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--fit", action="store_true")
    options = ask.parse_args()
    runs: list[Ends] = []
    for pair in range(options.pairs):
        seed = options.seed + 2 * pair
        if options.fit:
            year = simulate(World(), options.students, seed)
            judged, late = judge_population(year), slice(FIRST_WEEK - 1, None)
            slow = fit(uncalibrated(judged.slow, SLOW_SHARE)[:, late], year.rate[:, late] < year.world.goal_rate / 2)
            under = fit(uncalibrated(judged.under, UNDER_SHARE)[:, late], year.rate[:, late] < year.world.goal_rate)
            print(f"seed {seed}: slow {slow[0]:.3f} {slow[1]:.3f}, under {under[0]:.3f} {under[1]:.3f}")
        year = simulate(World(), options.students, seed + 1)
        runs.append(ends(judge_population(year), year))
    for name in ("errors", "off_track", "not_responding"):
        print(f"\n{name}, mean (least, most) of {len(runs)} populations of {options.students} students")
        for figure in getattr(runs[0], name):
            values = [getattr(run, name)[figure] for run in runs]
            print(f"  {figure:8} {np.mean(values):.4f} ({min(values):.4f}, {max(values):.4f})")


if __name__ == "__main__":
    main()
