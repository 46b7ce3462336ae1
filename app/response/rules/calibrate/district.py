"""Calibrates the monitor on a district's own series.

It uses scores only, and no labels that say which students responded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.response.rules.calibrate.growth import RARELY, estimate_growth
from app.response.rules.calibrate.imagined import WEEKS, ImaginedDistrict, imagine, worst_of_responders
from app.response.rules.calibrate.moments import SKEW, Scatter, estimate_scatter, weekly
from app.response.rules.monitor.bulk import Batch, panel_of
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.forms import Cohorts, Paths, form_effects
from app.response.rules.monitor.model import Array, Prior
from app.response.rules.monitor.panel import Panel, judge_panel, starting_level
from app.response.rules.monitor.rates import GRID
from app.response.rules.series import LEVEL_SCORES

MIN_SERIES, MIN_SCORES, MIN_WEEKS = 300, 3000, 12
"""The minimum numbers of series, scores and weeks for a calibration.

With fewer, noise cannot be distinguished from growth, and the published defaults are used.
"""

SAMPLE = 1500
"""The approximate number of series, in whole cohorts, from which growth is estimated."""

IMAGINED = 12_000
"""The number of simulated students from whom the thresholds are computed.

About a third of these students grow as the goal requires. The standard error of a false-alarm rate of 10 % is then
about half a percentage point.
"""


def calibrate_batch(batch: Batch, *, imagined: int | None = None, seed: int = 1) -> Calibration:
    """Returns a calibration, estimated from a batch of series. `judge_bulk` can then judge series with it.

    Series that cannot be judged are left out. `imagined` is the number of simulated students, and `seed` makes the
    simulation repeatable.
    """
    judgeable = np.isfinite(batch.sem) & (batch.sem > 0) & (batch.goal_rate != 0) & np.isfinite(batch.baseline)
    rows = np.flatnonzero(judgeable)
    rows = rows[np.argsort(batch.cohort[rows], kind="stable")]
    if not len(rows):
        return PUBLISHED
    return calibrate(panel_of(batch.rows(rows)), imagined=imagined, seed=seed)


def calibrate(panel: Panel, *, imagined: int | None = None, seed: int = 1) -> Calibration:
    """Returns a calibration: estimates of growth, noise and the difficulty of tests, and thresholds for the monitor.

    `panel` has series of one measure and grade. Its values are in units of the measure's published standard error of
    measurement (SEM), and the series of a cohort are adjacent.

    There is a threshold for each false-alarm rate in `GRID`. The thresholds come from a parametric bootstrap (Efron and
    Tibshirani, 1993): `imagined` students are simulated with these estimates. Take the rate 5 % as an example. Of the
    simulated students who grow as the goal requires, 5 % exceed the threshold at some time within 26 weeks.

    With fewer than 300 series, 3,000 scores or 12 weeks, the published defaults are returned, with only `series` and
    `scores` filled. The same input gives the same result.
    """
    panel = _select(panel, (~np.isnan(panel.values)).sum(axis=0) >= LEVEL_SCORES + 1)
    table = weekly(panel) if len(panel.g) else np.zeros((0, 0))
    series, scores = len(table), int((~np.isnan(table)).sum())
    if series < MIN_SERIES or scores < MIN_SCORES or table.shape[1] < MIN_WEEKS:
        return replace(PUBLISHED, series=series, scores=scores)
    scatter = estimate_scatter(panel)
    # The noise of the median student is the unit of which the monitor takes multiples.
    noise = float(np.sqrt(scatter.own * np.exp(-2 * scatter.spread**2) + scatter.form))
    prior = Prior(
        wobble=float(np.sqrt(scatter.wobble)) / noise,
        noise_spread=float(np.sqrt(scatter.spread**2 + SKEW)),
        share=min(scatter.form / noise**2, 0.9),
    )
    scaled = replace(panel, values=panel.values / noise, g=panel.g / noise)
    sample = _sample(scaled, SAMPLE)
    prior = estimate_growth(sample, prior)
    district = _district(scaled, sample, prior, scatter)
    highest_statistics = worst_of_responders(district, prior, imagined or IMAGINED, seed, RARELY)
    thresholds = tuple(float(np.quantile(highest_statistics, 1 - far)) for far in GRID)
    shift = np.array(PUBLISHED.adaptive) - np.array(PUBLISHED.thresholds)
    calibration = Calibration(
        noise=noise,
        prior=prior,
        thresholds=thresholds,
        adaptive=tuple((np.array(thresholds) + shift).tolist()),
        series=series,
        scores=scores,
        estimates=_estimates(prior, noise, scatter, district, len(highest_statistics)),
    )
    simulated, _ = imagine(district, len(sample.g), seed + 1, RARELY)
    week = min(int(sample.times[-1] - sample.times[0]), WEEKS)
    shares_over = [_share_over(sample, calibration, None), _share_over(simulated, calibration, week)]
    # The rounded form is read back, so that judging uses exactly what is stored.
    return Calibration.from_json(replace(calibration, observed=shares_over[0], expected=shares_over[1]).as_json())


def _share_over(panel: Panel, calibration: Calibration, week: int | None) -> float:
    """Returns the share of the panel's students whose statistic exceeds the threshold for a false-alarm rate of 10 %.

    The students are judged as of `week` or, if it is None, as of the panel's last week with a score.
    """
    estimate = judge_panel(panel, calibration.prior, week=week)
    return float((estimate.statistic > calibration.threshold_at(0.10)).mean())


def _estimates(
    prior: Prior, noise: float, scatter: Scatter, district: ImaginedDistrict, responders: int
) -> tuple[tuple[str, float], ...]:
    estimates = {
        "growth_mean": prior.before[0],
        "growth_sd": prior.before[1],
        "noise": noise,
        "noise_spread": scatter.spread,
        "form_share": prior.share,
        "correlation": scatter.correlation,
        "wobble": prior.wobble,
        "missing": district.missing,
        "later_pace": float(district.later[-1]),
        "imagined_responders": float(responders),
    }
    return tuple(sorted(estimates.items()))


def _select(panel: Panel, chosen: NDArray[np.bool_]) -> Panel:
    began = None if panel.began is None else panel.began[chosen]
    return Panel(panel.times, panel.values[:, chosen], panel.g[chosen], panel.cohort[chosen], panel.noise, began)


def _sample(panel: Panel, students: int) -> Panel:
    """Returns a sample of the panel with about this many students: whole cohorts, evenly spaced."""
    cohorts = Cohorts.of(panel.cohort)
    step = max(len(panel.g) / students, 1.0)
    chosen = np.unique((np.arange(0, len(cohorts.first), step)).astype(int))
    return _select(panel, np.isin(cohorts.index, chosen))


def _district(panel: Panel, sample: Panel, prior: Prior, scatter: Scatter) -> ImaginedDistrict:
    """Returns the district whose students are simulated.

    Cohort sizes, missing scores and errors are taken from the panel. Everything else comes from the estimates.
    """
    table = weekly(panel)
    has_score = ~np.isnan(table)
    first, last = has_score.argmax(axis=1), table.shape[1] - has_score[:, ::-1].argmax(axis=1)
    missing = 1 - has_score.sum() / max((last - first).sum(), 1)
    baselines = panel.noise[panel.times == panel.times[0]]
    cohorts = Cohorts.of(panel.cohort)
    _, variance = starting_level(panel, cohorts)
    return ImaginedDistrict(
        growth=prior.before,
        later=_later_pace(panel, replace(prior, hazard=RARELY)),
        errors=_errors(sample, prior, scatter),
        spread=scatter.spread,
        correlation=scatter.correlation,
        wobble=prior.wobble,
        share=prior.share,
        missing=float(missing),
        sizes=cohorts.size,
        baselines=baselines,
        level=float(np.sqrt(np.median(variance))) if (cohorts.size >= 5).any() else 1.25,
        goals=np.unique(panel.g.round(6)) if len(np.unique(panel.g.round(6))) == 1 else panel.g,
    )


def _errors(panel: Panel, prior: Prior, scatter: Scatter) -> Array:
    """Returns the errors of the scores, from which the errors of the simulated scores are drawn.

    An error is the difference between a score and the value that the student's other scores predict. It is divided by
    the student's own noise, so the errors show only the shape of the distribution. Their mean is 0 and their standard
    deviation 1.
    """
    cohorts = Cohorts.of(panel.cohort)
    paths = Paths(panel.times, panel.values, panel.g, starting_level(panel, cohorts), panel.starts)
    surprise = paths.upto(len(panel.times), (1 - prior.share) * panel.noise, prior)
    effect, _ = form_effects(paths, paths.weighted(surprise), cohorts, prior)
    counted = paths.has_score & (panel.times > panel.times[0])
    information = np.where(counted, np.einsum("stt->st", paths.inverse), np.nan)
    errors = paths.weighted(surprise - effect * paths.has_score) / np.sqrt(np.maximum(information, 1e-12))
    number = counted.sum(axis=1)
    weight = 2 / (4 * max(scatter.spread, 0.05) ** 2)
    scale = np.sqrt((weight + np.nansum(errors**2, axis=1)) / (weight + number))
    # Errors are listed in the order of the slots, because the simulation draws them from the pool by position.
    pool = (errors / scale[:, None]).T[counted.T]
    pool = pool - pool.mean()
    return np.asarray(pool / pool.std())


def _later_pace(panel: Panel, prior: Prior) -> Array:
    """Returns for each week a factor by which all students grow faster or slower than earlier in the year.

    The factor is 1 in the first two thirds of the year. In the last third it is .8, for example, if all students grow a
    fifth more slowly than the model predicts. (The model itself predicts some slowing.)

    The factor is estimated from the mean difference, in each cohort, between the scores and the prediction. It is then
    moved towards 1, because a chance difference would make the thresholds worse. It is exactly 1 if the difference is
    at most twice its standard error.
    """
    pace = np.ones(WEEKS)
    cohorts = Cohorts.of(panel.cohort)
    paths = Paths(panel.times, panel.values, panel.g, starting_level(panel, cohorts), panel.starts)
    surprise = paths.upto(len(panel.times), np.ones(len(panel.times)), prior)
    weeks = panel.times - panel.times[0]
    turn = WEEKS * 2 // 3
    after = weeks > 0
    if weeks[-1] < turn + 5 or len(cohorts.first) < 10:
        return pace
    number = cohorts.sums(paths.has_score[:, after].astype(float)).T
    mean = cohorts.sums(surprise[:, after]).T / np.maximum(number, 1)
    t = weeks[after].astype(float)
    design = np.column_stack([np.ones_like(t), t, np.maximum(t - turn, 0)])
    bend = np.linalg.lstsq(design, mean, rcond=None)[0][2] / panel.g.mean()
    middle, error = float(bend.mean()), float(bend.std(ddof=1) / np.sqrt(len(bend)))
    shrunk = middle * max(0.0, 1 - (2 * error / middle) ** 2) if middle else 0.0
    pace[turn:] = np.clip(1 + shrunk / max(prior.before[0], 0.2), 0.3, 1.5)
    return pace
