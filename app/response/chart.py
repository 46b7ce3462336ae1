"""Builds the data of a support's chart: scores, aimlines, weeks and the verdict. Draws nothing.

The data contains no names. This file exceeds 250 lines so that the parts of a chart and their computation are in one
place.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from statistics import median
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of
from app.core.errors import Conflict, Invalid, Violation
from app.evidence.queries import ChartedScore, charted_scores
from app.evidence.rules import BASELINE_SCORES
from app.playbook.lookup import measure_by_id
from app.playbook.models import Measure
from app.playbook.queries import measure_named
from app.response.axis import Axis, Break
from app.response.models import VerdictRow
from app.response.queries import verdicts_on_measures
from app.roster.calendar import weeks_off
from app.roster.lookup import today_of
from app.support.dosage import DosageWeek
from app.support.models import Phase, Support
from app.support.queries import dosage_between, goals_of_measure, phases_of
from app.support.queries import support as find_support
from app.support.rules import suspensions_of

BASELINE_SHOWN = timedelta(weeks=6)
"""How long before the first phase a shown score may lie. The chart shows the value of the baseline in any case."""
FRIDAY = timedelta(days=4)
SCORES_OF_LEVEL = 3
"""The number of last scores that set the height of the fitted line if fewer than two scores follow the change."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the chart: one baseline score, or the median of the progress scores of a day.

    `kind` is `baseline` or `score`. `phase` is the number of the point's phase, or None before the first phase.
    """

    score_ids: tuple[UUID, ...]
    taken_on: date
    place: float
    week: int
    value: float
    kind: str
    phase: int | None


@dataclass(frozen=True, slots=True)
class ChartPhase:
    """A phase with its aimline. The line is drawn from the baseline in `from_week` up to `to_week`."""

    phase_id: UUID
    number: int
    begins_on: date
    ends_on: date | None
    place: float
    from_week: int
    to_week: int
    goal_week: int
    goal_on: date
    baseline: float
    goal: float

    @property
    def rate(self) -> float:
        """Returns the required rate of the phase in the measure's units a week."""
        return (self.goal - self.baseline) / max(self.goal_week - self.from_week, 1)

    def at(self, week: float) -> float:
        """Returns the value of the aimline in a week."""
        return self.baseline + self.rate * (week - self.from_week)


@dataclass(frozen=True, slots=True)
class Fit:
    """A line through the fitted scores. Its slope is the rate that the verdict states.

    The line goes through the midpoint of these scores, (`through_week`, `through_value`). The true rate is between
    `rate_low` and `rate_high` with a probability of 80 %.
    """

    from_week: int
    to_week: int
    through_week: float
    through_value: float
    rate: float
    rate_low: float | None
    rate_high: float | None

    def at(self, week: float, rate: float) -> float:
        """Returns the value, at the given week, of a line with slope `rate` through this line's midpoint."""
        return self.through_value + rate * (week - self.through_week)


@dataclass(frozen=True, slots=True)
class ChartChange:
    """The week around which growth slowed, according to the verdict."""

    week: int
    monday: date


@dataclass(frozen=True, slots=True)
class Picture:
    """The data of a support's chart. `missed` lists the past weeks without a score, except weeks in a suspension."""

    support: Support
    measure: Measure
    until: date
    weeks: dict[int, date]
    breaks: list[Break]
    points: list[Point]
    stretches: list[ChartPhase]
    missed: list[int]
    sessions: dict[int, DosageWeek]
    verdict: VerdictRow | None
    fit: Fit | None
    change: ChartChange | None


