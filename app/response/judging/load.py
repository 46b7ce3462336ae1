"""Loads the series of a district or of some supports for judging, with their cohorts. Judges nothing.

It reads with the reach of the whole district, because a cohort includes classmates who are not on the caller's
caseload. The number of statements does not depend on the number of series.

This file exceeds 250 lines so that all statements of one judgement stay together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Uuid,
    func,
    literal,
    select,
)

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of
from app.playbook.models import Measure
from app.playbook.queries import Rulebook
from app.response.judging.plans import (
    BEGUN,
    ENDED,
    RUNNING,
    PlannedSupport,
    has_measure,
    is_any_of,
    load_plans,
    select_phases,
    with_further_measures,
)
from app.response.judging.points import ScoreColumns, combine_by_day
from app.response.judging.score_queries import load_scores
from app.response.judging.series import Cohort, MonitoredSeries, Scores, ScoreSeries, WeeklyDelivery
from app.roster.calendar import Weeks, counted, weeks_between, weeks_of_schools
from app.roster.student_lock import lock_students
from app.support.lookup import DosageWindow, dosages_of
from app.support.models import Phase, Support

NO_SCORES: ScoreColumns = ((), (), (), ())

Calendars = dict[UUID, list[tuple[date, bool]]]
"""The weeks of each school, in order and keyed by school. A week is its Monday and whether there was instruction."""


NOWHERE = UUID(int=0)
"""The id that means "no school" where supports are grouped by school."""


def first_school() -> ColumnElement[UUID]:
    """Returns SQL for the first school of a support's student. The support belongs to a cohort of this school."""
    return func.coalesce(Support.school_ids[1], literal(NOWHERE, Uuid))


@dataclass(frozen=True, slots=True)
class SeriesSelection:
    """The conditions that select the active supports to load. Without any condition, all of them are loaded.

    Supports are selected by pairs of student and measure, by their ids, or by measure and first school. With `lock`,
    the students of the supports are locked.
    """

    pairs: Collection[tuple[UUID, UUID]] | None = None
    support_ids: Collection[UUID] | None = None
    measure_id: UUID | None = None
    school_id: UUID | None = None
    lock: bool = True


@dataclass(frozen=True, slots=True)
class LoadedSeries:
    """The requested series, keyed by their ids (`ScoreSeries.series_id`), and the other series of their cohorts.

    * `classmates` are running series of the same cohorts.
    * `ended` are phases of the same cohorts that have ended.

    The scores of both show how difficult the forms were.
    """

    requested: dict[UUID, MonitoredSeries] = field(default_factory=dict)
    classmates: dict[UUID, ScoreSeries] = field(default_factory=dict)
    ended: list[ScoreSeries] = field(default_factory=list)

    @property
    def running(self) -> list[ScoreSeries]:
        """Returns all running series: the requested ones, and those of their classmates."""
        return [*(monitored.score_series for monitored in self.requested.values()), *self.classmates.values()]

    def others(self, series_ids: Collection[UUID]) -> list[ScoreSeries]:
        """Returns all loaded series except the running series with these ids."""
        return [*(series for series in self.running if series.series_id not in series_ids), *self.ended]


@needs(Can.JUDGE)
async def load(work: Work, selection: SeriesSelection, rules: Rulebook) -> LoadedSeries:
    """Loads the selected active supports with their running phases, scores, weeks and dosage. Returns their series.

    Executes eight statements for any number of series. `rules` are the decision rules in force.
    """
    query = _restrict(selection, select_phases(RUNNING, entities=True).where(Support.state == "active"))
    if selection.lock:
        await _lock_students(work, selection)
        # A student who arrived after the lock is judged by the sync that brought them.
        query = query.where(is_any_of(Support.student_id, work.locked_students))
    query = query.execution_options(populate_existing=True)
    all_rows = await work.db.execute(query, {"district": work.district_id})
    supports: list[tuple[PlannedSupport, Support, Phase]] = [(PlannedSupport(*row[:-2]), *row[-2:]) for row in all_rows]
    pairs = None if selection.pairs is None else frozenset(selection.pairs)
    # A selected support may have other measures than the selected one.
    plans = [
        (plan, *row[1:])
        for row, plans_of_row in zip(
            supports, await with_further_measures(work, [row[0] for row in supports]), strict=True
        )
        for plan in plans_of_row
        if (pairs is None or (plan.student_id, plan.measure_id) in pairs)
        and selection.measure_id in (None, plan.measure_id)
    ]
    if not plans:
        return LoadedSeries()
    is_partial = selection.pairs is not None or selection.support_ids is not None
    requested = [plan for plan, _, _ in plans]
    classmates = await _load_classmates(work, requested) if is_partial else []
    running = [*requested, *classmates]
    series, calendars = await _build_series(work, [*running, *await _load_ended(work, running)], requested=len(plans))
    loaded = LoadedSeries(
        {},
        {score_series.series_id: score_series for score_series in series[len(plans) : len(running)]},
        series[len(running) :],
    )
    for score_series, (plan, support, phase) in zip(series, plans, strict=False):
        loaded.requested[score_series.series_id] = MonitoredSeries(
            score_series,
            support,
            phase,
            rules.rule_for(score_series.measure.code, support.area_id, support.school_ids),
            measures=1 + len(plan.more_measures),
            offset=_weeks_into_phase(plan, phase, calendars),
        )
    await _add_dosage(work, loaded.requested, calendars)
    return loaded


