"""Owns how loaded series become verdicts: each by its rule, the monitor's with their cohorts in arrays. Never reads.

A series is judged with its whole cohort, in the order of their ids, whoever is asked for: the same numbers go through
the same operations, so one asked for alone and one among all of a district get the same bytes.
Over 250 lines, so that a cohort's calendar, its columns and what is concluded from them stand together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.response.aimline import UnjudgeableSeries
from app.response.judging.series import Cohort, MonitoredSeries, ScoreSeries
from app.response.rules.choose import RULES, UnusableRule, judge
from app.response.rules.field.counts import explain_misfit
from app.response.rules.monitor.bulk import Batch, find_cohort
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.forms import LEAST
from app.response.rules.monitor.panel import PanelEstimate
from app.response.rules.monitor.rule import DOSAGE, LONGEST, Facts, conclude
from app.response.rules.series import LEVEL_SCORES, Observation, Series
from app.response.rules.verdict import Reason, State, Verdict

MONITOR = "monitor"
Key = tuple[UUID, str | None]
"""A measure and a grade; no grade for all of them."""
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a district's own data says of a measure, and the row that says so; no row for the published defaults."""

    id: UUID | None
    calibration: Calibration


DEFAULTS = Calibrated(None, PUBLISHED)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A series' verdict, as of an instructional week of its phase."""

    followed: MonitoredSeries
    verdict: Verdict
    calibration_id: UUID | None
    week: int


class JudgingRequest(NamedTuple):
    """What is asked of a series: to be judged as of a week, from its scores up to then."""

    followed: MonitoredSeries
    series: Series
    week: int


class Placed(NamedTuple):
    """A series on its cohort's calendar, and the week in which its phase began there."""

    line: ScoreSeries
    began: int


def judge_series(
    wanted: Sequence[MonitoredSeries],
    beside: Iterable[ScoreSeries] = (),
    calibrated: Mapping[Key, Calibrated] | None = None,
    as_of: Mapping[UUID, int] | None = None,
) -> dict[UUID, Judgement]:
    """The verdict of each wanted series' own rule, by support; as of its last week, or of an earlier one.

    beside: classmates, none of them wanted, and anybody's phases that are over. They and the wanted alike tell how hard
    the forms were, also who has too few scores for a verdict or another rule.
    """
    known, weeks = calibrated or {}, as_of or {}
    found: dict[UUID, Judgement] = {}
    asked: dict[UUID, JudgingRequest] = {}
    cohorts: dict[Cohort, list[ScoreSeries]] = {}
    for one in wanted:
        line, rule = one.line, one.chosen.rule
        week = weeks.get(line.support_id, line.last_week)
        series = series_of(one, week)
        wrong = explain_misfit(rule, line.measure.kind) if rule in RULES else None
        if wrong is not None:
            found[line.support_id] = Judgement(one, _refused(one, series, "rule_misfit", wrong), None, week)
        elif rule == MONITOR and _has_a_statistic(one, series):
            asked[line.support_id] = JudgingRequest(one, series, week)
            cohorts[line.cohort] = []
        else:
            found[line.support_id] = Judgement(one, _by_rule(one, series), None, week)
    for cohort, lines in groupby(chain((one.line for one in wanted), beside), attrgetter("cohort")):
        if cohort in cohorts:
            cohorts[cohort] += [line for line in lines if line.scores.weeks]
    for members in cohorts.values():
        found |= _by_monitor(members, asked, known)
    return found


def series_of(one: MonitoredSeries, week: int) -> Series:
    """What the rules take: the scores up to a week."""
    line, scores = one.line, one.line.scores.upto(week)
    return Series(
        observations=tuple(map(Observation, scores.weeks, scores.values, scores.ids)),
        baseline=line.baseline,
        goal=line.goal,
        goal_week=line.goal_week,
        direction="down" if line.measure.direction == "down" else "up",
        sem=line.measure.sem or None,
        dosage=one.dosage,
    )


def _has_a_statistic(one: MonitoredSeries, series: Series) -> bool:
    """Whether the monitor has anything to weigh; else the rule itself says why not."""
    try:
        RULES[MONITOR].settle(one.chosen.parameters)
        series.check()
    except (UnjudgeableSeries, UnusableRule):
        return False
    if series.sem is None or len(series.observations) < LEVEL_SCORES:
        return False
    return 0 < series.weeks[-1] <= LONGEST


