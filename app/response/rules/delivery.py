"""Credits the scores of a series with the growth that could not be expected, because a support was not delivered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from app.response.rules.series import Series
from app.response.rules.verdict import ALARMS, Finding, Reason, State
from app.response.rules.wording import UNDER_DELIVERED

AS_DESIGNED = 0.8
"""The least share of the parts of checklists that must be done so that a support counts as delivered as designed."""
CHECKED_SESSIONS = 3
"""The least number of checked sessions that is enough to state their share as a reason."""


def allow_for_delivery(series: Series, finding: Finding, judge: Callable[[Series], Finding], by_rate: bool) -> Finding:
    """Returns the finding of a rule. An alarm becomes `under_delivered` if the missed delivery explains it.

    To find out, each score is credited with the growth that could not be expected. The alarm stays if the rule, which
    is given as `judge`, raises it for the credited scores too. `by_rate` states whether the rule judges growth rather
    than a level.
    """
    shares = series.weekly_delivery
    if finding.state not in ALARMS or shares is None:
        return finding
    if judge(credit_undelivered(series, shares, by_rate=by_rate)).state in ALARMS:
        return finding
    reason = Reason("dosage", {"share": sum(shares) / len(shares)})
    return replace(
        finding,
        state=State.UNDER_DELIVERED,
        kind=None,
        change_week=None,
        because=(*finding.because, reason),
        sentence=f"{finding.sentence.rstrip('.')}; {UNDER_DELIVERED}.",
    )


def note_adherence(series: Series, finding: Finding) -> Finding:
    """Returns the finding, with one more reason if checklists show that the support was not delivered as designed.

    The state stays as it is: checklists show how the intervention was delivered, but not how much growth was lost by
    that.
    """
    checked = None if series.dosage is None else series.dosage.adherence()
    if checked is None or checked[1] < CHECKED_SESSIONS or checked[0] >= AS_DESIGNED:
        return finding
    share, sessions = round(checked[0], 2), checked[1]
    reason = Reason("not_as_designed", {"share": share, "sessions": sessions})
    words = f"by its checklist, {share:.0%} of it was delivered as designed".replace("%", " %")
    return replace(finding, because=(*finding.because, reason), sentence=f"{finding.sentence.rstrip('.')}; {words}.")


def credit_undelivered(series: Series, shares: Sequence[float], *, by_rate: bool) -> Series:
    """Returns the series as it would be if the undelivered part of each week had brought what the goal requires.

    `shares` has the delivered share of each week's dose, from week 1 on. With `by_rate`, a score gets the required rate
    for each undelivered week before it. Otherwise the rule judges a level, and a score gets the undelivered share of
    the way from baseline to goal.
    """
    lost = (0.0, *accumulate(1 - share for share in shares))
    way = series.goal - series.baseline

    def credit(week: int) -> float:
        return lost[week] * series.goal_rate if by_rate else way * lost[week] / max(week, 1)

    observations = tuple(
        observation._replace(value=observation.value + credit(observation.week)) for observation in series.observations
    )
    return replace(series, observations=observations, dosage=None)
