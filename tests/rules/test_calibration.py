"""Tests calibration: it uses scores only, finds the true values of simulated data, and refuses too little data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.response.rules.calibrate.district import calibrate, calibrate_batch
from app.response.rules.calibrate.moments import estimate_scatter
from app.response.rules.monitor.bulk import Batch
from app.response.rules.monitor.calibration import PUBLISHED
from bench.response.monitor import panel
from bench.response.world import World, Year, simulate

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("world", "own", "form", "correlation"),
    [
        (World(), 0.74, 0.35, 0.0),
        (World(noise=10.0), 1.15, 0.55, 0.0),
        (World(form_share=0.0), 1.13, 0.0, 0.0),
        (World(autocorrelation=0.4), 0.74, 0.35, 0.4),
        (World(growth=(0.8, 0.9), missing=0.3), 0.74, 0.35, 0.0),
    ],
)
def test_noise_forms_and_correlation_are_found_again(world: World, own: float, form: float, correlation: float) -> None:
    scatter = estimate_scatter(panel(simulate(world, 2500, 21)))
    assert scatter.own == pytest.approx(own, rel=0.08)
    assert scatter.form == pytest.approx(form, abs=0.05)
    assert scatter.correlation == pytest.approx(correlation, abs=0.08)


@pytest.mark.parametrize("seed", [4002, 5002, 7002])
def test_a_large_wobble_is_learnt_and_the_usual_one_is_kept(seed: int) -> None:
    """A weekly wobble (a random step of the true level) of three times the default is estimated correctly.

    Earlier, its variance was estimated at half of the true value or less, and the false-alarm rate was .15 instead of
    .10. The usual wobble is not changed, so that chance does not move the rates.
    """
    variance, usual = (1.5 / 8) ** 2, (0.5 / 8) ** 2
    wobbling = estimate_scatter(panel(simulate(World(wobble=1.5), 5000, seed)))
    assert wobbling.wobble == pytest.approx(variance, rel=0.28)
    assert estimate_scatter(panel(simulate(World(), 5000, seed))).wobble == pytest.approx(usual, abs=0.0005)
    correlated = estimate_scatter(panel(simulate(World(autocorrelation=0.3), 5000, seed)))
    assert correlated.wobble == pytest.approx(usual, abs=0.0005)
    assert correlated.correlation == pytest.approx(0.3, abs=0.05)


def test_growth_is_found_again_and_thresholds_follow_the_noise() -> None:
    """From simulated scores with slow growth and large correlated errors, the estimates are near the true values.

    The thresholds are then higher than the published thresholds.
    """
    world = World(growth=(1.0, 0.45), noise=9.0, autocorrelation=0.3)
    calibration = calibrate(panel(simulate(world, 1000, 22)), imagined=1500)
    estimates = dict(calibration.estimates)
    assert estimates["growth_mean"] == pytest.approx(1.0 / 1.5, abs=0.08)
    assert estimates["growth_sd"] == pytest.approx(0.45 / 1.5, abs=0.08)
    assert estimates["noise"] == pytest.approx(9 / 8, abs=0.06)
    assert calibration.threshold_at(0.10) > PUBLISHED.threshold_at(0.10)
    assert calibration.observed is not None
    assert calibration.expected is not None
    assert abs(calibration.observed - calibration.expected) < 0.15


def batch(year: Year) -> Batch:
    n, weeks = year.scores.shape
    one = np.ones(n)
    base = np.median(year.baseline, axis=1)
    return Batch(
        np.arange(1, weeks + 1), year.scores, base, 1.5 * one, base + 39, 8 * one, np.zeros(n, np.int64), year.cohort
    )


def test_the_same_scores_give_the_same_calibration_in_any_unit() -> None:
    of = batch(simulate(World(weeks=14), 400, 23))
    one = calibrate_batch(of, imagined=500)
    scaled = replace(of, values=2 * of.values, baseline=2 * of.baseline, goal_rate=2 * of.goal_rate, sem=2 * of.sem)
    assert calibrate_batch(of, imagined=500).as_json() == one.as_json()
    other = calibrate_batch(scaled, imagined=500)
    assert other.threshold_at(0.10) == pytest.approx(one.threshold_at(0.10), abs=1e-4)


def test_too_little_data_keeps_the_published_defaults() -> None:
    """With too few series, or with none that can be judged, the calibration has the published defaults and the number
    of series.
    """
    few = batch(simulate(World(), 100, 24))
    kept = calibrate_batch(few)
    assert (kept.prior, kept.thresholds, kept.series) == (PUBLISHED.prior, PUBLISHED.thresholds, 100)
    assert calibrate_batch(replace(few, sem=np.full(100, np.nan))) == PUBLISHED
