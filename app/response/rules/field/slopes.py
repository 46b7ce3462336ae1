"""Judges the slope of the scores by methods other than plain least squares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, median

from app.response.rules.field.trend import best_break, slope, slope_se
from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Finding, NonresponseKind, Reason, State
from app.response.rules.wording import plain, plainly, scores, weeks

PRIOR_RATE, PRIOR_SPREAD = 0.87, 0.40
"""The mean and the standard deviation of the true rates of supported students, as multiples of the required rate g.

Both numbers are assumptions: the shrunken slope uses no cohort from which they could be estimated.
"""


def theil_sen(times: Sequence[float], values: Sequence[float]) -> float:
    """Returns the median of the slopes between all pairs of scores from different weeks, in the measure's units a week.

    The slope of a pair is (yj - yi) / (tj - ti). Source: Theil (1950), Sen (1968). Raises ValueError with fewer than
    two different weeks.
    """
    points = list(zip(times, values, strict=True))
    pairs = [(y2 - y1) / (t2 - t1) for n, (t1, y1) in enumerate(points) for t2, y2 in points[n + 1 :] if t1 != t2]
    if not pairs:
        raise ValueError("A slope needs two different weeks: check the minimum first.")
    return median(pairs)


def residual_error(times: Sequence[float], values: Sequence[float]) -> float:
    """Returns SEE, the standard error of the residuals about the least-squares line: sqrt(SSE / (n - 2)).

    SSE is the sum of the squared residuals, and n the number of scores. SEE is in the measure's units. Raises
    ValueError if there are fewer than three scores, or if all scores are from the same week.
    """
    rate = slope(times, values)
    if rate is None or len(times) < LEVEL_SCORES:
        raise ValueError("Residuals need three scores in two different weeks.")
    middle_t, middle_y = math.fsum(times) / len(times), math.fsum(values) / len(values)
    errors = [(y - middle_y) - rate * (t - middle_t) for t, y in zip(times, values, strict=True)]
    return math.sqrt(math.fsum(e * e for e in errors) / (len(times) - 2))


def _least_squares(series: Series) -> tuple[float, float]:
    """Returns the least-squares slope and its standard error.

    The standard error is computed from the measure's standard error of measurement (SEM), or from the residuals if the
    SEM is unknown.
    """
    rate = slope(series.weeks, series.values)
    if rate is None:
        raise ValueError("A slope needs two different weeks: check the minimum first.")
    see = series.sem or residual_error(series.weeks, series.values)
    return rate, slope_se(series.weeks, see)


def _fell_short(series: Series, reason: Reason, sentence: str, statistic: float, threshold: float) -> Finding:
    """Returns a finding `not_responding`, of the kind `stopped` or `never`.

    To find the kind, a line with one bend is fitted to the scores (`trend.best_break`). If the slope before the bend
    reaches the required rate, growth `stopped` at the bend. If it does not, or if no such line can be fitted, growth
    `never` kept pace.
    """
    at, before, after = best_break(series) or (None, 0.0, 0.0)
    if at is None or series.aimline.better * (before - series.goal_rate) < -series.slack:
        sentence = f"{sentence}; no clear earlier stretch kept pace."
        return Finding(State.NOT_RESPONDING, (reason,), sentence, statistic, threshold, NonresponseKind.NEVER)
    change = Reason("change", {"week": at, "rate_before": before, "rate_after": after})
    sentence = (
        f"{sentence}; the line of best fit with one bend changes by {plain(before)} a week up to about week {at}, "
        f"and by {plain(after)} since then."
    )
    return Finding(State.NOT_RESPONDING, (reason, change), sentence, statistic, threshold, NonresponseKind.STOPPED, at)


def judge_by_theil_sen(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges a series by the Theil-Sen slope: the median of the slopes between all pairs of scores.

    The state is `not_responding` if this slope is worse than the required rate g, otherwise `responding`. The statistic
    is the slope and the threshold is g, both in the measure's units a week. A single outlying score hardly changes the
    slope. Like the trend rule, this rule has no margin for noise.

    Source: Theil (1950), Sen (1968).
    """
    rate, needed = theil_sen(series.weeks, series.values), series.goal_rate
    shown, needed_text = plainly(rate, needed)
    numbers: dict[str, float] = {"rate": rate, "required_rate": needed, "scores": len(series.weeks)}
    summary = f"The typical change over {scores(len(series.weeks))} ({weeks(series.weeks)}) is {shown} a week"
    if series.aimline.better * (rate - needed) >= -series.slack:
        sentence = f"{summary} and keeps up with the {needed_text} a week that the goal needs."
        return Finding(State.RESPONDING, (Reason("trend_keeps_pace", numbers),), sentence, rate, needed)
    sentence = f"{summary} and falls short of the {needed_text} a week that the goal needs"
    return _fell_short(series, Reason("trend_falls_short", numbers), sentence, rate, needed)