@needs(Can.READ_SUPPORTS, Can.READ_SCORES, Can.READ_VERDICTS)
async def picture_of(work: Work, support_id: UUID, measure_name: str | None = None) -> Picture:
    """Returns the chart data of a support for one of its measures.

    `measure_name` is the code or the id of the measure; without a name, the support's first measure is used. Raises
    `NotFound` for an unknown support, `Conflict` if the support has no measure, and `Invalid` if the named measure was
    never a measure of this support.
    """
    support = await find_support(work, support_id)
    if support.measure_id is None:
        raise Conflict("This support has no measure, and so no chart.", code="support.no_measure")
    phases = (await phases_of(work, [support.id]))[support.id]
    measure_id = support.measure_id
    if measure_name is not None:
        measure_id = (await measure_named(work, measure_name, "/measure")).id
    if measure_id != support.measure_id:
        phases = await _phases_of_further_measure(work, phases, measure_id)
    today = await today_of(work)
    first = phases[0].begins_on - BASELINE_SHOWN
    scores = await charted_scores(work, support.student_id, measure_id, first)
    last = max(today, *(phase.goal_on for phase in phases), *(score.taken_on for score in scores))
    off = await weeks_off(work, support.school_ids, first, last)
    dosage = await dosage_between(work, support.id, phases[0].begins_on, None)
    return picture(
        support,
        await measure_by_id(work, measure_id),
        phases,
        scores,
        (await verdicts_on_measures(work, support.id)).get(measure_id),
        off=next((off[school] for school in support.school_ids if school in off), frozenset()),
        sessions=dosage.weeks,
        today=today,
    )


async def _phases_of_further_measure(work: Work, phases: Sequence[Phase], measure_id: UUID) -> list[Phase]:
    """Returns copies of the phases in which an additional measure has a goal, with the goal of this measure.

    The copies also have the measure's own baseline and dates, and are not saved. Raises `Invalid` if the measure has a
    goal in none of the phases.
    """
    goals = await goals_of_measure(work, [phase.id for phase in phases], measure_id)
    if not goals:
        detail = "The support has never been followed by this measure."
        raise Invalid([Violation("/measure", "support.measure_not_followed", detail)])
    return [
        Phase(
            id=phase.id,
            number=phase.number,
            begins_on=goals[phase.id].begins_on,
            ends_on=phase.ends_on,
            baseline=goals[phase.id].baseline,
            goal=goals[phase.id].goal,
            goal_on=goals[phase.id].goal_on,
        )
        for phase in phases
        if phase.id in goals
    ]


def picture(
    support: Support,
    measure: Measure,
    phases: Sequence[Phase],
    scores: Sequence[ChartedScore],
    verdict: VerdictRow | None,
    *,
    off: Collection[date],
    sessions: Sequence[DosageWeek],
    today: date,
) -> Picture:
    """Returns the chart data of a support. Pure.

    `phases` must be in order, and `scores` ordered by date.
    """
    begins = phases[0].begins_on
    until = today if support.ends_on is None else min(today, support.ends_on)
    shown = _shown_scores(scores, begins, until)
    first = min([begins, *(score.taken_on for score in shown)])
    shown_until = phases[-1].ends_on or phases[-1].goal_on
    axis = Axis(begins, first, max(until, *(phase.goal_on for phase in phases)), off)
    last = axis.week(max(until, shown_until, begins))
    points = _points(shown, phases, axis)
    stretches = [_chart_phase(phase, axis) for phase in phases]
    scored_weeks = {point.week for point in points}
    # The current week does not count as missed yet.
    past_weeks = range(1, axis.week(until) + (1 if monday_of(today) > monday_of(until) else 0))
    weeks = {week: monday for week, monday in axis.mondays.items() if week <= last}
    suspensions = suspensions_of(support.suspended_on or (), support.resumed_on or ())
    change = _change(verdict, axis, last)
    return Picture(
        support=support,
        measure=measure,
        until=until,
        weeks=weeks,
        breaks=[item for item in axis.breaks() if item.after_week < last],
        points=points,
        stretches=stretches,
        missed=[
            week
            for week in past_weeks
            if week not in scored_weeks and not any(each.includes(axis.mondays[week] + FRIDAY) for each in suspensions)
        ],
        sessions={axis.week(week.monday): week for week in sessions if week.monday in weeks.values()},
        verdict=verdict,
        # A slope has no meaning for a measure that does not grow along a line.
        fit=_fit(verdict, points, change) if measure.kind == "growth" else None,
        change=change,
    )


