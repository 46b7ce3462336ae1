"""Owns how loaded series become verdicts: each by its rule, the monitor's with their cohorts in arrays. Never reads.

A series is judged with its whole cohort, in the order of their ids, whoever is asked for: the same numbers go through
the same operations, so one asked for alone and one among all of a district get the same bytes.
Over 250 lines, so that a cohort's calendar, its columns and what is concluded from them stand together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import repeat
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

import numpy as np

from app.response.aimline import UnjudgeableSeries
from app.response.judging.load import Cohort, Followed, Seen
from app.response.rules.choose import RULES, UnusableRule, judge
from app.response.rules.field.counts import misfit
from app.response.rules.monitor.bulk import Batch, find_cohort
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.forms import LEAST
from app.response.rules.monitor.panel import Found
from app.response.rules.monitor.rule import DOSAGE, LONGEST, Facts, conclude
from app.response.rules.series import LEVEL_SCORES, Observation, Series
from app.response.rules.verdict import Reason, State, Verdict

MONITOR = "monitor"
Key = tuple[UUID, str | None]
"""A measure and a grade; no grade for all of them."""
Column = tuple[int, str, int]
"""A week of the calendar, a form or "", and which of a series' scores of that form and week."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a district's own data says of a measure, and the row that says so; no row for the published defaults."""

    id: UUID | None
    calibration: Calibration


DEFAULTS = Calibrated(None, PUBLISHED)


@dataclass(frozen=True, slots=True)
class Judged:
    """A series' verdict, as of an instructional week of its phase."""

    followed: Followed
    verdict: Verdict
    calibration_id: UUID | None
    week: int


class Asked(NamedTuple):
    """What is asked of a series: to be judged as of a week, from its scores up to then."""

    series: Series
    week: int


class Placed(NamedTuple):
    """A series on its cohort's calendar: the week in which its phase began there, and as of which week of its own."""

    one: Followed
    began: int
    week: int

    @property
    def asof(self) -> int:
        return self.began + self.week


def judge_series(
    wanted: Iterable[Followed],
    beside: Iterable[Followed] = (),
    calibrated: Mapping[Key, Calibrated] | None = None,
    as_of: Mapping[UUID, int] | None = None,
) -> dict[UUID, Judged]:
    """The verdict of each wanted series' own rule, by support; as of its last week, or of an earlier one."""
    known, weeks = calibrated or {}, as_of or {}
    found: dict[UUID, Judged] = {}
    asked: dict[UUID, Asked] = {}
    cohorts: dict[Cohort, dict[UUID, Followed]] = {}
    for one in wanted:
        week = weeks.get(one.support.id, one.last_week)
        series = series_of(one, week)
        wrong = misfit(one.chosen.rule, one.measure.kind) if one.chosen.rule in RULES else None
        if wrong is not None:
            found[one.support.id] = Judged(one, _refused(one, series, "rule_misfit", wrong), None, week)
        elif one.chosen.rule == MONITOR and _has_a_statistic(one, series):
            asked[one.support.id] = Asked(series, week)
            cohorts.setdefault(one.cohort, {})[one.support.id] = one
        else:
            found[one.support.id] = Judged(one, _by_rule(one, series), None, week)
    for one in beside:
        if one.scores and (known_by := cohorts.get(one.cohort)) is not None:
            known_by.setdefault(one.support.id, one)
    for members in cohorts.values():
        found |= _by_monitor(list(members.values()), asked, known)
    return found


def series_of(one: Followed, week: int) -> Series:
    """What the rules take: the scores up to a week."""
    return Series(
        observations=tuple(
            Observation(seen.week, seen.value, str(seen.id)) for seen in one.scores if seen.week <= week
        ),
        baseline=one.phase.baseline,
        goal=one.phase.goal,
        goal_week=one.goal_week,
        direction="down" if one.measure.direction == "down" else "up",
        sem=one.measure.sem or None,
        dosage=one.dosage,
    )


def _has_a_statistic(one: Followed, series: Series) -> bool:
    """Whether the monitor has anything to weigh; else the rule itself says why not."""
    try:
        RULES[MONITOR].settle(one.chosen.parameters)
        series.check()
    except (UnjudgeableSeries, UnusableRule):
        return False
    if series.sem is None or len(series.observations) < LEVEL_SCORES:
        return False
    return 0 < series.weeks[-1] <= LONGEST


def _by_rule(one: Followed, series: Series) -> Verdict:
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


def _refused(one: Followed, series: Series, code: str, sentence: str) -> Verdict:
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


