"""Judges the least-squares slope of a series against the required rate (the trend rule).

The rule needs scores of several weeks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from app.response.rules.series import Series
from app.response.rules.verdict import Finding, NonresponseKind, Reason, State
from app.response.rules.wording import plain, plainly, scores, weeks

# The minimum number of scores on each side of a break; fewer show no trend.
BEFORE_BREAK, AFTER_BREAK = 4, 3


def _spread(left: Sequence[float], right: Sequence[float]) -> float:
    """Returns the sum of (a - mean a) * (b - mean b) over the pairs of the two sequences.

    The sum is exact, so it does not depend on the order of the terms.
    """
    mean_left, mean_right = math.fsum(left) / len(left), math.fsum(right) / len(right)
    return math.fsum((a - mean_left) * (b - mean_right) for a, b in zip(left, right, strict=True))


def slope(times: Sequence[float], values: Sequence[float]) -> float | None:
    """Returns the least-squares slope of the scores, in the measure's units a week.

    It is sum((t - mean t) * (y - mean y)) / sum((t - mean t)^2), where y is the score in week t. Returns None if all
    scores are from one week.
    """
    if len(set(times)) < 2:
        return None
    return _spread(times, values) / _spread(times, times)


def slope_se(times: Sequence[float], see: float) -> float:
    """Returns the standard error of the least-squares slope, SEE / sqrt(sum((t - mean t)^2)).

    It is in the measure's units a week. `see` is the residual standard error of the series, in the measure's units.
    With SEE = 10 and one score a week, the result is 2.39, 1.54, 1.10, .84, .60 at 6, 8, 10, 12, 15 weeks: a trend over
    a few weeks is weak evidence.

    Source: Christ (2006), on the standard error of slopes in oral reading. Raises ValueError with fewer than two
    different weeks.
    """
    if len(set(times)) < 2:
        raise ValueError("The standard error of a slope needs two different weeks.")
    return see / math.sqrt(_spread(times, times))


def judge_by_trend(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges a series by its least-squares slope.

    The state is `not_responding` if the slope is worse than the required rate, otherwise `responding`. The statistic is
    the slope and the threshold is the required rate g, both in the measure's units a week (negative if lower scores are
    better). The caller checks the minimum number of scores.

    The rule has no margin for noise: a student whose true growth is exactly the required rate is flagged with a
    probability of one half each time.

    Source: the trend-line rule of curriculum-based measurement, reviewed by Ardoin, Christ, Morena, Cormier and
    Klingbeil (2013).
    """
    rate = slope(series.weeks, series.values)
    if rate is None:
        raise ValueError("A trend needs two different weeks: check the minimum first.")
    goal_rate = series.goal_rate
    shown, needed = plainly(rate, goal_rate)
    summary = f"The trend over {scores(len(series.weeks))} ({weeks(series.weeks)}) is {shown} a week"
    numbers: dict[str, float] = {
        "rate": rate,
        "required_rate": goal_rate,
        "scores": len(series.weeks),
        "first_week": series.weeks[0],
        "last_week": series.weeks[-1],
    }
    if not _falls_short(series, rate):
        sentence = f"{summary} and keeps up with the {needed} a week that the goal needs."
        return Finding(State.RESPONDING, (Reason("trend_keeps_pace", numbers),), sentence, rate, goal_rate)
    falls_short = f"{summary} and falls short of the {needed} a week that the goal needs; "
    reason = Reason("trend_falls_short", numbers)
    at, before, after = best_break(series) or (None, rate, rate)
    if at is None or _falls_short(series, before):
        sentence = falls_short + "no clear earlier stretch kept pace."
        return Finding(State.NOT_RESPONDING, (reason,), sentence, rate, goal_rate, NonresponseKind.NEVER)
    change = Reason("change", {"week": at, "rate_before": before, "rate_after": after})
    sentence = falls_short + (f"up to about week {at} it was {plain(before)} a week and since then {plain(after)}.")
    return Finding(State.NOT_RESPONDING, (reason, change), sentence, rate, goal_rate, NonresponseKind.STOPPED, at)


def best_break(series: Series) -> tuple[int, float, float] | None:
    """Fits a line with one bend. Returns the week of the bend, and the slopes before and after it.

    The slopes are in the measure's units a week. The line is y = a + before * min(t, w) + after * max(t - w, 0), with
    its bend in week w. There must be a score in week w, at least four scores up to and in week w, and at least three
    after it. The line with the least squared error is chosen; of equally good lines, the line with the earliest bend.
    Returns None if no week is possible.

    Call this only if a rule has already found that growth fell short. If the slope before the bend is as good as the
    required rate, growth kept pace first and then `stopped`; otherwise it `never` kept pace. This is rough: because of
    noise, a few high scores in the middle can look like a time in which growth kept pace.
    """
    spread = _spread(series.values, series.values)
    best, explained = None, -math.inf
    for week in _candidates(series.weeks):
        early = [float(min(t, week)) for t in series.weeks]
        late = [float(max(t - week, 0)) for t in series.weeks]
        ee, ll, el = _spread(early, early), _spread(late, late), _spread(early, late)
        ey, ly = _spread(early, series.values), _spread(late, series.values)
        room = ee * ll - el * el
        before, after = (ey * ll - ly * el) / room, (ly * ee - ey * el) / room
        gain = before * ey + after * ly
        if gain > explained + 1e-9 * spread:
            best, explained = (week, before, after), gain
    return best


def _candidates(times: Sequence[int]) -> Iterator[int]:
    for week in sorted(set(times)):
        up_to = sum(1 for t in times if t <= week)
        if up_to >= BEFORE_BREAK and len(times) - up_to >= AFTER_BREAK and week > times[0]:
            yield week


def _falls_short(series: Series, rate: float) -> bool:
    return series.aimline.better * (rate - series.goal_rate) < -series.slack


def excess(series: Series, finding: Finding, sem: float) -> float:
    """Returns by how much the series fails the rule: how far its slope falls short of the required rate.

    The result is a share of the required rate. It is .25 if the slope is three quarters of the required rate.
    """
    del sem
    return 1 - (finding.statistic or 0.0) / series.aimline.rate
