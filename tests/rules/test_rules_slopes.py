"""Tests the decision rules that use slopes or medians.

Their numbers must agree with independent computations, and there is an example of each state.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from statistics import median

import numpy as np
import pytest

from app.response.aimline import UnjudgeableSeries
from app.response.rules.choose import RULES, judge
from app.response.rules.field.slopes import residual_error, theil_sen
from app.response.rules.rule import UnusableRule
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import NonresponseKind, State

SLOPES = ("theil-sen", "dual-discrepancy", "slope-interval", "eb-slope")


def weekly(values: Iterable[float], sem: float | None = None, goal: float = 40.0) -> Series:
    """Returns a series with one score a week from week 1 on. By default, its aimline in week t is 10 + 1.5 t."""
    return Series(tuple(Observation(n + 1, float(v)) for n, v in enumerate(values)), 10.0, goal, 20, sem=sem)


def test_every_rule_of_the_field_is_in_the_registry() -> None:
    assert {"four-point", "three-point", "median", "trend", *SLOPES} <= set(RULES)


def test_theil_sen_is_the_median_of_all_pairwise_slopes() -> None:
    rng = np.random.default_rng(2)
    t, y = rng.choice(30, 11, replace=False).tolist(), rng.normal(40, 9, 11).tolist()
    pairs = [(y[j] - y[i]) / (t[j] - t[i]) for i, j in itertools.combinations(range(11), 2)]
    assert theil_sen(t, y) == pytest.approx(median(pairs))


def test_residual_error_agrees_with_an_independent_least_squares() -> None:
    rng = np.random.default_rng(4)
    t, y = np.arange(12), rng.normal(40, 9, 12)
    _, residuals, *_ = np.polyfit(t, y, 1, full=True)
    assert residual_error(t.tolist(), y.tolist()) == pytest.approx(float(np.sqrt(residuals[0] / 10)))


@pytest.mark.parametrize("rule", SLOPES)
def test_a_flat_noisy_series_is_flagged_and_a_steep_one_is_not(rule: str) -> None:
    noise = np.random.default_rng(1).normal(0, 1.5, 14)
    assert judge(rule, weekly(10 + noise, sem=3.0)).state is State.NOT_RESPONDING
    assert judge(rule, weekly(10 + 1.9 * np.arange(1, 15) + noise, sem=3.0, goal=40)).state is State.RESPONDING


@pytest.mark.parametrize("rule", ["median", *SLOPES])
def test_growth_that_stopped_is_told_apart_from_growth_that_never_was(rule: str) -> None:
    stopped = judge(rule, weekly([10 + 1.8 * min(t, 7) for t in range(1, 18)], sem=1.0))
    assert (stopped.state, stopped.kind) == (State.NOT_RESPONDING, NonresponseKind.STOPPED)
    assert "about week" in stopped.sentence
    never = judge(rule, weekly([10 + 0.1 * t for t in range(1, 18)], sem=1.0))
    assert (never.state, never.kind, never.change_week) == (State.NOT_RESPONDING, NonresponseKind.NEVER, None)


def test_one_outlying_score_moves_least_squares_and_not_theil_sen() -> None:
    values = [10 + 1.7 * t for t in range(1, 11)]
    values[-1] = 0.0
    assert judge("trend", weekly(values)).state is State.OFF_TRACK
    assert judge("theil-sen", weekly(values)).state is State.RESPONDING


def test_dual_discrepancy_needs_both() -> None:
    """A student far below the aimline who grows faster than the aimline is not flagged."""
    assert judge("dual-discrepancy", weekly([-5 + 1.8 * t for t in range(1, 13)], sem=2.0)).state is State.RESPONDING
    assert judge("dual-discrepancy", weekly([25 + 0.5 * t for t in range(1, 13)], sem=2.0)).state is State.RESPONDING


def test_the_slope_interval_is_the_formula() -> None:
    noise = np.random.default_rng(6).normal(0, 2, 9)
    series = weekly(12 + 0.4 * np.arange(1, 10) + noise)
    t, y = np.arange(1, 10), np.array(series.values)
    rate, start = np.polyfit(t, y, 1)
    see = np.sqrt(((y - start - rate * t) ** 2).sum() / 7)
    width = 1.1503493804 * see / np.sqrt(((t - t.mean()) ** 2).sum()) * (20 - 9)
    expected = 40 - (start + rate * 20) - width
    assert judge("slope-interval", series).statistic == pytest.approx(expected, abs=1e-5)
    early = judge("slope-interval", weekly([1, 2, 3, 4, 5]))
    assert (early.state, early.because[0].code) == (State.INSUFFICIENT_DATA, "too_early")


def test_a_wider_standard_error_shrinks_the_slope_further() -> None:
    flat = [20.0, 19.0, 20.0, 21.0, 20.0, 19.0, 20.0, 21.0]
    near, far = judge("eb-slope", weekly(flat, sem=1.0)), judge("eb-slope", weekly(flat, sem=12.0))
    assert near.statistic is not None
    assert far.statistic is not None
    assert near.statistic < far.statistic < 1.5 * 0.87


def test_parameters_out_of_range_and_a_foolish_sem_are_refused() -> None:
    with pytest.raises(UnusableRule) as refused:
        judge("slope-interval", weekly([1] * 9), {"confidence": 100})
    assert refused.value.code == "parameter_out_of_range"
    with pytest.raises(UnjudgeableSeries) as error:
        judge("median", weekly([1] * 9, sem=0.0))
    assert error.value.code == "sem_not_positive"
