"""Loads the series of a district or of some supports for judging, with their cohorts. Judges nothing.

It reads with the reach of the whole district, because a cohort includes classmates who are not on the caller's
caseload. The number of statements does not depend on the number of series.

This file exceeds 250 lines so that all statements of one judgement stay together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    Select,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of
from app.core.db import lateral_lookup
from app.playbook.models import Measure
from app.playbook.queries import Rulebook
from app.response.judging.points import ScoreColumns, combine_by_day
from app.response.judging.score_queries import load_scores
from app.response.judging.series import Cohort, MonitoredSeries, Scores, ScoreSeries, WeeklyDelivery
from app.roster.calendar import Weeks, counted, weeks_between, weeks_of_schools
from app.roster.lookup import IdList
from app.roster.models import Person
from app.roster.student_lock import lock_students
from app.support.lookup import DosageWindow, dosages_of
from app.support.models import Phase, Support

NO_SCORES: ScoreColumns = ((), (), (), ())

DISTRICT, DAY = bindparam("district", type_=Uuid()), bindparam("day", type_=Date())
GRADES = bindparam("grades", type_=ARRAY(Text))
RUNNING, ENDED, BEGUN = Phase.ends_on.is_(None), Phase.ends_on > DAY, Phase.begins_on >= DAY
"""Conditions on phases: the phase is running; it ended after the day `DAY`; it began on the day `DAY` or later."""

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
    """The requested series, keyed by support, and the other series of their cohorts.

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

    def others(self, support_ids: Collection[UUID]) -> list[ScoreSeries]:
        """Returns all loaded series except the running series of these supports."""
        return [*(series for series in self.running if series.support_id not in support_ids), *self.ended]


class PlannedSupport(NamedTuple):
    """A support with one of its phases. It is a row of the query that `_select_phases` builds."""

    support_id: UUID
    student_id: UUID
    measure_id: UUID
    school_ids: list[UUID]
    phase_id: UUID
    number: int
    begins_on: date
    baseline: float
    goal: float
    goal_on: date
    grades: list[str]
    ends_on: date | None

    @property
    def cohort(self) -> Cohort:
        """Returns the support's cohort: its measure, with the first of its schools and of the student's grade levels.

        Without a school, the support is a cohort of its own.
        """
        school = self.school_ids[0] if self.school_ids else self.support_id
        return self.measure_id, school, self.grades[0] if self.grades else None


@needs(Can.JUDGE)
async def load(work: Work, selection: SeriesSelection, rules: Rulebook) -> LoadedSeries:
    """Loads the selected active supports with their running phases, scores, weeks and dosage. Returns their series.

    Executes eight statements for any number of series. `rules` are the decision rules in force.
    """
    query = _restrict(selection, _select_phases(RUNNING, entities=True).where(Support.state == "active"))
    if selection.lock:
        await _lock_students(work, selection)
        # A student who arrived after the lock is judged by the sync that brought them.
        query = query.where(_is_any_of(Support.student_id, work.locked_students))
    query = query.execution_options(populate_existing=True)
    all_rows = await work.db.execute(query, {"district": work.district_id})
    pairs = None if selection.pairs is None else frozenset(selection.pairs)
    rows = [row for row in all_rows if pairs is None or row[1:3] in pairs]
    if not rows:
        return LoadedSeries()
    is_partial = selection.pairs is not None or selection.support_ids is not None
    plans = [PlannedSupport(*row[:-2]) for row in rows]
    classmates = await _load_classmates(work, plans) if is_partial else []
    running = [*plans, *classmates]
    series, calendars = await _build_series(work, [*running, *await _load_ended(work, running)], requested=len(rows))
    loaded = LoadedSeries(
        {},
        {score_series.support_id: score_series for score_series in series[len(rows) : len(running)]},
        series[len(running) :],
    )
    for score_series, row in zip(series, rows, strict=False):
        support, phase = row[-2:]
        chosen = rules.rule_for(score_series.measure.code, support.area_id, support.school_ids)
        loaded.requested[score_series.support_id] = MonitoredSeries(score_series, support, phase, chosen)
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
        work, await _load_plans(work, _select_phases(BEGUN).where(Support.state != "planned"), day=since)
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
            support_id=plan.support_id,
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
        DosageWindow(monitored.support, monitored.phase, monitored.phase.begins_on, last_on)
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
        requested[score_series.support_id] = replace(monitored, dosage=WeeklyDelivery((), (), True, dosage, by_number))


