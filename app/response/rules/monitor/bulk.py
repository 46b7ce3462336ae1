"""Owns judging all of a district's series in arrays, form adjustment and all. Never a sentence, never a database.

A whole district: `judge_bulk`, then for the few whose state changed `rule.conclude(judged.found, n, facts, far,
calibration)` gives the finding with its sentence and `RULES["monitor"].verdict(series, settled, finding)` the verdict.
One score in a request: the same, with the rows of that student's cohort.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.model import Array, Weeks
from app.response.rules.monitor.panel import Panel, PanelEstimate, judge_panel
from app.response.rules.monitor.rule import MEDIAN_NOISE, WATCH
from app.response.rules.series import LEVEL_SCORES
from app.response.rules.verdict import State

STATES = tuple(State)
"""`Judged.state` holds indices of this."""


@dataclass(frozen=True, slots=True)
class Batch:
    """N series on T common columns, all of one measure or of several: scales are each series' own.

    weeks: (T,) instructional weeks in order, of one calendar; a week stands once for each form given in it.
    values: (N, T) scores in the measure's units, nan where there is none. baseline: (N,) medians of three, in units.
    goal_rate: (N,) units a week as the measure runs, below zero where down is better. goal: (N,) in units.
    sem: (N,) units; nan where it is unknown. began: (N,) the calendar week in which each phase began (the week 0 of
    its line); scores from before it are not the phase's: leave them nan. cohort: (N,) numbers; students with the same
    number took the same form in the same column, on one measure, and share one calendar. A series that shares nothing
    has a number of its own. A cohort of over 1,000 is treated as several.
    """

    weeks: Weeks
    values: Array
    baseline: Array
    goal_rate: Array
    goal: Array
    sem: Array
    began: Weeks
    cohort: NDArray[np.int64]

    def rows(self, chosen: NDArray[np.int64]) -> Batch:
        return Batch(self.weeks, *(getattr(self, name)[chosen] for name in ROWS))


ROWS = tuple(f.name for f in fields(Batch) if f.name != "weeks")
FOUND = tuple(f.name for f in fields(PanelEstimate))


@dataclass(frozen=True, slots=True)
class BulkJudgement:
    """For each of the N series, in the order given: the state before dosage, and what the monitor found.

    state: index of STATES: insufficient_data, responding, below_pace, goal_met, uncertain, not_responding. Dosage is
    looked at one by one, where a state changed (`rule.conclude`). last: the phase's week as of which it was judged,
    that of its last score. found: rates in g.
    """

    state: NDArray[np.int8]
    last: Weeks
    found: PanelEstimate


MOST = 1000
"""Students of a cohort who are taken together: more tell no more about a form."""


def judge_bulk(
    batch: Batch, calibration: Calibration = PUBLISHED, *, far: float = 0.10, adjust: bool = True
) -> BulkJudgement:
    """The monitor over all series as of each one's last score, form difficulties from all scores of the cohort.

    Time and memory are linear in N. The same arithmetic as for a single series: results agree to 1e-9.
    """
    found = find_bulk(batch, calibration, adjust=adjust)
    better = np.where(batch.goal_rate < 0, -1.0, 1.0)
    seen = ~np.isnan(batch.values)
    enough = _usable(batch) & (seen.sum(axis=1) >= LEVEL_SCORES)
    state = states(found, calibration, far)
    state[goal_met(batch.values, better, batch.goal) & enough] = STATES.index(State.GOAL_MET)
    state[~enough] = STATES.index(State.INSUFFICIENT_DATA)
    return BulkJudgement(state, _last(batch, seen), found)


def find_bulk(
    batch: Batch,
    calibration: Calibration = PUBLISHED,
    *,
    adjust: bool = True,
    only: NDArray[np.bool_] | None = None,
) -> PanelEstimate:
    """What the monitor finds in each series as of its last score; nan where there is nothing to weigh.

    only: (N,), who is asked for where that is not all: the others say how hard the forms were, and stay nan.
    """
    seen = ~np.isnan(batch.values)
    found, last = _empty(len(batch.cohort)), _last(batch, seen)
    rows = np.flatnonzero(_usable(batch) & seen.any(axis=1))
    rows = rows[np.argsort(batch.cohort[rows], kind="stable")]
    for part in _parts(batch.cohort[rows]):
        chosen, asked = rows[part], None if only is None else only[rows[part]]
        if asked is not None and not asked.any():
            continue
        some = _judged(batch.rows(chosen), last[chosen], calibration, adjust, asked)
        chosen = chosen if asked is None else chosen[asked]
        for name in FOUND:
            getattr(found, name)[chosen] = getattr(some, name)
    return found


def find_cohort(
    batch: Batch, calibration: Calibration, only: NDArray[np.bool_], *, adjust: bool = True
) -> PanelEstimate:
    """As `find_bulk` for the rows of one cohort: what is found in those that are asked for, and in nobody else.

    Who is asked for can be judged and has a score; of the others, who cannot says nothing of the forms.
    """
    seen = ~np.isnan(batch.values)
    last, fit = _last(batch, seen), _usable(batch) & seen.any(axis=1)
    if not fit.all():
        batch, last, only = batch.rows(np.flatnonzero(fit)), last[fit], only[fit]
    return _judged(batch, last, calibration, adjust, only)


def _judged(
    batch: Batch, last: Weeks, calibration: Calibration, adjust: bool, only: NDArray[np.bool_] | None
) -> PanelEstimate:
    panel = panel_of(batch, calibration.noise)
    return judge_panel(panel, calibration.prior, adjust=adjust, last=batch.began + last, only=only)


def _usable(batch: Batch) -> NDArray[np.bool_]:
    known = np.isfinite(batch.sem) & (batch.sem > 0) & (batch.goal_rate != 0) & np.isfinite(batch.baseline)
    return np.asarray(known)


def _last(batch: Batch, seen: NDArray[np.bool_]) -> Weeks:
    """The week of each phase's last score; 0 where there is none."""
    if not seen.size:
        return np.zeros(len(seen), np.int64)
    backwards = seen[:, ::-1].argmax(axis=1)
    return np.where(seen.any(axis=1), batch.weeks[len(batch.weeks) - 1 - backwards] - batch.began, 0)


