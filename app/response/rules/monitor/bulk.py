"""Judges all series of a district at once with arrays. Uses no database.

`judge_bulk` returns states and estimates, but no sentences. Only few series change their state. For each of these,
`conclude` in `rule.py` makes a finding with a sentence from the estimates, and `RULES["monitor"].verdict` makes a
verdict from the finding.

If only one student has a new score, it is enough to call `judge_bulk` with the series of the student's cohort.

Forms (versions of a test) differ in difficulty. This is estimated from the cohorts and subtracted from the scores.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.estimate import PanelEstimate
from app.response.rules.monitor.model import Array, Weeks
from app.response.rules.monitor.panel import Panel, judge_panel
from app.response.rules.monitor.rule import MATERIAL, MEDIAN_NOISE, WATCH
from app.response.rules.series import LEVEL_SCORES
from app.response.rules.verdict import State
from app.response.rules.wording import NAMED

STATES = tuple(State)
"""The states, in the order of their numbers in `BulkJudgement.state`."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A table of the scores of N series (rows) in T columns. A column is one form (version of a test) in one week.

    The columns are common to all series. The series may be of several measures, each in its own units.

    * `weeks` (T,): the instructional week of each column, on one calendar, in order. A week occurs once for each form
      given in it.
    * `values` (N, T): scores in the measure's units; nan where there is no score.
    * `baseline` (N,): medians of three scores, in the measure's units.
    * `goal_rate` (N,): in the measure's units a week; negative if lower scores are better. `goal` (N,): in the
      measure's units.
    * `sem` (N,): in the measure's units; nan where it is unknown.
    * `began` (N,): the calendar week in which each phase began (week 0 of its aimline). Earlier scores do not belong to
      the phase and must be nan.
    * `delivered` (N, weeks): the share of the planned dose that was delivered in week 1 of each phase, in week 2, and
      so on, from 0 to 1. Later weeks count as fully delivered. If it is None, all weeks count as fully delivered.
    * `cohort` (N,): a number that identifies the cohort of each series. Students with the same number took the same
      form in the same column, on one measure, and have one calendar. A series without a cohort has a number that no
      other series has. A cohort of over 1,000 is treated as several cohorts.
    """

    weeks: Weeks
    values: Array
    baseline: Array
    goal_rate: Array
    goal: Array
    sem: Array
    began: Weeks
    cohort: NDArray[np.int64]
    delivered: Array | None = None

    def rows(self, chosen: NDArray[np.int64]) -> Batch:
        """Returns a batch that has only the rows with the indices `chosen`."""
        delivered = None if self.delivered is None else self.delivered[chosen]
        columns = {name: getattr(self, name)[chosen] for name in ROWS}
        return replace(self, **columns, delivered=delivered)


ROWS = tuple(f.name for f in fields(Batch) if f.name not in ("weeks", "delivered"))
ESTIMATE_FIELDS = tuple(f.name for f in fields(PanelEstimate))


@dataclass(frozen=True, slots=True)
class BulkJudgement:
    """The result of judging N series, in the order of the batch.

    * `state`: the state of each series, as an index of STATES.
    * `last`: the week of the last score, counted from the beginning of the phase. The series was judged as of this
      week.
    * `estimate`: the monitor's estimates. Rates are multiples of the required rate g.
    """

    state: NDArray[np.int8]
    last: Weeks
    estimate: PanelEstimate


MAX_COHORT = 1000
"""The maximum number of students of a cohort that are judged together.