def delivered_enough(verdict: Verdict, one: Followed, week: int) -> Verdict:
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
    members: Sequence[Followed], asked: Mapping[UUID, Asked], known: Mapping[Key, Calibrated]
) -> dict[UUID, Judged]:
    """One cohort, as of each week that is asked for, from what was known at its end; alone where it is too small."""
    calibrated = _calibration(known, members[0])
    placed = on_one_calendar(members, {support_id: one.week for support_id, one in asked.items()})
    wanted = [one for one in placed if one.one.support.id in asked]
    found: dict[UUID, Judged] = {}
    for week in sorted({one.asof for one in wanted}):
        # In the order of their ids, whoever is asked for: the same numbers in the same order, the same bytes.
        known_then = [one for one in placed if (seen := one.one.scores) and one.began + seen[0].week <= week]
        these = [one for one in wanted if one.asof == week]
        adjust = len(known_then) >= LEAST
        together = known_then if adjust else these
        mine = {id(one) for one in these}
        only = np.array([id(one) in mine for one in together])
        batch = batch_of(list(zip(together, repeat(0))), week)
        result = find_cohort(batch, calibrated.calibration, only, adjust=adjust)
        for row, (one, _, _) in enumerate(these):
            found[one.support.id] = _concluded(one, asked[one.support.id], result, row, calibrated, adjusted=adjust)
    return found


def on_one_calendar(members: Sequence[Followed], asked: Mapping[UUID, int]) -> list[Placed]:
    """A cohort's series on the calendar of the one that began first, in the order of their ids."""
    known = [(one, one.phase.begins_on, one.support.id, one.phase.number) for one in members]
    known.sort(key=itemgetter(2, 3))
    first, began, *_ = min(known, key=itemgetter(1, 2))
    weeks = {day: 0 if day == began else first.week_of(day) for day in {day for _, day, _, _ in known}}
    return [Placed(one, weeks[day], asked.get(support_id, one.last_week)) for one, day, support_id, _ in known]


def batch_of(members: Sequence[tuple[Placed, int]], week: int | None = None) -> Batch:
    """Series of one measure, each with the number of its cohort, up to a week of the calendar (without: to their last).

    A column is a form in a week, or one of several scores of a form in a week; a week's scores without a form are
    taken to be of one form.
    """
    cells: list[Column] = []
    values: list[float] = []
    many = []
    for (one, began, _), _ in members:
        scores = _upto(one.scores, None if week is None else week - began)
        _, _, weeks, numbers, forms = zip(*scores, strict=True) if scores else ((),) * 5
        cells += _cells([began + one for one in weeks] if began else weeks, forms)
        values += numbers
        many.append(len(scores))
    columns = sorted(set(cells))
    place = {column: number for number, column in enumerate(columns)}
    table = np.full((len(members), len(columns)), np.nan)
    rows = np.repeat(np.arange(len(members)), many)
    table[rows, np.fromiter(map(place.__getitem__, cells), np.int64, len(cells))] = values
    goals: dict[tuple[date, date, int], int] = {}
    series = np.array([_about(member.one, goals) for member, _ in members]).reshape(-1, 4)
    return Batch(
        weeks=np.array([column[0] for column in columns], dtype=np.int64),
        values=table,
        baseline=series[:, 0],
        goal_rate=series[:, 1],
        goal=series[:, 2],
        sem=series[:, 3],
        began=np.array([member.began for member, _ in members], dtype=np.int64),
        cohort=np.array([cohort for _, cohort in members], dtype=np.int64),
    )


def _upto(scores: tuple[Seen, ...], week: int | None) -> tuple[Seen, ...]:
    """A series' scores up to a week of its own."""
    if week is None or not scores or scores[-1].week <= week:
        return scores
    return tuple(seen for seen in scores if seen.week <= week)


def _cells(weeks: Sequence[int], forms: Sequence[str | None]) -> list[Column]:
    """Each score's column."""
    named = [form or "" for form in forms]
    first = list(zip(weeks, named, repeat(0)))
    if len(set(weeks)) == len(weeks):
        return first
    taken: dict[Column, None] = {}
    for week, form, number in first:
        while (week, form, number) in taken:
            number += 1
        taken[week, form, number] = None
    return list(taken)


def _about(one: Followed, goals: dict[tuple[date, date, int], int]) -> tuple[float, float, float, float]:
    """Baseline, goal rate, goal and SEM, in the measure's units; no SEM where the goal is on the wrong side.

    goals: the goals' weeks that are known already, by goal's day, first day and calendar.
    """
    phase, measure = one.phase, one.measure
    asked = phase.goal_on, phase.begins_on, id(one.weeks) if one.weeks else 0
    goal_week = goals.get(asked) or goals.setdefault(asked, one.goal_week)
    baseline, goal = float(phase.baseline), float(phase.goal)
    rate = (goal - baseline) / goal_week
    towards = rate < 0 if measure.direction == "down" else rate > 0
    return baseline, rate, goal, (measure.sem or math.nan) if towards else math.nan


def _concluded(
    one: Followed, asked: Asked, result: Found, row: int, calibrated: Calibrated, *, adjusted: bool
) -> Judged:
    rule, (series, week) = RULES[MONITOR], asked
    settled = rule.settle(one.chosen.parameters)
    facts = Facts(series.goal_rate, series.direction, week, len(series.observations), one.dosage, adjusted)
    finding = conclude(result, row, facts, settled["far_percent"] / 100, calibrated.calibration)
    return Judged(one, rule.verdict(series, settled, finding), calibrated.id, week)


def _calibration(known: Mapping[Key, Calibrated], one: Followed) -> Calibrated:
    """The measure's in this grade, else the measure's over all grades, else the published defaults."""
    return known.get((one.measure.id, one.grade)) or known.get((one.measure.id, None)) or DEFAULTS
