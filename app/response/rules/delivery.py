"""Adjusts findings about supports that were not delivered as planned.

A rule judges the series again with a credit added to each score: the growth that could not be expected in the weeks
without delivery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from app.response.rules.series import Series
from app.response.rules.verdict import ALARMS, Finding, Reason, State
from app.response.rules.wording import UNDER_DELIVERED, without_name

AS_DESIGNED = 0.8
"""A support counts as delivered as designed if at least this share of the parts of its checklists was done."""
CHECKED_SESSIONS = 3
"""The number of sessions that need a filled-in checklist before a finding may state that parts were left out."""


def allow_for_delivery(series: Series, finding: Finding, judge: Callable[[Series], Finding], by_rate: bool) -> Finding:
    """Returns the finding of a rule. An alarm becomes `under_delivered` if the missed delivery explains it.

    To find out, `credit_undelivered` adds to each score the growth that was lost because of undelivered sessions. Then
    `judge` applies the rule again. If there still is an alarm, the finding stays as it is. `by_rate` is true for a rule
    that judges how fast scores grow, and false for any other rule.
    """
    shares = series.weekly_delivery
    if finding.state not in ALARMS or shares is None:
        return finding
    if judge(credit_undelivered(series, shares, by_rate=by_rate)).state in ALARMS:
        return finding
    # The share that is stated is that of the recorded minutes. `shares` assumes that unrecorded ones were delivered.
    share = None if series.dosage is None else series.dosage.share(0, series.weeks[-1])
    reasons = () if share is None else (Reason("dosage", {"share": share}),)
    unnamed = without_name(finding, State.UNDER_DELIVERED)
    return replace(
        unnamed,
        because=(*unnamed.because, *reasons),
        sentence=f"{finding.sentence.rstrip('.')}; {UNDER_DELIVERED}.",
    )


def note_adherence(series: Series, finding: Finding) -> Finding:
    """Returns the finding, with one more reason if checklists show that the support was not delivered as designed.

    The state stays as it is. Checklists show how the intervention was delivered, but not how much growth was lost.
    """
    checked = None if series.dosage is None else series.dosage.adherence()
    if checked is None or checked[1] < CHECKED_SESSIONS or checked[0] >= AS_DESIGNED:
        return finding
    share, sessions = round(checked[0], 2), checked[1]
    reason = Reason("not_as_designed", {"share": share, "sessions": sessions})
    words = f"by its checklist, {share:.0%} of it was delivered as designed".replace("%", " %")
    return replace(finding, because=(*finding.because, reason), sentence=f"{finding.sentence.rstrip('.')}; {words}.")


def credit_undelivered(series: Series, shares: Sequence[float], *, by_rate: bool) -> Series:
    """Returns the series with a credit added to each score for the weeks in which the support was not delivered.

    `shares` has the share of the planned dose that was delivered in each week, from week 1 on.

    * With `by_rate`, the credit is the weekly growth that the goal requires, times the number of undelivered weeks
      before the score. Parts of weeks count.
    * Without `by_rate`, the credit is the distance from the baseline to the goal, times the undelivered share of the
      dose that was planned before the score.
    """
    lost = (0.0, *accumulate(1 - share for share in shares))
    way = series.goal - series.baseline

    def credit(week: int) -> float:
        return lost[week] * series.goal_rate if by_rate else way * lost[week] / max(week, 1)

    observations = tuple(
        observation._replace(value=observation.value + credit(observation.week)) for observation in series.observations
    )
    return replace(series, observations=observations, dosage=None)