async def _lock_students(work: Work, selection: SeriesSelection) -> None:
    """Locks the students of the selected supports, except those that a command of this transaction has already
    locked.
    """
    students = {student_id for student_id, _ in selection.pairs or ()}
    if selection.pairs is None:
        query = select(Support.student_id).where(Support.district_id == work.district_id, Support.state == "active")
        students = set(await work.db.scalars(_restrict(selection, query)))
    await lock_students(work, students - work.locked_students)


@needs(Can.JUDGE)
async def load_history(work: Work, since: date) -> list[ScoreSeries]:
    """Returns the series of every phase that began on the day `since` or later, running or ended. Used for
    calibration.
    """
    series, _ = await _build_series(
        work, await load_plans(work, select_phases(BEGUN).where(Support.state != "planned"), {"day": since})
    )
    return series


async def _build_series(
    work: Work, plans: Sequence[PlannedSupport], *, requested: int = 0
) -> tuple[list[ScoreSeries], Calendars]:
    """Returns the series of these phases, and the weeks of their schools over the whole period.

    Only the first `requested` of the series have points of a baseline, and only they end with their goal's date: later
    scores of classmates still show how difficult a form was.
    """
    if not plans:
        return [], {}
    measures = await _load_measures(work, {plan.measure_id for plan in plans})
    scores, baselines = await load_scores(work, plans, requested)
    calendars = await _load_calendars(work, plans, scores)
    built = []
    counted_weeks: dict[tuple[UUID, date], Weeks] = {}
    numbers_by_calendar: dict[tuple[int, date], dict[date, int]] = {}
    cohorts: dict[Cohort, Cohort] = {}
    for position, plan in enumerate(plans):
        weeks = _weeks_of(plan, calendars, counted_weeks)
        ids, days, values, forms, same_day = combine_by_day(scores.get(plan.phase_id, NO_SCORES))
        # Week numbers that were counted for the same calendar and first day are reused.
        numbers = numbers_by_calendar.setdefault((id(weeks), plan.begins_on), {})
        for day in {plan.goal_on, *days}.difference(numbers):
            numbers[day] = weeks_between(weeks, plan.begins_on, day)
        taken = Scores(ids, days, tuple(numbers[day] for day in days), values, forms, same_day)
        series = ScoreSeries(
            series_id=plan.series_id,
            number=plan.number,
            begins_on=plan.begins_on,
            baseline=plan.baseline,
            goal=plan.goal,
            goal_week=max(numbers[plan.goal_on], 1),
            measure=measures[plan.measure_id],
            cohort=cohorts.setdefault(cohort := plan.cohort, cohort),
            scores=taken.until(plan.goal_on) if position < requested else taken,
            weeks=weeks,
            before=baselines.get(plan.phase_id, ()),
            goal_on=plan.goal_on,
        )
        built.append(series)
    return built, calendars


async def _add_dosage(work: Work, requested: dict[UUID, MonitoredSeries], calendars: Calendars) -> None:
    """Adds to each requested series the dosage up to its last score."""
    scored = [
        (monitored, last_on)
        for monitored in requested.values()
        if (last_on := monitored.score_series.last_on) is not None
    ]
    windows = [
        DosageWindow(monitored.support, monitored.phase, monitored.score_series.begins_on, last_on)
        for monitored, last_on in scored
    ]
    numbers: dict[tuple[int, date], dict[date, int]] = {}
    for (monitored, _), dosage in zip(scored, await dosages_of(work, windows, calendars), strict=True):
        score_series = monitored.score_series
        week_numbers = numbers.setdefault((id(score_series.weeks), score_series.begins_on), {})
        for week in dosage.weeks:
            if week.monday not in week_numbers:
                week_numbers[week.monday] = score_series.week_of(week.monday)
        by_number = tuple((week_numbers[week.monday], week) for week in dosage.weeks)
        requested[score_series.series_id] = replace(monitored, dosage=WeeklyDelivery((), (), True, dosage, by_number))