More students would not improve the estimate of a form's difficulty.
"""


def judge_bulk(
    batch: Batch, calibration: Calibration = PUBLISHED, *, far: float = 0.10, adjust: bool = True
) -> BulkJudgement:
    """Returns the monitor's judgement of all series, each as of its last score.

    Time and memory are linear in N, the number of series. `far` is the stated false-alarm rate. With `adjust`, the
    difficulty of the forms (versions of the test) is estimated within each cohort, and subtracted from the scores. The
    computation is the same as for a single series, and the results agree to 1e-9.
    """
    estimate = find_bulk(batch, calibration, adjust=adjust)
    better = np.where(batch.goal_rate < 0, -1.0, 1.0)
    has_score = ~np.isnan(batch.values)
    enough = _usable(batch) & (has_score.sum(axis=1) >= LEVEL_SCORES)
    state = states(estimate, calibration, far)
    state[goal_met(batch.values, better, batch.goal) & enough] = STATES.index(State.GOAL_MET)
    state[~enough] = STATES.index(State.INSUFFICIENT_DATA)
    return BulkJudgement(state, _last(batch, has_score), estimate)


def find_bulk(
    batch: Batch,
    calibration: Calibration = PUBLISHED,
    *,
    adjust: bool = True,
    only: NDArray[np.bool_] | None = None,
) -> PanelEstimate:
    """Returns the monitor's estimate of each series as of its last score; nan for a series that cannot be judged.

    `only` (N,) marks the series to estimate; if `only` is None, all series are estimated. The estimates of unmarked
    series are nan. Their scores only help to estimate how difficult the forms (versions of the test) were, if `adjust`
    is true.
    """
    has_score = ~np.isnan(batch.values)
    estimate, last = _empty_estimate(len(batch.cohort)), _last(batch, has_score)
    rows = np.flatnonzero(_usable(batch) & has_score.any(axis=1))
    rows = rows[np.argsort(batch.cohort[rows], kind="stable")]
    for part in _memory_parts(batch.cohort[rows]):
        chosen, requested = rows[part], None if only is None else only[rows[part]]
        if requested is not None and not requested.any():
            continue
        part_estimate = _judge(batch.rows(chosen), last[chosen], calibration, adjust, requested)
        chosen = chosen if requested is None else chosen[requested]
        for name in ESTIMATE_FIELDS:
            getattr(estimate, name)[chosen] = getattr(part_estimate, name)
    return estimate


def find_cohort(
    batch: Batch, calibration: Calibration, only: NDArray[np.bool_], *, adjust: bool = True
) -> PanelEstimate:
    """Returns the estimates of the requested series of one cohort. They are computed as in `find_bulk`.

    `only` (N,) marks the requested series. Each requested series must be judgeable and have a score. Series that cannot
    be judged are not used to estimate the difficulty of the forms (versions of the test).
    """
    has_score = ~np.isnan(batch.values)
    last, judgeable = _last(batch, has_score), _usable(batch) & has_score.any(axis=1)
    if not judgeable.all():
        batch, last, only = batch.rows(np.flatnonzero(judgeable)), last[judgeable], only[judgeable]
    return _judge(batch, last, calibration, adjust, only)


def _judge(
    batch: Batch, last: Weeks, calibration: Calibration, adjust: bool, only: NDArray[np.bool_] | None
) -> PanelEstimate:
    panel = panel_of(batch, calibration.noise)
    return judge_panel(panel, calibration.prior, adjust=adjust, last=batch.began + last, only=only)


def _usable(batch: Batch) -> NDArray[np.bool_]:
    is_usable = np.isfinite(batch.sem) & (batch.sem > 0) & (batch.goal_rate != 0) & np.isfinite(batch.baseline)
    return np.asarray(is_usable)


def _last(batch: Batch, has_score: NDArray[np.bool_]) -> Weeks:
    """Returns the week of each series' last score, counted from the beginning of its phase; 0 if there is no score."""
    if not has_score.size:
        return np.zeros(len(has_score), np.int64)
    backwards = has_score[:, ::-1].argmax(axis=1)
    return np.where(has_score.any(axis=1), batch.weeks[len(batch.weeks) - 1 - backwards] - batch.began, 0)