@cache
def _select_phases(of_phase: ColumnElement[bool], *, entities: bool = False, of_grades: bool = False) -> Select[Any]:
    """Returns a SELECT of supports, each with those of its phases for which the condition `of_phase` is true.

    The rows are read as `PlannedSupport`. With `entities`, the SELECT also has the mapped support and phase. With
    `of_grades`, it is restricted to students of the grades in GRADES or of no grade. The SELECT is cached, because
    building it takes longer than running it.
    """
    phases = select(Phase).where(Phase.district_id == DISTRICT, Phase.support_id == Support.id, of_phase)
    students = select(Person.grades).where(Person.district_id == DISTRICT, Person.id == Support.student_id)
    if of_grades:
        students = students.where(or_(Person.grades.overlap(GRADES), Person.grades == []))
    phase, student = aliased(Phase, lateral_lookup(phases, "phase")), lateral_lookup(students, "student")
    columns: list[Any] = [
        *(Support.id, Support.student_id, Support.measure_id, Support.school_ids),
        *(phase.id, phase.number, phase.begins_on, phase.baseline, phase.goal, phase.goal_on),
        *(student.c.grades, phase.ends_on),
    ]
    return (
        select(*columns, *([Support, phase] if entities else []))
        .select_from(Support)
        .join(phase, true())
        .join(student, true())
        .where(Support.district_id == DISTRICT, Support.measure_id.is_not(None))
        .order_by(Support.id)
    )


async def _load_plans(work: Work, query: Select[Any], **parameters: Any) -> list[PlannedSupport]:
    return [PlannedSupport(*row) for row in await work.db.execute(query, {"district": work.district_id, **parameters})]


def _restrict(selection: SeriesSelection, query: Select[Any]) -> Select[Any]:
    if selection.pairs is not None:
        # For a student with several measures this selects more than the requested pairs; `load` drops the others.
        students, measures = zip(*selection.pairs, strict=True) if selection.pairs else ((), ())
        query = query.where(_is_any_of(Support.student_id, students), _is_any_of(Support.measure_id, measures))
    if selection.support_ids is not None:
        query = query.where(_is_any_of(Support.id, selection.support_ids))
    if selection.measure_id is not None:
        query = query.where(Support.measure_id == selection.measure_id)
    if selection.school_id is not None:
        query = query.where(first_school() == selection.school_id)
    return query


def _is_any_of(column: InstrumentedAttribute[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    return column == any_(cast(list(set(ids)), IdList))


async def _load_classmates(work: Work, plans: Sequence[PlannedSupport]) -> list[PlannedSupport]:
    """Returns the supports of classmates: supports of the same measure with a common school and grade."""
    ids = {plan.support_id for plan in plans}
    schools = {school for plan in plans for school in plan.school_ids[:1]}
    grades = {grade for plan in plans for grade in plan.grades[:1]}
    query = _select_phases(RUNNING, of_grades=True).where(
        Support.state == "active",
        _is_any_of(Support.measure_id, [plan.measure_id for plan in plans]),
        Support.school_ids.overlap(list(schools)),
    )
    return [plan for plan in await _load_plans(work, query, grades=list(grades)) if plan.support_id not in ids]


async def _load_ended(work: Work, running: Sequence[PlannedSupport]) -> list[PlannedSupport]:
    """Returns the ended phases of the same cohorts that overlap with these running phases.

    A phase overlaps if it ended after the first of the cohort's running phases had begun.
    """
    first: dict[Cohort, date] = {}
    for plan in running:
        first[plan.cohort] = min(plan.begins_on, first.get(plan.cohort, plan.begins_on))
    query = _select_phases(ENDED).where(
        _is_any_of(Support.measure_id, [plan.measure_id for plan in running]),
        Support.school_ids.overlap(list({school for plan in running for school in plan.school_ids[:1]})),
    )
    plans = await _load_plans(work, query, day=min(first.values()))
    return [plan for plan in plans if plan.ends_on and plan.cohort in first and plan.ends_on > first[plan.cohort]]


async def _load_measures(work: Work, ids: set[UUID]) -> dict[UUID, Measure]:
    rows = await work.db.scalars(
        select(Measure).where(Measure.district_id == work.district_id, _is_any_of(Measure.id, ids))
    )
    return {row.id: row for row in rows}


async def _load_calendars(
    work: Work, plans: Sequence[PlannedSupport], scores: Mapping[UUID, ScoreColumns]
) -> Calendars:
    schools = {school for plan in plans for school in plan.school_ids}
    begins = min(plan.begins_on for plan in plans)
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