def judge_by_dual_discrepancy(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges level and slope together. The state is `not_responding` only if both are clearly too low.

    Let g be the required rate, and z the normal quantile of `percentile`, such as -.674 for 25. Let SEE be the
    measure's standard error of measurement or, if that is unknown, the residual standard error of the series. Two
    quotients are compared with z:

    * level: the median distance of the last three scores from the aimline, divided by its standard error .67 * SEE;
    * slope: (slope - g) / SE(slope).

    Both quotients are negative if the student is worse than the aimline. The statistic is the higher of the two: if it
    is below z, both are, and the state is `not_responding`. The threshold is z.

    Source: Fuchs and Fuchs (1998), who use percentiles of a comparison group. With standard errors instead, the rule
    needs no comparison group, and does not flag a fixed share of the students in every group.
    """
    line, (rate, se) = series.aimline, _least_squares(series)
    see = series.sem or residual_error(series.weeks, series.values)
    leads = [line.better * (y - line.at(t)) for t, y in zip(series.weeks, series.values, strict=True)]
    threshold = NormalDist().inv_cdf(parameters["percentile"] / 100)
    # .67 is the standard error of a median of three. Without any error, only the sign decides.
    level_error = max(0.67 * see, series.slack)
    level = median(leads[-LEVEL_SCORES:]) / level_error if level_error else 0.0
    slope_error = max(se, series.slack)
    pace = line.better * (rate - line.rate) / slope_error if slope_error else 0.0
    statistic = max(level, pace)
    reason = Reason("discrepancy", {"level": level, "slope": pace, "rate": rate, "required_rate": line.rate})
    if statistic >= threshold:
        ahead = [name for name, value in (("level", level), ("slope", pace)) if value >= threshold]
        sentence = (
            f"Over {scores(len(leads))} ({weeks(series.weeks)}) the {' and the '.join(ahead)} "
            f"{'is' if len(ahead) == 1 else 'are'} not clearly worse than the aimline, "
            "so this rule gives no reason to change the support."
        )
        return Finding(State.RESPONDING, (reason,), sentence, statistic, threshold)
    sentence = (
        f"Both the level of the last three scores and the trend ({plain(rate)} a week) are clearly worse than "
        f"the aimline, which asks for {plain(line.rate)} a week"
    )
    return _fell_short(series, reason, sentence, statistic, threshold)


def judge_by_slope_interval(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges whether the line through the scores, with an interval around it, reaches the goal in time.

    The state is `not_responding` if the whole interval is short of the goal. The least-squares line is continued to the
    week W of the goal. There, its value is yhat(W), with an interval of z * SE(slope) * (W - t) on each side.

    * t is the week of the last score.
    * SE(slope) is the standard error of the slope (`trend.slope_se`), from the residual standard error of the series.
    * z is the two-sided normal quantile of `confidence` (75 gives 1.15).

    The statistic is the distance from the better end of the interval to the goal, in the measure's units. It is
    positive if this end is short of the goal. The threshold is 0. The rule judges from week `from_week` on.

    Source: Christ (2006), for the standard error of the slope.
    """
    line, rate = series.aimline, slope(series.weeks, series.values)
    if rate is None:
        raise ValueError("A slope needs two different weeks: check the minimum first.")
    times, last = series.weeks, series.weeks[-1]
    reached = math.fsum(series.values) / len(times) + rate * (series.goal_week - math.fsum(times) / len(times))
    z = NormalDist().inv_cdf(0.5 + parameters["confidence"] / 200)
    width = z * slope_se(times, residual_error(times, series.values)) * max(series.goal_week - last, 0)
    beyond = line.better * (line.goal - reached) - width
    numbers = {"projected": reached, "width": width, "goal": line.goal, "goal_week": line.goal_week}
    summary = f"Carried on to week {line.goal_week}, the trend over {scores(len(times))} ({weeks(times)}) reaches"
    ends = f"{plain(reached - width)} to {plain(reached + width)}"
    if beyond <= max(series.slack, abs(reached) * 1e-9):
        sentence = f"{summary} {ends}, so the goal of {plain(line.goal)} is not out of reach."
        return Finding(State.RESPONDING, (Reason("goal_within_reach", numbers),), sentence, beyond, 0.0)
    sentence = f"{summary} {ends}, short of the goal of {plain(line.goal)}"
    return _fell_short(series, Reason("goal_out_of_reach", numbers), sentence, beyond, 0.0)


def judge_by_shrunken_slope(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges a series by its slope, moved towards the usual slope of supported students (the empirical-Bayes slope).

    The fewer or noisier the scores are, the farther the slope is moved. The state is `not_responding` if the moved
    slope is worse than the required rate g, otherwise `responding`. The moved slope is (slope / SE^2 + m / v) / (1 /
    SE^2 + 1 / v).

    * m and v are the mean and the variance of the true rates of supported students. Here m = .87 g and v = (.40 g)^2,
      which are this project's published defaults.
    * SE is the standard error of the slope. It is computed from the measure's standard error of measurement (SEM), or
      from the residuals if the SEM is unknown.

    Because m is below g, the state is `responding` only if the scores are evidence that growth keeps pace.

    Source: the empirical-Bayes estimate of growth in hierarchical linear models (Bryk and Raudenbush, 1987).
    """
    needed, (rate, se) = series.goal_rate, _least_squares(series)
    spread = (PRIOR_SPREAD * needed) ** 2
    shrunken = (rate * spread + PRIOR_RATE * needed * se * se) / (spread + se * se)
    shown, needed_text = plainly(shrunken, needed)
    numbers: dict[str, float] = {"rate": shrunken, "least_squares": rate, "required_rate": needed}
    summary = (
        f"Allowing for the noise of {scores(len(series.weeks))} ({weeks(series.weeks)}), the rate is about {shown}"
    )
    if series.aimline.better * (shrunken - needed) >= -series.slack:
        sentence = f"{summary} a week and keeps up with the {needed_text} that the goal needs."
        return Finding(State.RESPONDING, (Reason("trend_keeps_pace", numbers),), sentence, shrunken, needed)
    sentence = f"{summary} a week and falls short of the {needed_text} that the goal needs"
    return _fell_short(series, Reason("trend_falls_short", numbers), sentence, shrunken, needed)


def excess_of_interval(_: Series, finding: Finding, sem: float) -> float:
    """Returns by how much the series fails the rule, in standard errors of measurement.

    This is the distance from the better end of the interval to the goal.
    """
    return (finding.statistic or 0.0) / sem


def excess_of_discrepancy(_: Series, finding: Finding, sem: float) -> float:
    """Returns by how much the series fails the rule: the threshold minus the statistic, in standard errors.

    The threshold and the statistic are defined at `judge_by_dual_discrepancy`.
    """
    del sem
    return (finding.threshold or 0.0) - (finding.statistic or 0.0)