def _shown_scores(scores: Sequence[ChartedScore], begins: date, until: date) -> list[ChartedScore]:
    """Returns the scores that the chart shows.

    * Before the first phase, which begins on `begins`: the last `BASELINE_SCORES` scores, except scores that were
      taken more than `BASELINE_SHOWN` before the phase. Baseline scores of the day `begins` count as before the phase.
    * From `begins` until the day `until`: all other scores, except screening scores.
    """

    def before(score: ChartedScore) -> bool:
        return score.taken_on < begins or (score.taken_on == begins and score.purpose == "baseline")

    baseline = [score for score in scores if before(score)][-BASELINE_SCORES:]
    since = [score for score in scores if not before(score) and _is_shown(score, until)]
    return [score for score in baseline if begins - score.taken_on <= BASELINE_SHOWN] + since


def _is_shown(score: ChartedScore, until: date) -> bool:
    return score.taken_on <= until and score.purpose != "screening"


def _points(scores: Sequence[ChartedScore], phases: Sequence[Phase], axis: Axis) -> list[Point]:
    """Returns one point for each baseline score, and one for each day with progress scores."""
    points: list[Point] = []
    for day, of_day in groupby(scores, attrgetter("taken_on")):
        begun = [phase.number for phase in phases if phase.begins_on <= day]
        groups: dict[object, list[ChartedScore]] = {}
        for score in of_day:
            is_baseline = not begun or score.purpose == "baseline"
            groups.setdefault(score.id if is_baseline else "score", []).append(score)
        points += [
            Point(
                score_ids=tuple(score.id for score in group),
                taken_on=day,
                place=axis.place(day),
                week=axis.week(day),
                value=median(score.value for score in group),
                kind="score" if key == "score" else "baseline",
                phase=begun[-1] if begun else None,
            )
            for key, group in groups.items()
        ]
    return points


def _chart_phase(phase: Phase, axis: Axis) -> ChartPhase:
    from_week, goal_week = axis.week(phase.begins_on), axis.week(phase.goal_on)
    ended = goal_week if phase.ends_on is None else axis.week(phase.ends_on - timedelta(days=1))
    return ChartPhase(
        phase_id=phase.id,
        number=phase.number,
        begins_on=phase.begins_on,
        ends_on=phase.ends_on,
        place=axis.place(phase.begins_on),
        from_week=from_week,
        to_week=max(min(goal_week, ended), from_week),
        goal_week=goal_week,
        goal_on=phase.goal_on,
        baseline=phase.baseline,
        goal=phase.goal,
    )


def _change(verdict: VerdictRow | None, axis: Axis, last: int) -> ChartChange | None:
    if verdict is None or verdict.change_on is None:
        return None
    week = axis.week(verdict.change_on)
    return ChartChange(week, verdict.change_on) if week <= last else None


def _fit(verdict: VerdictRow | None, points: Sequence[Point], change: ChartChange | None) -> Fit | None:
    if verdict is None or verdict.rate is None:
        return None
    judged_ids = set(verdict.score_ids)
    judged = [point for point in points if not judged_ids.isdisjoint(point.score_ids)]
    fitted = [point for point in judged if change is None or point.week >= change.week]
    fitted = fitted if len(fitted) > 1 else judged[-SCORES_OF_LEVEL:]
    if len({point.week for point in fitted}) < 2:
        return None
    return Fit(
        from_week=change.week if change is not None else fitted[0].week,
        to_week=fitted[-1].week,
        through_week=sum(point.week for point in fitted) / len(fitted),
        through_value=sum(point.value for point in fitted) / len(fitted),
        rate=verdict.rate,
        rate_low=verdict.rate_low,
        rate_high=verdict.rate_high,
    )
