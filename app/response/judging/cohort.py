"""Computes verdicts from loaded series.

A cohort is the students of one school and grade who take the same forms (versions of a test) of a measure in the same
weeks. The monitor judges whole cohorts at once; other rules judge one series at a time.

A series is always judged with its whole cohort, ordered by the ids of the series, even if only some of its series are
requested. The same numbers then go through the same operations. So the verdict on a series is identical to the byte,
whether the series is judged alone or with its district.

This file exceeds 250 lines so that a cohort's calendar, its columns and the conclusions from them stay together.
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
from app.response.rules.choose import RULES, explain_misfit, rule_named
from app.response.rules.monitor.bulk import Batch, find_cohort
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.estimate import PanelEstimate
from app.response.rules.monitor.forms import MIN_COHORT
from app.response.rules.monitor.rule import MAX_WEEKS, Facts, conclude, shares_at
from app.response.rules.rule import UnusableRule
from app.response.rules.series import LEVEL_SCORES, Series
from app.response.rules.verdict import Reason, Shares, State, Verdict

MONITOR = "monitor"
Key = tuple[UUID, str | None]
"""The key of a calibration: a measure, with a grade or with None for all grades."""
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A district's calibration of a measure, with the id of its row. The id is None for the published defaults."""

    id: UUID | None
    calibration: Calibration