def states(estimate: PanelEstimate, calibration: Calibration, far: float) -> NDArray[np.int8]:
    """Returns the state of each series, judged by the monitor's estimate alone. A state is an index of STATES.

    It depends on the statistic, the probability of slow growth and the interval of the rate. Whether the goal is met is
    not considered.

    The state is `under_delivered` if there is no alarm, but there would be one if everything had been delivered, and
    the missed delivery lowered the statistic by at least MATERIAL.
    """
    threshold = calibration.threshold_at(far)
    watch = min(threshold, calibration.threshold_at(WATCH))
    statistic = np.round(estimate.statistic, 9)
    alarm = statistic > threshold
    if_delivered = np.round(estimate.if_delivered, 9)
    lost = (if_delivered > threshold) & (if_delivered - statistic >= MATERIAL)
    conditions = [alarm & (estimate.slow >= NAMED), alarm, lost, statistic > watch, estimate.high < 1]
    choices = [
        State.NOT_RESPONDING,
        State.OFF_TRACK,
        State.UNDER_DELIVERED,
        State.UNCERTAIN,
        State.BELOW_PACE,
    ]
    return np.select(conditions, [STATES.index(name) for name in choices], STATES.index(State.RESPONDING)).astype(
        np.int8
    )


def goal_met(values: Array, better: Array, goal: Array) -> NDArray[np.bool_]:
    """Returns, for each series, whether the median of the last three scores meets the goal."""
    has_score = ~np.isnan(values)
    after = has_score[:, ::-1].cumsum(axis=1, dtype=np.int32)[:, ::-1]
    enough = has_score.sum(axis=1) >= LEVEL_SCORES
    last_three = values[enough][(has_score & (after <= LEVEL_SCORES))[enough]].reshape(-1, LEVEL_SCORES)
    met = np.zeros(len(values), np.bool_)
    met[enough] = better[enough] * (np.sort(last_three, axis=1)[:, 1] - goal[enough]) >= 0
    return met


def _empty_estimate(n: int) -> PanelEstimate:
    numbers = {name: np.full(n, np.nan) for name in ESTIMATE_FIELDS if name != "change"}
    return PanelEstimate(**numbers, change=np.zeros(n, np.int64))


def _memory_parts(cohort: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Divides the students into groups of about 4,000, so that less memory is needed at a time.

    No cohort is divided. Returns the students' indices by group.
    """
    if len(cohort) <= 4000:
        return [np.arange(len(cohort))] if len(cohort) else []
    edges = np.flatnonzero(np.r_[True, cohort[1:] != cohort[:-1], True])
    cuts = np.unique(np.r_[0, edges[np.searchsorted(edges, np.arange(4000, len(cohort), 4000))], len(cohort)])
    return [np.arange(a, b) for a, b in pairwise(cuts.tolist())]


def panel_of(batch: Batch, noise: float = 1.0) -> Panel:
    """Converts a batch into a panel, in which all measures have the same unit and a higher value is better.

    * The unit is the standard deviation of a score's error: `noise` times the measure's standard error of measurement
      (SEM).
    * Each value is relative to the baseline of the first series of its cohort.
    * The series of a cohort must be adjacent.
    * The panel has an additional first column for the baselines, at the week in which the earliest phase began.
    """
    unit, is_one_cohort = batch.sem * noise, len(batch.cohort) <= MAX_COHORT and batch.cohort[0] == batch.cohort[-1]
    number: NDArray[np.int64] = np.zeros(len(batch.cohort), np.int64)
    zero: Array = batch.baseline[:1]
    if not is_one_cohort:
        np.cumsum(batch.cohort[1:] != batch.cohort[:-1], out=number[1:])
        number = number * 1_000_000 + (np.arange(len(number)) - np.searchsorted(number, number)) // MAX_COHORT
        zero = batch.baseline[np.searchsorted(number, number)]
    times, errors = np.empty(len(batch.weeks) + 1, np.int64), np.ones(len(batch.weeks) + 1)
    times[0], times[1:] = min(int(batch.began.min()), int(batch.weeks[0])), batch.weeks
    errors[0] = MEDIAN_NOISE
    columns = np.empty((len(times), len(number)))
    columns[0], columns[1:] = batch.baseline, batch.values.T
    columns -= zero
    columns *= np.where(batch.goal_rate < 0, -1.0, 1.0) / unit
    delivered = None if batch.delivered is None else batch.delivered.T
    return Panel(times, columns, np.abs(batch.goal_rate) / unit, number, errors, batch.began, delivered)
