"""Converts the response monitor's estimates into findings: a state, a kind and one sentence. Computes no estimates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.response.aimline import Direction
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.estimate import STOPPED, PanelEstimate
from app.response.rules.monitor.model import Array, calibrated_log_odds
from app.response.rules.monitor.panel import Panel, judge_panel
from app.response.rules.series import LEVEL_SCORES, DeliveredMinutes, Series
from app.response.rules.verdict import ALARMS, Finding, NonresponseKind, Reason, Shares, State
from app.response.rules.wording import MAJORITY, NAMED, UNDER_DELIVERED, justifies_name, plain, state_shares

WATCH = 0.25
"""The stated false-alarm rate of the watch threshold.

If the statistic of a series is above the watch threshold, collecting extra scores is worth the time.
"""

DEFAULT_FAR = 0.10

MAX_WEEKS = 260
"""The maximum number of instructional weeks of a series.

There is a limit because the work grows with the square of the number of weeks.
"""

MATERIAL = 0.6
"""How much the missed delivery must lower the statistic, in log odds, so that an alarm becomes `under_delivered`.

A session missed now and then lowers the statistic too, but does not explain an alarm: if 95 % was delivered, everybody
would say that the support was delivered as planned.
"""

MEDIAN_NOISE = 0.45
"""The variance of a median of three scores, relative to that of one score."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a series that `conclude` needs in addition to the monitor's estimates, in order to make a finding.

    `goal_rate` is in the measure's units per week.
    """

    goal_rate: float
    direction: Direction
    last_week: int
    scores: int
    dosage: DeliveredMinutes | None = None
    adjusted: bool = False


def judge_by_defaults(series: Series, parameters: Mapping[str, int]) -> Finding:
    """Judges one series by the published defaults, without a cohort.

    Without a cohort, it cannot be estimated how difficult the forms (versions of the test) were. The series is
    described by a Gaussian model with the measure's standard error of measurement (SEM):

    * The hypotheses are that the rate never changed, or that it changed after week w, for every w.
    * The rate before a change is N(.87 g, .40 g), and the rate after a change is N(.07 g, .20 g), where g is the
      required rate. The hazard is .0165 a week.
    * No starting level is assumed. The baseline is a median of three scores. It counts as a score at week 0, and the
      variance of its error is .45 of that of a single score.
    * The noise is marginalised over five multiples of the SEM with log-normal weights (log SD .35).
    * The true score (the score without error) changes at random by SEM/16 a week.
    * The growth of a week is expected to be the delivered share of the rate. In a week without delivery, it varies with
      a standard deviation of 5 g.
    * If a score differs by more than three standard errors from the value that the other scores predict, it is replaced
      by the value at a distance of three standard errors.

    The statistic is log [ P(rate now < .5 g) / P(rate now >= .8 g) ], with a threshold for each stated false-alarm rate
    (`far_percent`). Without a SEM the state is `insufficient_data`. The state is `under_delivered` if there is no
    alarm, but there would be one if everything had been delivered. The missed delivery must then lower the statistic by
    at least `MATERIAL`.

    Source: this project. The method combines filters over change times (Kalman, 1960; Adams and MacKay, 2007) with a
    sequential ratio that has an indifference zone (Wald, 1945). docs/response.md has the measured error rates.
    """
    return judge_by_calibration(series, parameters["far_percent"] / 100, PUBLISHED)


def judge_by_calibration(series: Series, far: float, calibration: Calibration) -> Finding:
    """Judges a series by a calibration: estimates of growth and noise from the district's own series.

    Apart from the calibration, the method is that of `judge_by_defaults`. `far` is the stated false-alarm rate.
    """
    insufficient = cannot_judge(series)
    if insufficient is not None:
        return insufficient
    last = series.weeks[-1] if series.weeks else 0
    facts = Facts(series.aimline.rate, series.direction, last, len(series.weeks), series.dosage)
    return conclude(_estimate_alone(series, calibration), 0, facts, far, calibration)


def _estimate_alone(series: Series, calibration: Calibration) -> PanelEstimate:
    """Returns the estimate of one series without a cohort."""
    line, times = series.aimline, np.array([0, *series.weeks])
    sem = (series.sem or math.nan) * calibration.noise
    # Values are relative to the baseline and in SEM, so that the scale's zero and unit make no difference.
    values = np.array([0.0, *(line.better * (value - series.baseline) / sem for value in series.values)])
    noise = np.where(np.arange(len(times)) == 0, MEDIAN_NOISE, 1.0)
    delivered = None if series.weekly_delivery is None else np.array(series.weekly_delivery)[:, None]
    panel = Panel(
        times, values[:, None], np.array([abs(line.rate) / sem]), np.zeros(1, np.int64), noise, delivered=delivered
    )
    return judge_panel(panel, calibration.prior, adjust=False)


def cannot_judge(series: Series) -> Finding | None:
    """Returns `insufficient_data`, with the reason, if the monitor cannot judge the series; otherwise None."""
    if series.sem is None:
        sentence = (
            "The measure has no standard error of measurement, which this rule needs; enter it in the playbook, "
            "or choose another rule for this measure."
        )
        return Finding(State.INSUFFICIENT_DATA, (Reason("no_sem", {}),), sentence)
    last = max(series.weeks, default=0)
    if last > MAX_WEEKS:
        reason = Reason("phase_too_long", {"weeks": last, "most": MAX_WEEKS})
        sentence = f"This phase is longer than the {MAX_WEEKS} weeks that this rule can judge; begin a new phase."
        return Finding(State.INSUFFICIENT_DATA, (reason,), sentence)
    return None


def conclude(
    estimate: PanelEstimate,
    student: int,
    facts: Facts,
    far: float,
    calibration: Calibration = PUBLISHED,
    *,
    adaptive: bool = False,
    measures: int = 1,
) -> Finding:
    """Returns the finding for the student with the index `student`: state, reasons and one sentence for a teacher.

    `estimate` has the estimates of a panel of students. `far` is the stated false-alarm rate. With `adaptive`, the
    thresholds for districts that collect extra scores are used.

    `measures` is the number of measures of the student's support. The rate `far` is divided equally among them, so that
    the rate of false alarms of all measures together is at most `far` (Bonferroni).
    """
    statistic, threshold = (
        round(float(estimate.statistic[student]), 9),
        calibration.threshold_at(far / measures, adaptive=adaptive),
    )
    watch = min(threshold, calibration.threshold_at(WATCH))
    rate, low, high = (float(part[student]) * facts.goal_rate for part in (estimate.rate, estimate.low, estimate.high))
    low, high = min(low, high), max(low, high)
    odds = math.exp(float(calibrated_log_odds(np.array(statistic))))
    shares = shares_at(estimate, student)
    change = int(estimate.change[student])
    kind = NonresponseKind.STOPPED if float(estimate.stopped[student]) > STOPPED and change else NonresponseKind.NEVER
    numbers = {"slow": shares.slow, "short": shares.short, "on_pace": shares.on_pace}
    reasons = [
        Reason("odds", {"odds": odds, "required_rate": facts.goal_rate}),
        Reason("shares", numbers),
        Reason("rate_now", {"rate": rate, "low": low, "high": high}),
    ]
    state = State.NOT_RESPONDING if justifies_name(shares) else State.OFF_TRACK
    if statistic <= threshold:
        below = float(estimate.high[student]) < 1
        state = State.UNCERTAIN if statistic > watch else State.BELOW_PACE if below else State.RESPONDING
        if_delivered = round(float(estimate.if_delivered[student]), 9)
        if if_delivered > threshold and if_delivered - statistic >= MATERIAL:
            state = State.UNDER_DELIVERED
    share = facts.dosage.share(0, facts.last_week) if facts.dosage else None
    if share is not None:
        reasons.append(Reason("dosage", {"share": share}))
    stopped = state is State.NOT_RESPONDING and kind is NonresponseKind.STOPPED
    if stopped:
        reasons.append(Reason("change", {"week": change}))
    sentence = _sentence(state, shares, far, (low, high), change if stopped else None, share, facts)
    return Finding(
        state,
        tuple(reasons),
        sentence,
        statistic,
        threshold,
        kind if state is State.NOT_RESPONDING else None,
        change if stopped else None,
        rate,
        low,
        high,
        odds,
        shares,
    )


def shares_at(estimate: PanelEstimate, student: int) -> Shares:
    """Returns the probabilities of slow, short and sufficient growth of the student with the index `student`."""
    return Shares.below(float(estimate.slow[student]), float(estimate.under[student]))


def shares_of(series: Series) -> Shares | None:
    """Returns the probabilities of slow, short and sufficient growth of one series, estimated without its cohort.

    The published defaults are used, whichever rule judges the series. Returns None if the measure has no standard error
    of measurement (SEM), if there are fewer than three scores, or if no instructional week has passed.
    """
    if cannot_judge(series) is not None or len(series.observations) < LEVEL_SCORES or series.weeks[-1] <= 0:
        return None
    return shares_at(_estimate_alone(series, PUBLISHED), 0)


NEAR, NEARER = 1.9, 1.0
"""The two limits that decide how many scores a week are requested while there is no alarm.