def states(found: PanelEstimate, calibration: Calibration, far: float) -> NDArray[np.int8]:
    """What the statistic and the interval say: not_responding, uncertain, below_pace or responding."""
    threshold = calibration.threshold_at(far)
    watch = min(threshold, calibration.threshold_at(WATCH))
    statistic = np.round(found.statistic, 9)
    said = [statistic > threshold, statistic > watch, found.high < 1]
    names = [State.NOT_RESPONDING, State.UNCERTAIN, State.BELOW_PACE]
    return np.select(said, [STATES.index(name) for name in names], STATES.index(State.RESPONDING)).astype(np.int8)


def goal_met(values: Array, better: Array, goal: Array) -> NDArray[np.bool_]:
    """Whether the median of the last three scores meets the goal."""
    seen = ~np.isnan(values)
    after = seen[:, ::-1].cumsum(axis=1, dtype=np.int32)[:, ::-1]
    some = seen.sum(axis=1) >= LEVEL_SCORES
    held = values[some][(seen & (after <= LEVEL_SCORES))[some]].reshape(-1, LEVEL_SCORES)
    met = np.zeros(len(values), np.bool_)
    met[some] = better[some] * (np.sort(held, axis=1)[:, 1] - goal[some]) >= 0
    return met


def _empty(n: int) -> PanelEstimate:
    numbers = {name: np.full(n, np.nan) for name in FOUND if name != "change"}
    return PanelEstimate(**numbers, change=np.zeros(n, np.int64))


def _parts(cohort: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Runs of some thousand students in whole cohorts: what is in memory at a time."""
    if len(cohort) <= 4000:
        return [np.arange(len(cohort))] if len(cohort) else []
    edges = np.flatnonzero(np.r_[True, cohort[1:] != cohort[:-1], True])
    cuts = np.unique(np.r_[0, edges[np.searchsorted(edges, np.arange(4000, len(cohort), 4000))], len(cohort)])
    return [np.arange(a, b) for a, b in pairwise(cuts.tolist())]


def panel_of(batch: Batch, noise: float = 1.0) -> Panel:
    """A batch whose cohorts stand together, in SEM from its cohort's first baseline on, better being up.

    The baseline is a column at the earliest start. noise: the errors' SD in the measure's SEM.
    """
    unit, one = batch.sem * noise, len(batch.cohort) <= MOST and batch.cohort[0] == batch.cohort[-1]
    number: NDArray[np.int64] = np.zeros(len(batch.cohort), np.int64)
    zero: Array = batch.baseline[:1]
    if not one:
        np.cumsum(batch.cohort[1:] != batch.cohort[:-1], out=number[1:])
        number = number * 1_000_000 + (np.arange(len(number)) - np.searchsorted(number, number)) // MOST
        zero = batch.baseline[np.searchsorted(number, number)]
    times, errors = np.empty(len(batch.weeks) + 1, np.int64), np.ones(len(batch.weeks) + 1)
    times[0], times[1:] = min(int(batch.began.min()), int(batch.weeks[0])), batch.weeks
    errors[0] = MEDIAN_NOISE
    columns = np.empty((len(times), len(number)))
    columns[0], columns[1:] = batch.baseline, batch.values.T
    columns -= zero
    columns *= np.where(batch.goal_rate < 0, -1.0, 1.0) / unit
    return Panel(times, columns, np.abs(batch.goal_rate) / unit, number, errors, batch.began)
