"""Judges a series by the median of its last three scores' distances from the aimline (the median rule).

Uses no slope.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Finding, NonresponseKind, Reason, State
from app.response.rules.wording import plain, scores, weeks


def judge_by_median(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges a series by the median distance of its last three scores from the aimline.

    The state is `not_responding` if the median is on the worse side of the aimline, otherwise `responding`. The
    distance of a score is in the measure's units, and is positive on the better side of the aimline. The statistic is
    the median of the three distances, and the threshold is 0.

    For the state `not_responding`:

    * The kind is `stopped` if there are at least three earlier scores, and the median of their distances is 0 or
      better. The week of the change is then the week of the first of the last three scores.
    * Otherwise the kind is `never`.

    The caller checks the minimum number of scores.

    Source: Ardoin, Christ, Morena, Cormier and Klingbeil (2013). One of the decision rules that they review uses the
    median of three scores instead of single scores.
    """
    line = series.aimline
    leads = [line.better * (y - line.at(t)) for t, y in zip(series.weeks, series.values, strict=True)]
    now, last = median(leads[-LEVEL_SCORES:]), series.weeks[-LEVEL_SCORES:]
    numbers: dict[str, float] = {"lead": now, "first_week": last[0], "last_week": last[-1]}
    start = f"The median of the last {scores(LEVEL_SCORES)} ({weeks(last)})"
    if now >= -series.slack:
        sentence = f"{start} keeps up with the aimline, so this rule gives no reason to change the support."
        return Finding(State.RESPONDING, (Reason("median_keeps_pace", numbers),), sentence, now, 0.0)
    reason, earlier = Reason("median_behind", numbers), leads[:-LEVEL_SCORES]
    start += f" lies {plain(-now)} on the worse side of the aimline; "
    if len(earlier) < LEVEL_SCORES or median(earlier) < -series.slack:
        sentence = f"{start}no earlier stretch of three scores or more kept pace."
        return Finding(State.NOT_RESPONDING, (reason,), sentence, now, 0.0, NonresponseKind.NEVER)
    change = Reason("change", {"week": last[0]})
    sentence = f"{start}the median before them kept pace, so the scores fell behind about week {last[0]}."
    return Finding(State.NOT_RESPONDING, (reason, change), sentence, now, 0.0, NonresponseKind.STOPPED, last[0])


def excess(_: Series, finding: Finding, sem: float) -> float:
    """Returns by how much a series fails the median rule, in standard errors of measurement.

    The result is the median distance of the last three scores from the aimline. It is positive on the worse side.
    """
    return -(finding.statistic or 0.0) / sem
