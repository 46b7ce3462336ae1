"""Credits the scores of a series with the growth that could not be expected, because a support was not delivered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

from app.response.rules.series import Series
from app.response.rules.verdict import ALARMS, Finding, Reason, State
from app.response.rules.wording import UNDER_DELIVERED


def allow_for_delivery(series: Series, finding: Finding, judge: Callable[[Series], Finding], by_rate: bool) -> Finding:
    """Returns the finding of a rule. An alarm becomes `under_delivered` if what was not delivered explains it.

    Each score is credited with the growth that could not be expected. The alarm holds if `judge`, the rule, raises it
    for the credited scores too. `by_rate` states whether the rule judges growth rather than a level.
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