DEFAULTS = Calibrated(None, PUBLISHED)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a series, as of an instructional week of its phase."""

    monitored: MonitoredSeries
    verdict: Verdict
    calibration_id: UUID | None
    week: int


class JudgingRequest(NamedTuple):
    """A request to judge a series by the scores up to the end of a given week."""

    monitored: MonitoredSeries
    series: Series
    week: int


class Placed(NamedTuple):
    """A series with the week in which its phase began, counted on the calendar that all series of its cohort share."""

    score_series: ScoreSeries
    began: int


def judge_series(
    requested: Sequence[MonitoredSeries],
    others: Iterable[ScoreSeries] = (),
    calibrated: Mapping[Key, Calibrated] | None = None,
    as_of: Mapping[UUID, int] | None = None,
) -> dict[UUID, Judgement]:
    """Judges each requested series by the rule that was chosen for the series; returns the verdicts, keyed by series.

    * `others` are series of the same cohorts that need no verdict: series of classmates, and phases that have ended.
      The scores of all these series together show how difficult the forms (versions of the test) were.
    * `calibrated` has the district's calibrations.
    * `as_of` has weeks, keyed by series. A series is judged as of this week, or as of its last week if it has no entry.
    """
    calibrations, weeks = calibrated or {}, as_of or {}
    judgements: dict[UUID, Judgement] = {}
    monitor_requests: dict[UUID, JudgingRequest] = {}
    cohorts: dict[Cohort, list[ScoreSeries]] = {}
    for monitored in requested:
        score_series, rule = monitored.score_series, monitored.chosen.rule
        week = weeks.get(score_series.series_id, score_series.last_week)
        series = series_of(monitored, week)
        misfit = explain_misfit(rule, score_series.measure.kind) if rule in RULES else None
        if misfit is not None:
            judgements[score_series.series_id] = Judgement(
                monitored, _refused(monitored, series, "rule_misfit", misfit), None, week
            )
        elif _has_shares(monitored, series):
            monitor_requests[score_series.series_id] = JudgingRequest(monitored, series, week)
            cohorts[score_series.cohort] = []
        else:
            judgements[score_series.series_id] = Judgement(monitored, _by_rule(monitored, series), None, week)
    for cohort, lines in groupby(
        chain((monitored.score_series for monitored in requested), others), attrgetter("cohort")
    ):
        if cohort in cohorts:
            cohorts[cohort] += [score_series for score_series in lines if score_series.scores.weeks]
    for members in cohorts.values():
        judgements |= _by_monitor(members, monitor_requests, calibrations)
    return judgements


def series_of(monitored: MonitoredSeries, week: int) -> Series:
    """Converts a series, with its scores up to the week `week`, into the `Series` that rules judge."""
    score_series, scores = monitored.score_series, monitored.score_series.scores.upto(week)
    return Series(
        observations=scores.observations(),
        baseline=score_series.baseline,
        goal=score_series.goal,
        goal_week=score_series.goal_week,
        direction="down" if score_series.measure.direction == "down" else "up",
        sem=score_series.sem or None,
        dosage=monitored.dosage,
        before=score_series.before,
    )


def _has_shares(monitored: MonitoredSeries, series: Series) -> bool:
    """Returns whether the monitor can estimate the probabilities of slow, short and sufficient growth for a series.

    The result is False if the rule does not judge growth, if the rule or the series is unusable, or if there is too
    little data. Such a series is judged by the rule chosen for it, without the other series of its cohort.
    """
    rule = RULES.get(monitored.chosen.rule)
    if rule is None or not rule.judges_growth:
        return False
    try:
        rule.resolve_parameters(monitored.chosen.parameters)
        series.check()
    except (UnjudgeableSeries, UnusableRule):
        return False
    if series.sem is None or len(series.observations) < LEVEL_SCORES:
        return False
    return 0 < series.weeks[-1] <= MAX_WEEKS


def _by_rule(monitored: MonitoredSeries, series: Series, shares: Shares | None = None) -> Verdict:
    """Returns the verdict of the chosen rule on one series alone, without the other series of its cohort.

    If the rule cannot judge the series, the verdict states the reason. `shares`, if given, are the probabilities of
    slow, short and sufficient growth that were estimated from the whole cohort. The verdict states them, and is called
    "not responding" only if they justify it.
    """
    try:
        verdict = rule_named(monitored.chosen.rule).judge(series, monitored.chosen.parameters, shares)
    except (UnjudgeableSeries, UnusableRule) as error:
        return _refused(monitored, series, error.code, error.sentence)
    if monitored.measures > 1 and monitored.chosen.rule != MONITOR and verdict.stated_far is not None:
        # A rule other than the monitor cannot be made stricter for each measure. In the worst case, the rates of all
        # measures add up.
        verdict = replace(verdict, stated_far=min(monitored.measures * verdict.stated_far, 1.0))
    if verdict.state is not State.INSUFFICIENT_DATA and series.weeks and series.weeks[-1] == 0:
        sentence = "Every score so far is from the week in which the phase began, or from a break after it."
        return _refused(monitored, series, "no_instructional_week", sentence)
    return verdict


def _refused(monitored: MonitoredSeries, series: Series, code: str, sentence: str) -> Verdict:
    rule = RULES.get(monitored.chosen.rule)
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
        rule=monitored.chosen.rule,
        rule_version=rule.version if rule else 0,
        parameters=dict(monitored.chosen.parameters),
        scores=series.score_ids,
    )


def _by_monitor(
    members: Sequence[ScoreSeries], requests: Mapping[UUID, JudgingRequest], calibrations: Mapping[Key, Calibrated]
) -> dict[UUID, Judgement]:
    """Returns the judgements of one cohort, keyed by series. Each series is judged as of the week of its request.

    A judgement uses only what was known at the end of that week. In a small cohort, the difficulty of the forms
    (versions of the test) cannot be estimated, and each series is judged alone.
    """
    calibrated = _calibration_of(calibrations, members[0])
    placed = on_one_calendar(members)
    requests_by_week: dict[int, dict[int, JudgingRequest]] = {}
    for position, (score_series, began) in enumerate(placed):
        request = requests.get(score_series.series_id)
        if request is not None and request.monitored.score_series is score_series:
            requests_by_week.setdefault(began + request.week, {})[position] = request
    judgements: dict[UUID, Judgement] = {}
    for week, requests_of_week in sorted(requests_by_week.items()):
        # Always in the order of ids, whichever series are requested, because the same numbers in the same order give
        # the same bytes.
        started = [
            position
            for position, (score_series, began) in enumerate(placed)
            if began + score_series.scores.weeks[0] <= week
        ]
        adjust = len(started) >= MIN_COHORT
        judged = started if adjust else list(requests_of_week)
        only = np.array([position in requests_of_week for position in judged])
        batch = batch_of([placed[position] for position in judged], [0] * len(judged), week)
        batch = replace(batch, delivered=_delivered(judged, requests_of_week))
        result = find_cohort(batch, calibrated.calibration, only, adjust=adjust)
        # No form was shared by enough series, so no form's difficulty was estimated.
        adjusted = adjust and int((batch.values == batch.values).sum(axis=0).max()) >= MIN_COHORT
        for row, request in enumerate(requests_of_week.values()):
            series_id = request.monitored.score_series.series_id
            judgements[series_id] = _conclude(request, result, row, calibrated, adjusted=adjusted)
    return judgements


def _delivered(judged: Sequence[int], requests: Mapping[int, JudgingRequest]) -> NDArray[np.float64] | None:
    """Returns the delivered share of the planned dose, with a row for each judged series and a column for each week.

    The weeks are those of the series' phase. A series without a request is judged only to estimate the difficulty of
    the forms (versions of the test). Its sessions are not loaded, and everything counts as delivered. Returns None if,
    as far as is known, the whole dose of every week was delivered.
    """
    shares = {position: request.series.weekly_delivery for position, request in requests.items()}
    weeks = max((len(delivery) for delivery in shares.values() if delivery is not None), default=0)
    if not weeks:
        return None
    table = np.ones((len(judged), weeks))
    for row, position in enumerate(judged):
        delivery = shares.get(position)
        if delivery is not None:
            table[row, : len(delivery)] = delivery
    return table


def on_one_calendar(members: Sequence[ScoreSeries]) -> list[Placed]:
    """Returns the series of a cohort, ordered by id, each with the week in which it began on their common calendar.

    Week 0 of this calendar is the week in which the first of the series began.
    """
    ordered = sorted(members, key=lambda score_series: (score_series.series_id.int, score_series.number))
    first = min(ordered, key=attrgetter("begins_on"))
    weeks = {first.begins_on: 0}
    for score_series in ordered:
        if score_series.begins_on not in weeks:
            # The two calendars are compared at week 1 of the series and not at its beginning, because a phase that
            # begins in a break counts the break and the week after it as one week.
            next_monday = score_series.monday_of_week(1)
            weeks[score_series.begins_on] = first.week_of(next_monday) - score_series.week_of(next_monday)
    return [Placed(score_series, weeks[score_series.begins_on]) for score_series in ordered]


def batch_of(placed: Sequence[Placed], cohort: Sequence[int], week: int | None = None) -> Batch:
    """Converts series of one measure into arrays. `cohort[i]` is the index of the cohort of the series `placed[i]`.

    * Only scores up to `week`, a week of the calendar, are included. Without `week`, all scores are.
    * The table of scores has a row for each series. It has a column for each form (version of the test) in each week.
      If a form was given several times in a week, each time has its own column.
    * If scores have no recorded form, all such scores of one week are assumed to come from one form.
    """
    scores = [
        score_series.scores if week is None else score_series.scores.upto(week - began)
        for score_series, began in placed
    ]
    started = np.array([began for _, began in placed], np.int64)
    counts = [len(columns_of_series.weeks) for columns_of_series in scores]
    total, rows = sum(counts), np.arange(len(placed)).repeat(counts)
    weeks = (
        np.fromiter(chain.from_iterable([columns_of_series.weeks for columns_of_series in scores]), np.int64, total)
        + started[rows]
    )
    values = np.fromiter(
        chain.from_iterable([columns_of_series.values for columns_of_series in scores]), np.float64, total
    )
    forms_by_series = [columns_of_series.forms for columns_of_series in scores]
    forms = dict(zip(sorted(set().union(*forms_by_series)), count()))
    cells = np.fromiter(map(forms.__getitem__, chain.from_iterable(forms_by_series)), np.int64, total)
    cells += weeks * max(len(forms), 1)
    column_keys, table = _table(rows, cells, values, len(placed))
    repeats = 1
    if np.count_nonzero(table == table) < total:
        repeat = _repeats(rows, cells)
        repeats = int(repeat.max()) + 1
        column_keys, table = _table(rows, cells * repeats + repeat, values, len(placed))
    aimlines = np.array(
        [(score_series.baseline, score_series.goal, score_series.goal_week) for score_series, _ in placed]
    ).reshape(-1, 3)
    baseline, goal, goal_week = aimlines.T
    goal_rate = (goal - baseline) / goal_week
    return Batch(
        weeks=column_keys // (max(len(forms), 1) * repeats),
        values=table,
        baseline=baseline,
        goal_rate=goal_rate,
        goal=goal,
        sem=_sem(placed, goal_rate),
        began=started,
        cohort=np.array(cohort, np.int64),
    )


def _sem(placed: Sequence[Placed], goal_rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the standard error of measurement (SEM) of each series in the measure's units.

    The result is nan if the SEM is unknown or if the goal is on the wrong side of the baseline.
    """
    if not placed:
        return goal_rate
    measure = placed[0].score_series.measure
    towards = goal_rate < 0 if measure.direction == "down" else goal_rate > 0
    sems = np.array([score_series.sem or math.nan for score_series, _ in placed])
    return np.where(towards, sems, math.nan)