def _weeks_into_phase(plan: PlannedSupport, phase: Phase, calendars: Calendars) -> int:
    """Returns the number of instructional weeks from the beginning of a phase to that of one of its series."""
    if plan.begins_on == phase.begins_on:
        return 0
    return weeks_between(
        _weeks_of(plan._replace(begins_on=phase.begins_on), calendars, {}), phase.begins_on, plan.begins_on
    )


def _restrict(selection: SeriesSelection, query: Select[Any]) -> Select[Any]:
    if selection.pairs is not None:
        # For a student with several measures this selects more than the requested pairs; `load` drops the others.
        students, measures = zip(*selection.pairs, strict=True) if selection.pairs else ((), ())
        query = query.where(is_any_of(Support.student_id, students), has_measure(measures))
    if selection.support_ids is not None:
        query = query.where(is_any_of(Support.id, selection.support_ids))
    if selection.measure_id is not None:
        query = query.where(has_measure([selection.measure_id]))
    if selection.school_id is not None:
        query = query.where(first_school() == selection.school_id)
    return query


async def _load_classmates(work: Work, plans: Sequence[PlannedSupport]) -> list[PlannedSupport]:
    """Returns the series of classmates: supports of the same measure with a common school and grade."""
    ids = {plan.series_id for plan in plans}
    measure_ids = {plan.measure_id for plan in plans}
    schools = {school for plan in plans for school in plan.school_ids[:1]}
    grades = {grade for plan in plans for grade in plan.grades[:1]}
    query = select_phases(RUNNING, of_grades=True).where(
        Support.state == "active",
        has_measure(measure_ids),
        Support.school_ids.overlap(list(schools)),
    )
    classmates = await load_plans(work, query, {"grades": list(grades)}, measure_ids)
    return [plan for plan in classmates if plan.series_id not in ids]


async def _load_ended(work: Work, running: Sequence[PlannedSupport]) -> list[PlannedSupport]:
    """Returns the ended phases of the same cohorts that overlap with these running phases.

    A phase overlaps if it ended after the first of the cohort's running phases had begun.
    """
    first: dict[Cohort, date] = {}
    for plan in running:
        first[plan.cohort] = min(plan.begins_on, first.get(plan.cohort, plan.begins_on))
    measure_ids = {plan.measure_id for plan in running}
    query = select_phases(ENDED).where(
        has_measure(measure_ids),
        Support.school_ids.overlap(list({school for plan in running for school in plan.school_ids[:1]})),
    )
    plans = await load_plans(work, query, {"day": min(first.values())}, measure_ids)
    return [plan for plan in plans if plan.ends_on and plan.cohort in first and plan.ends_on > first[plan.cohort]]


async def _load_measures(work: Work, ids: set[UUID]) -> dict[UUID, Measure]:
    rows = await work.db.scalars(
        select(Measure).where(Measure.district_id == work.district_id, is_any_of(Measure.id, ids))
    )
    return {row.id: row for row in rows}


async def _load_calendars(
    work: Work, plans: Sequence[PlannedSupport], scores: Mapping[UUID, ScoreColumns]
) -> Calendars:
    schools = {school for plan in plans for school in plan.school_ids}
    begins = min(plan.phase_begins_on or plan.begins_on for plan in plans)
    until = max(plan.goal_on for plan in plans)
    until = max([until, *(days[-1] for _, days, _, _ in scores.values())])
    return await weeks_of_schools(work, schools, begins, until)


def _weeks_of(plan: PlannedSupport, calendars: Calendars, counted_weeks: dict[tuple[UUID, date], Weeks]) -> Weeks:
    """Returns the numbers of a phase's weeks, counted from its start.

    The calendar is that of the first of the phase's schools that has one.
    """
    school = next((school_id for school_id in plan.school_ids if school_id in calendars), None)
    if school is None:
        return {}
    monday = monday_of(plan.begins_on)
    if (school, monday) not in counted_weeks:
        counted_weeks[school, monday] = counted([week for week in calendars[school] if week[0] >= monday])
    return counted_weeks[school, monday]