def _by_rule(one: MonitoredSeries, series: Series) -> Verdict:
    """By its rule, with nobody beside it; what no rule can judge says why."""
    rule = one.chosen.rule
    try:
        verdict = judge(rule, series, one.chosen.parameters)
    except (UnjudgeableSeries, UnusableRule) as error:
        return _refused(one, series, error.code, error.sentence)
    if verdict.state is not State.INSUFFICIENT_DATA and series.weeks and series.weeks[-1] == 0:
        sentence = "Every score so far is from the week in which the phase began, or from a break after it."
        return _refused(one, series, "no_instructional_week", sentence)
    return delivered_enough(verdict, one, series.weeks[-1] if series.weeks else 0)


def _refused(one: MonitoredSeries, series: Series, code: str, sentence: str) -> Verdict:
    rule = RULES.get(one.chosen.rule)
    return Verdict(
        state=State.INSUFFICIENT_DATA,
        kind=None,
        because=(Reason(code, {}),),
        sentence=sentence,
        statistic=None,
        threshold=None,
        rate=None,
        required_rate=(series.goal - series.baseline) / max(series.goal_week, 1),
        change_week=None,
        rule=one.chosen.rule,
        rule_version=rule.version if rule else 0,
        parameters=dict(one.chosen.parameters),
        scores=tuple(observation.score_id for observation in series.observations),
    )


def delivered_enough(verdict: Verdict, one: MonitoredSeries, week: int) -> Verdict:
    """The dosage gate for every rule: where too little was delivered, no student is said not to respond."""
    since = verdict.change_week or 0
    share = one.dosage.share(since, week) if one.dosage else None
    if verdict.state is not State.NOT_RESPONDING or share is None or share >= DOSAGE:
        return verdict
    reason = Reason("dosage", {"share": share, "least": DOSAGE, "after_week": since})
    sentence = (
        f"{verdict.sentence.rstrip('.')}; but only {100 * share:.0f} % of what was planned was delivered, "
        "so the scores cannot speak of the support."
    )
    because = (*verdict.because, reason)
    return replace(
        verdict, state=State.UNDER_DELIVERED, kind=None, change_week=None, because=because, sentence=sentence
    )


def _by_monitor(
    members: Sequence[ScoreSeries], asked: Mapping[UUID, JudgingRequest], known: Mapping[Key, Calibrated]
) -> dict[UUID, Judgement]:
    """One cohort, as of each week that is asked for, from what was known at its end; alone where it is too small."""
    calibrated = _calibration(known, members[0])
    placed = on_one_calendar(members)
    wanted: dict[int, dict[int, JudgingRequest]] = {}
    for at, (line, began) in enumerate(placed):
        if (one := asked.get(line.support_id)) is not None and one.followed.line is line:
            wanted.setdefault(began + one.week, {})[at] = one
    found: dict[UUID, Judgement] = {}
    for week, these in sorted(wanted.items()):
        # In the order of their ids, whoever is asked for: the same numbers in the same order, the same bytes.
        together = [at for at, (line, began) in enumerate(placed) if began + line.scores.weeks[0] <= week]
        adjust = len(together) >= LEAST
        together = together if adjust else list(these)
        only = np.array([at in these for at in together])
        batch = batch_of([placed[at] for at in together], [0] * len(together), week)
        result = find_cohort(batch, calibrated.calibration, only, adjust=adjust)
        # Where no form is shared by enough of them, nothing was said of how hard one was.
        adjusted = adjust and int((batch.values == batch.values).sum(axis=0).max()) >= LEAST
        for row, one in enumerate(these.values()):
            found[one.followed.line.support_id] = _concluded(one, result, row, calibrated, adjusted=adjusted)
    return found


def on_one_calendar(members: Sequence[ScoreSeries]) -> list[Placed]:
    """A cohort's series on the calendar of the one that began first, in the order of their ids."""
    known = sorted(members, key=lambda line: (line.support_id.int, line.number))
    first = min(known, key=attrgetter("begins_on"))
    weeks = {first.begins_on: 0}
    for line in known:
        if line.begins_on not in weeks:
            # By the week after: a phase that begins in a break has the break and the first week after it as one.
            after = line.monday_of_week(1)
            weeks[line.begins_on] = first.week_of(after) - line.week_of(after)
    return [Placed(line, weeks[line.begins_on]) for line in known]


