"""Adds a reason to a finding if the student's baseline was improving before the support began. Changes no state."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import sqrt

from app.response.aimline import SLACK
from app.response.rules.series import Series
from app.response.rules.verdict import Finding, Reason, State
from app.response.rules.wording import scores

MIN_POINTS = 5
CRITICAL = 1.645
"""The critical value of the test. If there is no trend, one of twenty baselines exceeds it by chance."""

CALM = (State.RESPONDING, State.BELOW_PACE, State.GOAL_MET)
"""The states that might be taken as evidence that the support works."""


def note_trend(series: Series, finding: Finding) -> Finding:
    """Returns the finding. The reason `baseline_improving` is added if the points of the baseline were improving."""
    if finding.state is State.INSUFFICIENT_DATA or not is_improving(series.before, series.aimline.better):
        return finding
    reason = Reason("baseline_improving", {"scores": len(series.before)})
    sentence = finding.sentence
    if finding.state in CALM:
        sentence = (
            f"{sentence.rstrip('.')}; the {scores(len(series.before))} before the support were improving already, so "
            "what followed does not show that the support works."
        )
    return replace(finding, because=(*finding.because, reason), sentence=sentence)


def is_improving(values: tuple[float, ...], better: float) -> bool:
    """Returns whether the values of a baseline improve more than chance explains. Needs at least five values, in order.

    The test is Kendall's test of trend: one-sided, 5 %, normal approximation with a correction for continuity.
    """
    number = len(values)
    if number < MIN_POINTS:
        return False
    slack = SLACK * max(map(abs, values))
    steps = [better * (later - earlier) for earlier, later in combinations(values, 2)]
    concordance = sum((step > slack) - (step < -slack) for step in steps)
    return concordance - 1 > CRITICAL * sqrt(number * (number - 1) * (2 * number + 5) / 18)
