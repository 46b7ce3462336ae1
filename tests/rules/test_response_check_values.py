"""Tests the classic decision rules with known numbers, each of which was computed by another method."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from app.response.rules.choose import judge
from app.response.rules.field.kpoint import last_run
from app.response.rules.field.trend import best_break, slope, slope_se
from app.response.rules.series import Observation, Series
from app.response.rules.verdict import ALARMS


def weekly(values: Iterable[float]) -> Series:
    """Returns a series with one score a week from week 1 on. The aimline is 10 + 1.5 t and ends in week 60."""
    observations = tuple(Observation(n + 1, float(value)) for n, value in enumerate(values))
    return Series(observations, baseline=10, goal=100, goal_week=60)


def test_four_point_flags_a_student_on_the_aimline_with_the_known_probability() -> None:
    """A student whose growth follows the aimline is flagged with probability 12199/32768 within 15 weekly scores.

    This is found by trying all 2^15 patterns of noise.
    """
    flagged = 0
    for pattern in itertools.product((-1, 1), repeat=15):
        flagged += any(last_run(pattern[:end], -1) >= 4 for end in range(4, 16))
    assert flagged == 12199


def test_the_whole_rule_agrees_with_its_inner_count_of_runs() -> None:
    """For random patterns of noise, `judge` raises an alarm exactly if the last four scores are below the aimline."""
    for pattern in np.random.default_rng(7).choice((-1, 1), size=(60, 15)):
        for end in range(4, 16):
            verdict = judge("four-point", weekly(10 + 1.5 * np.arange(1, end + 1) + 3.0 * pattern[:end]))
            expected = last_run(tuple(pattern[:end]), -1) >= 4
            assert (verdict.state in ALARMS) == expected


def test_four_point_with_a_three_score_baseline_flags_about_43_in_100() -> None:
    """The four-point rule flags about 43 % of the students who grow as required, if the aimline begins at the median of
    three noisy scores.
    """
    rng, flagged, students = np.random.default_rng(20), 0, 20_000
    level = np.median(rng.normal(size=(students, 3)), axis=1)
    below = np.where(rng.normal(size=(students, 15)) < level[:, None], -1, 1).tolist()
    for sides in below:
        flagged += any(last_run(sides[:end], -1) >= 4 for end in range(4, 16))
    assert flagged / students == pytest.approx(0.43, abs=0.01)


@pytest.mark.parametrize(("weeks", "se"), [(6, 2.39), (8, 1.54), (10, 1.10), (12, 0.84), (15, 0.60)])
def test_standard_error_of_a_slope_has_the_known_values(weeks: int, se: float) -> None:
    assert slope_se(range(weeks), 10) == pytest.approx(se, abs=0.005)


def test_slope_agrees_with_an_independent_least_squares() -> None:
    rng = np.random.default_rng(3)
    times, values = rng.integers(0, 30, 20).tolist(), rng.normal(40, 10, 20).tolist()
    assert slope(times, values) == pytest.approx(np.polyfit(times, values, 1)[0])


def test_best_break_agrees_with_an_independent_search() -> None:
    """`best_break` finds the same week and the same two slopes as a search with numpy's solver."""
    values = np.random.default_rng(5).normal(40, 4, 14)
    t = np.arange(1, 15)

    def error(week: int) -> tuple[float, NDArray[np.float64]]:
        columns = np.column_stack([np.ones(14), np.minimum(t, week), np.maximum(t - week, 0)])
        solution = np.linalg.lstsq(columns, values, rcond=None)[0]
        return float(((values - columns @ solution) ** 2).sum()), solution

    week = min(range(4, 12), key=lambda w: error(w)[0])
    assert best_break(weekly(values)) == pytest.approx((week, *error(week)[1][1:]))