def batch_of(placed: Sequence[Placed], cohort: Sequence[int], week: int | None = None) -> Batch:
    """Series of one measure, with the numbers of their cohorts, up to a week of the calendar (without: to their last).

    A column is a form in a week, or one of several scores of a form in a week; a week's scores without a form are
    taken to be of one form.
    """
    scores = [line.scores if week is None else line.scores.upto(week - began) for line, began in placed]
    started = np.array([began for _, began in placed], np.int64)
    many = [len(some.weeks) for some in scores]
    every, rows = sum(many), np.arange(len(placed)).repeat(many)
    weeks = np.fromiter(chain.from_iterable([some.weeks for some in scores]), np.int64, every) + started[rows]
    values = np.fromiter(chain.from_iterable([some.values for some in scores]), np.float64, every)
    named = [some.forms for some in scores]
    forms = dict(zip(sorted(set().union(*named)), count()))
    cells = np.fromiter(map(forms.__getitem__, chain.from_iterable(named)), np.int64, every)
    cells += weeks * max(len(forms), 1)
    columns, table = _table(rows, cells, values, len(placed))
    repeats = 1
    if np.count_nonzero(table == table) < every:
        again = _again(rows, cells)
        repeats = int(again.max()) + 1
        columns, table = _table(rows, cells * repeats + again, values, len(placed))
    lines = np.array([(line.baseline, line.goal, line.goal_week) for line, _ in placed]).reshape(-1, 3)
    baseline, goal, goal_week = lines.T
    goal_rate = (goal - baseline) / goal_week
    return Batch(
        weeks=columns // (max(len(forms), 1) * repeats),
        values=table,
        baseline=baseline,
        goal_rate=goal_rate,
        goal=goal,
        sem=_sem(placed, goal_rate),
        began=started,
        cohort=np.array(cohort, np.int64),
    )


def _sem(placed: Sequence[Placed], goal_rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each series' SEM, in the measure's units; none where it is unknown, or the goal is on the wrong side."""
    if not placed:
        return goal_rate
    measure = placed[0].line.measure
    towards = goal_rate < 0 if measure.direction == "down" else goal_rate > 0
    return np.where(towards, measure.sem or math.nan, math.nan)


def _table(rows: Whole, cells: Whole, values: NDArray[np.float64], count: int) -> tuple[Whole, NDArray[np.float64]]:
    """The cells that occur, in order, and each row's values in them; the last where a row has several in one."""
    there = np.zeros(int(cells.max(initial=-1)) + 1, np.bool_)
    there[cells] = True
    columns = np.flatnonzero(there)
    place = np.empty(len(there), np.int64)
    place[columns] = np.arange(len(columns))
    table = np.full(count * len(columns), np.nan)
    table[rows * len(columns) + place[cells]] = values
    return columns, table.reshape(count, -1)


def _again(rows: Whole, cells: Whole) -> Whole:
    """How many scores of the same row and cell come before each."""
    key = rows * (int(cells.max()) + 1) + cells
    order = np.argsort(key, kind="stable")
    found, place = np.empty(len(key), np.int64), np.arange(len(key))
    found[order] = place - np.searchsorted(key[order], key[order])
    return found


def _concluded(
    asked: JudgingRequest, result: PanelEstimate, row: int, calibrated: Calibrated, *, adjusted: bool
) -> Judgement:
    rule, (one, series, week) = RULES[MONITOR], asked
    settled = rule.settle(one.chosen.parameters)
    facts = Facts(series.goal_rate, series.direction, week, len(series.observations), one.dosage, adjusted)
    finding = conclude(result, row, facts, settled["far_percent"] / 100, calibrated.calibration)
    return Judgement(one, rule.verdict(series, settled, finding), calibrated.id, week)


def _calibration(known: Mapping[Key, Calibrated], line: ScoreSeries) -> Calibrated:
    """The measure's in this grade, else the measure's over all grades, else the published defaults."""
    return known.get((line.measure.id, line.grade)) or known.get((line.measure.id, None)) or DEFAULTS