The statistic is then below the threshold. If their distance, in log odds, is less than the first limit, two scores a
week are requested. If it is less than the second limit, three scores are requested.
"""


UNNAMED = (0.35, 0.44)
"""The two limits that decide how many scores a week are requested during an alarm that is not "not responding".

If the probability of slow growth is at least the first limit, two scores a week are requested. If it is at least the
second limit, three scores are requested.
"""


def scores_to_request(statistic: Array, threshold: float, slow: Array) -> NDArray[np.int64]:
    """Returns how many scores to request for next week: one, or up to three if more scores could decide the verdict.

    Without an alarm, more scores are requested the nearer the statistic is to the threshold. After an alarm of the
    state `off_track`, more scores are requested the more probable slow growth is, because a high probability would make
    the state `not_responding`.
    """
    distance = threshold - statistic
    before = np.where(distance < NEARER, 3, np.where(distance < NEAR, 2, 1))
    unnamed = np.where(slow < UNNAMED[0], 1, np.where(slow < UNNAMED[1], 2, 3))
    return np.where(distance > 0, before, np.where(slow < NAMED, unnamed, 1))


def probes(finding: Finding) -> int:
    """Returns how many scores to request for next week, from 1 to 3. It is 1 if there is no statistic yet."""
    if finding.statistic is None or finding.threshold is None or finding.shares is None:
        return 1
    return int(scores_to_request(np.array(finding.statistic), finding.threshold, np.array(finding.shares.slow)))


def _sentence(
    state: State,
    shares: Shares,
    far: float,
    interval: tuple[float, float],
    change: int | None,
    share: float | None,
    facts: Facts,
) -> str:
    """Returns the sentence of a finding. It states the probabilities in `shares`, and never advises to hold back help.

    `interval` has the bounds of the middle 80 % of the present rate. `change` is the week of the change, and `share` is
    the delivered share of the dosage.
    """
    allowing = ", and allowing for how hard each passage was for everyone," if facts.adjusted else ","
    parts = [f"Given these scores{allowing} {state_shares(shares, facts.goal_rate, facts.direction)}"]
    if state in ALARMS:
        if shares.on_pace >= MAJORITY:
            parts.append(f"only {plain(100 * far, 1)} % of students who keep pace ever come this near")
        else:
            parts.append("at the present rate the goal will be missed")
    if state is State.NOT_RESPONDING:
        # The probability that growth was on pace and then stopped may be as high as `STOPPED` here.
        began = "the scores do not show that it was ever on pace for long"
        parts.append(began if change is None else f"the slowdown most likely began about week {change}")
    elif state is State.OFF_TRACK:
        parts.append("whether it has stopped is not clear yet")
    elif state is State.UNDER_DELIVERED:
        parts.append(UNDER_DELIVERED)
    elif state is State.UNCERTAIN:
        parts.append("that is not enough to raise an alarm, and extra scores would help")
    elif state is State.BELOW_PACE:
        parts.append(f"the rate is most likely {plain(interval[0])} to {plain(interval[1])}, which will miss the goal")
    if share is not None:
        parts.append(f"{plain(100 * share, 0)} % of the planned minutes were delivered")
    return "; ".join(parts) + "."
