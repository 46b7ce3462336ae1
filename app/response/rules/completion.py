"""Completes the finding of a rule with what all rules have in common: a met goal, the probabilities of growth, and the
trend of the baseline.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import sqrt

from app.response.aimline import SLACK
from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Finding, Reason, Shares, State
from app.response.rules.wording import (
    MAJORITY,
    plain,
    scores,
    state_shares,
    weeks,
    withdraw_higher_goal,
    without_name,
)

TOO_LITTLE = ("too_few_scores", "too_few_weeks", "too_early")
"""The codes of reasons which mean that there are too few scores for a finding."""

MIN_POINTS = 5
CRITICAL = 1.645
"""The critical value of the test. If there is no trend, one of twenty baselines exceeds it by chance."""

CALM = (State.RESPONDING, State.BELOW_PACE, State.GOAL_MET)
"""The states that might be taken as evidence that the support works."""


def complete(series: Series, finding: Finding, shares: Shares | None) -> Finding:
    """Returns a rule's finding, with what all rules have in common.

    * The state becomes `goal_met` if the median of the last three scores meets the final goal.
    * The sentence states the probabilities `shares`, if they are known, and suggests nothing that they contradict.
    * A reason is added if the baseline was improving before the support began.
    """
    finding = _unless_goal_met(series, finding)
    if shares is not None:
        finding = _with_shares(series, finding, shares)
    return note_trend(series, finding)


def _with_shares(series: Series, finding: Finding, shares: Shares) -> Finding:
    is_met = finding.state is State.GOAL_MET
    if shares.on_pace < MAJORITY and not is_met:
        finding = withdraw_higher_goal(finding)
    # The monitor's own sentence states the probabilities already, unless it was replaced because the goal is met.
    if finding.shares is not None and not is_met:
        return finding
    words = state_shares(shares, series.goal_rate, series.direction, is_met=is_met)
    return replace(finding, sentence=f"{finding.sentence.rstrip('.')}; given these scores, {words}.")


def _unless_goal_met(series: Series, finding: Finding) -> Finding:
    """Returns the finding. Its state becomes `goal_met` if the median of the last three scores meets the final goal.

    The rule's own reasons, statistic and threshold are kept.
    """
    level = series.level_now()
    has_too_few = any(reason.code in TOO_LITTLE for reason in finding.because)
    if has_too_few or level is None or not series.goal_is_met():
        return finding
    last_weeks = series.weeks[-LEVEL_SCORES:]
    numbers: dict[str, float] = {
        "median": level,
        "goal": series.goal,
        "first_week": last_weeks[0],
        "last_week": last_weeks[-1],
    }
    sentence = (
        f"The median of the last {scores(LEVEL_SCORES)} ({weeks(last_weeks)}) is {plain(level)}, "
        f"which meets the goal of {plain(series.goal)}."
    )
    unnamed = without_name(finding, State.GOAL_MET)
    return replace(unnamed, because=(Reason("goal_met", numbers), *unnamed.because), sentence=sentence)


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