def _table(rows: Whole, cells: Whole, values: NDArray[np.float64], count: int) -> tuple[Whole, NDArray[np.float64]]:
    """Arranges scores in a table. Returns the numbers of its columns in ascending order, and the table.

    Score i is in the row `rows[i]`, in the column with the number `cells[i]`, and has the value `values[i]`. The table
    has `count` rows, and a column for each different number in `cells`. A place without a score is nan. Of several
    scores for the same place, the last is used.
    """
    occurs = np.zeros(int(cells.max(initial=-1)) + 1, np.bool_)
    occurs[cells] = True
    columns = np.flatnonzero(occurs)
    position = np.empty(len(occurs), np.int64)
    position[columns] = np.arange(len(columns))
    table = np.full(count * len(columns), np.nan)
    table[rows * len(columns) + position[cells]] = values
    return columns, table.reshape(count, -1)


def _repeats(rows: Whole, cells: Whole) -> Whole:
    """Returns, for each score, how many earlier scores have the same row and the same column.

    `rows` and `cells` have the row and the column of each score in the table that `_table` makes.
    """
    key = rows * (int(cells.max()) + 1) + cells
    order = np.argsort(key, kind="stable")
    repeats, position = np.empty(len(key), np.int64), np.arange(len(key))
    repeats[order] = position - np.searchsorted(key[order], key[order])
    return repeats


def _conclude(
    request: JudgingRequest, result: PanelEstimate, row: int, calibrated: Calibrated, *, adjusted: bool
) -> Judgement:
    monitored, series, week = request
    rule = RULES[monitored.chosen.rule]
    if rule.name != MONITOR:
        verdict = _by_rule(monitored, series, shares_at(result, row))
        return Judgement(monitored, verdict, calibrated.id, week)
    parameters = rule.resolve_parameters(monitored.chosen.parameters)
    facts = Facts(series.goal_rate, series.direction, week, len(series.observations), monitored.dosage, adjusted)
    far = parameters["far_percent"] / 100
    finding = conclude(result, row, facts, far, calibrated.calibration, measures=monitored.measures)
    return Judgement(monitored, rule.verdict(series, parameters, finding, finding.shares), calibrated.id, week)


def _calibration_of(calibrations: Mapping[Key, Calibrated], score_series: ScoreSeries) -> Calibrated:
    """Returns the calibration that applies to a series.

    It is the calibration for the measure and grade of the series, or else the calibration for the measure and all
    grades, or else the published defaults.
    """
    return (
        calibrations.get((score_series.measure.id, score_series.grade))
        or calibrations.get((score_series.measure.id, None))
        or DEFAULTS
    )
