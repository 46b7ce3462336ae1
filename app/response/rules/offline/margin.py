"""Applies a decision rule at a stated false-alarm rate. To do this, the rule's own fixed limit is moved by a margin.

The margins were measured in the benchmark, which simulates students. With the margin for the rate of 10 %, for example,
the rule flags 10 % of the simulated students who grow as required. The rules themselves are defined elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

from app.response.rules.choose import RULES
from app.response.rules.series import Series
from app.response.rules.verdict import Finding, NonresponseKind, Reason, State
from app.response.rules.wording import plain


def beyond(rule: str, series: Series, finding: Finding) -> float:
    """Returns by how much a series fails a rule. The number is positive exactly if the rule flags the series.

    The unit depends on the rule:

    * k-point rules: SEM (the smallest of the last k distances from the aimline);
    * median and slope interval: SEM;
    * rules about slopes: a share of the required rate g;
    * dual discrepancy: standard errors.

    Raises ValueError if the measure's standard error of measurement (SEM) is unknown, if the finding has no statistic,
    or if no such number is defined for the rule.
    """
    excess = RULES[rule].excess
    if series.sem is None or finding.statistic is None or excess is None:
        raise ValueError("A margin needs the measure's SEM and enough scores.")
    return excess(series, finding, series.sem)


def at_rate(rule: str, series: Series, finding: Finding, far: float) -> Finding:
    """Returns the rule's finding, with the rule's limit moved so that the false-alarm rate is `far`.

    The state is `not_responding` if the series fails the rule by more than the margin for this rate (see `beyond`), and
    is otherwise not an alarm. Without the measure's standard error of measurement (SEM), the state is
    `insufficient_data`. A finding without a statistic is returned unchanged.
    """
    if finding.statistic is None:
        return finding
    if series.sem is None:
        sentence = "A stated false-alarm rate needs the measure's standard error of measurement; enter it first."
        return Finding(State.INSUFFICIENT_DATA, (Reason("no_sem", {}),), sentence)
    excess, margin = beyond(rule, series, finding), RULES[rule].threshold_at(far)
    reason = Reason("margin", {"beyond": excess, "margin": margin, "false_alarm_rate": far})
    with_margin = replace(finding, statistic=excess, threshold=margin, because=(*finding.because, reason))
    flagged = finding.state is State.NOT_RESPONDING
    if (excess > margin) == flagged:
        return with_margin
    stated = f"a stated false-alarm rate of {plain(100 * far, 1)} %"
    if flagged:
        sentence = f"{finding.sentence.rstrip('.')}; but the margin of {stated} is not passed."
        return replace(with_margin, state=State.RESPONDING, kind=None, change_week=None, sentence=sentence)
    sentence = f"{finding.sentence.rstrip('.')}; but the wider margin of {stated} counts this as not responding."
    return replace(
        with_margin, state=State.NOT_RESPONDING, kind=NonresponseKind.NEVER, change_week=None, sentence=sentence
    )
