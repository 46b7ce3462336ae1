"""Owns how loaded series become verdicts: each by its rule, the monitor's with their cohorts in arrays. Never reads.

Nothing in here depends on how many series are judged at once: one alone, or all of a district, gives the same bytes.
Over 250 lines, so that a cohort's calendar, its columns and what is concluded from them stand together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

import numpy as np

from app.response.aimline import UnjudgeableSeries
from app.response.judging.load import Cohort, Followed, Seen
from app.response.rules.choose import RULES, UnusableRule, judge
from app.response.rules.field.counts import misfit
from app.response.rules.monitor.bulk import Batch, find_bulk
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


@dataclass(frozen=True, slots=True)
class Placed:
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
    asked: dict[UUID, int] = {}
    cohorts: dict[Cohort, dict[UUID, Followed]] = {}
    for one in wanted:
        week = weeks.get(one.support.id, one.last_week)
        series = series_of(one, week)
        wrong = misfit(one.chosen.rule, one.measure.kind) if one.chosen.rule in RULES else None
        if wrong is not None:
            found[one.support.id] = Judged(one, _refused(one, series, "rule_misfit", wrong), None, week)
        elif one.chosen.rule == MONITOR and _has_a_statistic(one, series):
            asked[one.support.id] = week
            cohorts.setdefault(one.cohort, {})[one.support.id] = one
        else:
            found[one.support.id] = Judged(one, _by_rule(one, series), None, week)
    for one in beside:
        if one.scores and one.measure.sem and (known_by := cohorts.get(one.cohort)) is not None:
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
    members: Sequence[Followed], asked: Mapping[UUID, int], known: Mapping[Key, Calibrated]
) -> dict[UUID, Judged]:
    """One cohort, as of each week that is asked for, from what was known at its end; alone where it is too small."""
    calibrated = _calibration(known, members[0])
    placed = on_one_calendar(members, asked)
    wanted = [one for one in placed if one.one.support.id in asked]
    found: dict[UUID, Judged] = {}
    for week in sorted({one.asof for one in wanted}):
        # In the order of their ids, whoever is asked for: the same numbers in the same order, the same bytes.
        known_then = [one for one in placed if _known_by(one, week)]
        these = [one for one in wanted if one.asof == week]
        adjust = len(known_then) >= LEAST
        together = known_then if adjust else these
        only = np.array([one.asof == week and one.one.support.id in asked for one in together])
        batch = batch_of([(one, 0) for one in together], week)
        result = find_bulk(batch, calibrated.calibration, adjust=adjust, only=only)
        for row, one in enumerate(together):
            if only[row]:
                found[one.one.support.id] = _concluded(one, result, row, calibrated, adjusted=adjust)
    return found


def on_one_calendar(members: Sequence[Followed], asked: Mapping[UUID, int]) -> list[Placed]:
    """A cohort's series on the calendar of the one that began first, in the order of their ids."""
    first = min(members, key=lambda one: (one.phase.begins_on, one.support.id))
    weeks = {day: first.week_of(day) for day in {one.phase.begins_on for one in members}}
    return [
        Placed(one, weeks[one.phase.begins_on], asked.get(one.support.id, one.last_week))
        for one in sorted(members, key=lambda one: (one.support.id, one.phase.number))
    ]


def _known_by(one: Placed, week: int) -> bool:
    return one.began + one.one.scores[0].week <= week if one.one.scores else False


def batch_of(members: Sequence[tuple[Placed, int]], week: int | None = None) -> Batch:
    """Series, each with the number of its cohort, up to a week of the calendar (to their last without).

    A column is a form in a week, or one of several scores of a form in a week; a week's scores without a form are
    taken to be of one form.
    """
    place: dict[Column, int] = {}
    scores = [_upto(member, week) for member, _ in members]
    cells = [_cells(member.began, some, place) for (member, _), some in zip(members, scores, strict=True)]
    columns = sorted(place)
    order = np.empty(len(columns), np.int64)
    order[[place[column] for column in columns]] = np.arange(len(columns))
    values = np.full((len(members), len(columns)), np.nan)
    rows = np.repeat(np.arange(len(members)), [len(some) for some in scores])
    values[rows, order[[cell for mine in cells for cell in mine]]] = [seen.value for some in scores for seen in some]
    goals: dict[tuple[date, date, int], int] = {}
    series = np.array([_about(member.one, goals) for member, _ in members]).reshape(-1, 4)
    return Batch(
        weeks=np.array([column[0] for column in columns], dtype=np.int64),
        values=values,
        baseline=series[:, 0],
        goal_rate=series[:, 1],
        goal=series[:, 2],
        sem=series[:, 3],
        began=np.array([member.began for member, _ in members], dtype=np.int64),
        cohort=np.array([cohort for _, cohort in members], dtype=np.int64),
    )


def _upto(member: Placed, week: int | None) -> tuple[Seen, ...]:
    """A series' scores up to a week of the calendar."""
    began, scores = member.began, member.one.scores
    if week is None or not scores or began + scores[-1].week <= week:
        return scores
    return tuple(seen for seen in scores if began + seen.week <= week)


def _cells(began: int, scores: Sequence[Seen], place: dict[Column, int]) -> list[int]:
    """Each score's column, by the number that `place` has for it or is given for it."""
    mine = [place.setdefault((began + seen.week, seen.form or "", 0), len(place)) for seen in scores]
    if len(set(mine)) == len(mine):
        return mine
    taken: dict[int, None] = {}
    for seen in scores:
        number = 0
        while (cell := place.setdefault((began + seen.week, seen.form or "", number), len(place))) in taken:
            number += 1
        taken[cell] = None
    return list(taken)


def _about(one: Followed, goals: dict[tuple[date, date, int], int]) -> tuple[float, float, float, float]:
    """Baseline, goal rate, goal and SEM, in the measure's units; no SEM where the goal is on the wrong side.

    goals: the goals' weeks that are known already, by goal's day, first day and calendar.
    """
    phase, measure = one.phase, one.measure
    asked = phase.goal_on, phase.begins_on, id(one.weeks)
    goal_week = goals.get(asked) or goals.setdefault(asked, one.goal_week)
    baseline, goal = float(phase.baseline), float(phase.goal)
    rate = (goal - baseline) / goal_week
    towards = rate < 0 if measure.direction == "down" else rate > 0
    return baseline, rate, goal, (measure.sem or math.nan) if towards else math.nan


def _concluded(placed: Placed, result: Found, row: int, calibrated: Calibrated, *, adjusted: bool) -> Judged:
    one, rule = placed.one, RULES[MONITOR]
    series, settled = series_of(one, placed.week), rule.settle(one.chosen.parameters)
    facts = Facts(series.goal_rate, series.direction, placed.week, len(series.weeks), one.dosage, adjusted)
    finding = conclude(result, row, facts, settled["far_percent"] / 100, calibrated.calibration)
    return Judged(one, rule.verdict(series, settled, finding), calibrated.id, placed.week)


def _calibration(known: Mapping[Key, Calibrated], one: Followed) -> Calibrated:
    """The measure's in this grade, else the measure's over all grades, else the published defaults."""
    return known.get((one.measure.id, one.grade)) or known.get((one.measure.id, None)) or DEFAULTS
