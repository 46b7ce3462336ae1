"""Owns how series are read for judging: all of a district's or some, with their cohorts, by few statements.

Never judges. Runs as the district: a cohort holds classmates whom a caseload hides. Over 250 lines, so that the
statements that one judgement takes stand together.
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
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of
from app.core.db import lateral_lookup
from app.evidence.models import Score
from app.playbook.models import Measure
from app.playbook.queries import Rulebook
from app.response.judging.series import Cohort, MonitoredSeries, Scores, ScoreSeries, WeeklyDelivery
from app.roster.calendar import Weeks, counted, weeks_between, weeks_of_schools
from app.roster.lookup import IdList
from app.roster.models import Person
from app.roster.student_lock import lock_students
from app.support.lookup import DosageWindow, dosages_of
from app.support.models import Phase, Support

Columns = tuple[tuple[UUID, ...], tuple[date, ...], tuple[float, ...], tuple[str, ...]]
"""Scores' ids, days, values and forms; "" for no form."""

NO_SCORES: Columns = ((), (), (), ())

DISTRICT, DAY = bindparam("district", type_=Uuid()), bindparam("day", type_=Date())
GRADES = bindparam("grades", type_=ARRAY(Text))
DAYS: ARRAY[date] = ARRAY(Date)
ASKED = {"phase_id": IdList, "student_id": IdList, "measure_id": IdList, "begins_on": DAYS, "ends_on": DAYS}
"""What scores are asked for by: arrays, an item a phase."""
RUNNING, ENDED, BEGUN = Phase.ends_on.is_(None), Phase.ends_on > DAY, Phase.begins_on >= DAY
"""Which phases: that run, that ended after a day, that began on it or later."""

Calendars = dict[UUID, list[tuple[date, bool]]]
"""By school, its weeks in order: the Monday, and whether there was instruction."""


NOWHERE = UUID(int=0)
"""The school of a support that has none, where schools are counted up."""


def first_school() -> ColumnElement[UUID]:
    """SQL: the school whose cohort a support is of. Who is at two schools is of the first, and judged there alone."""
    return func.coalesce(Support.school_ids[1], literal(NOWHERE, Uuid))


@dataclass(frozen=True, slots=True)
class SeriesSelection:
    """Which active supports: by pairs of student and measure, by id, of a measure at its first school; all without."""

    pairs: Collection[tuple[UUID, UUID]] | None = None
    support_ids: Collection[UUID] | None = None
    measure_id: UUID | None = None
    school_id: UUID | None = None
    lock: bool = True


@dataclass(frozen=True, slots=True)
class LoadedSeries:
    """The wanted series, and their classmates' beside them: by support.

    earlier: phases of theirs that are over and tell of the same forms: a passage was as hard as it was, whoever has
    begun anew since.
    """

    wanted: dict[UUID, MonitoredSeries] = field(default_factory=dict)
    beside: dict[UUID, ScoreSeries] = field(default_factory=dict)
    earlier: list[ScoreSeries] = field(default_factory=list)

    @property
    def running(self) -> list[ScoreSeries]:
        """The wanted and their classmates."""
        return [*(one.line for one in self.wanted.values()), *self.beside.values()]

    def others(self, asked: Collection[UUID]) -> list[ScoreSeries]:
        """Beside those who are asked for: everybody else, and everybody's phases that are over."""
        return [*(line for line in self.running if line.support_id not in asked), *self.earlier]


class PlannedSupport(NamedTuple):
    """What `_phases` selects of each."""

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
        """By the first of the support's schools and of the student's grades."""
        school = self.school_ids[0] if self.school_ids else self.support_id
        return self.measure_id, school, self.grades[0] if self.grades else None


@needs(Can.JUDGE)
async def load(work: Work, wanted: SeriesSelection, rules: Rulebook) -> LoadedSeries:
    """Reads active supports, their running phases, scores, weeks and dosage: eight statements, however many series."""
    query = _which(wanted, _phases(RUNNING, entities=True).where(Support.state == "active"))
    if wanted.lock:
        await _lock_students(work, wanted)
        # Whoever came to the school since is judged by what they bring, not by this.
        query = query.where(_any_of(Support.student_id, work.locked_students))
    query = query.execution_options(populate_existing=True)
    read = await work.db.execute(query, {"district": work.district_id})
    pairs = None if wanted.pairs is None else frozenset(wanted.pairs)
    rows = [row for row in read if pairs is None or row[1:3] in pairs]
    if not rows:
        return LoadedSeries()
    some = wanted.pairs is not None or wanted.support_ids is not None
    plans = [PlannedSupport(*row[:-2]) for row in rows]
    beside = await _beside(work, plans) if some else []
    running = [*plans, *beside]
    lines, calendars = await _lines(work, [*running, *await _earlier(work, running)])
    found = LoadedSeries({}, {line.support_id: line for line in lines[len(rows) : len(running)]}, lines[len(running) :])
    for line, row in zip(lines, rows, strict=False):
        support, phase = row[-2:]
        chosen = rules.rule_for(line.measure.code, support.area_id, support.school_ids)
        found.wanted[line.support_id] = MonitoredSeries(line, support, phase, chosen)
    await _add_dosage(work, found.wanted, calendars)
    return found


async def _lock_students(work: Work, wanted: SeriesSelection) -> None:
    """Locks the students of the wanted supports; those of a command are locked already, and cost nothing."""
    students = {student_id for student_id, _ in wanted.pairs or ()}
    if wanted.pairs is None:
        query = select(Support.student_id).where(Support.district_id == work.district_id, Support.state == "active")
        students = set(await work.db.scalars(_which(wanted, query)))
    await lock_students(work, students - work.locked_students)


@needs(Can.JUDGE)
async def load_history(work: Work, since: date) -> list[ScoreSeries]:
    """Every phase that began on a day or later, running or ended, as a series: what a calibration rests on."""
    lines, _ = await _lines(work, await _read(work, _phases(BEGUN).where(Support.state != "planned"), day=since))
    return lines


async def _lines(work: Work, plans: Sequence[PlannedSupport]) -> tuple[list[ScoreSeries], Calendars]:
    """The series, and the weeks of their schools in all that time."""
    if not plans:
        return [], {}
    measures = await _measures(work, {plan.measure_id for plan in plans})
    scores = await _scores(work, plans)
    calendars = await _calendars(work, plans, scores)
    found = []
    counted_weeks: dict[tuple[UUID, date], Weeks] = {}
    known: dict[tuple[int, date], dict[date, int]] = {}
    cohorts: dict[Cohort, Cohort] = {}
    for plan in plans:
        weeks = _weeks(plan, calendars, counted_weeks)
        ids, days, values, forms = scores.get(plan.phase_id, NO_SCORES)
        # Week numbers that were counted already, by calendar and first day.
        numbers = known.setdefault((id(weeks), plan.begins_on), {})
        for day in {plan.goal_on, *days}.difference(numbers):
            numbers[day] = weeks_between(weeks, plan.begins_on, day)
        line = ScoreSeries(
            support_id=plan.support_id,
            number=plan.number,
            begins_on=plan.begins_on,
            baseline=plan.baseline,
            goal=plan.goal,
            goal_week=max(numbers[plan.goal_on], 1),
            measure=measures[plan.measure_id],
            cohort=cohorts.setdefault(cohort := plan.cohort, cohort),
            scores=Scores(ids, days, tuple(numbers[day] for day in days), values, forms),
            weeks=weeks,
        )
        found.append(line)
    return found, calendars


async def _add_dosage(work: Work, wanted: dict[UUID, MonitoredSeries], calendars: Calendars) -> None:
    """What was delivered up to each wanted series' last score."""
    asked = [(one, last_on) for one in wanted.values() if (last_on := one.line.last_on) is not None]
    windows = [DosageWindow(one.support, one.phase, one.phase.begins_on, last_on) for one, last_on in asked]
    numbers: dict[tuple[int, date], dict[date, int]] = {}
    for (one, _), dosage in zip(asked, await dosages_of(work, windows, calendars), strict=True):
        line = one.line
        known = numbers.setdefault((id(line.weeks), line.begins_on), {})
        for week in dosage.weeks:
            if week.monday not in known:
                known[week.monday] = line.week_of(week.monday)
        by_number = tuple((known[week.monday], week) for week in dosage.weeks)
        wanted[line.support_id] = replace(one, dosage=WeeklyDelivery((), (), True, dosage, by_number))


@cache
def _phases(of_phase: ColumnElement[bool], *, entities: bool = False, of_grades: bool = False) -> Select[Any]:
    """Supports with such phases of theirs, as Planned; with both rows themselves, if asked for.

    of_grades: of students of GRADES alone, or of none. Kept, as it takes longer to put together than to run.
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
        .where(Support.district_id == DISTRICT)
        .order_by(Support.id)
    )


async def _read(work: Work, query: Select[Any], **asked: Any) -> list[PlannedSupport]:
    return [PlannedSupport(*row) for row in await work.db.execute(query, {"district": work.district_id, **asked})]


def _which(wanted: SeriesSelection, query: Select[Any]) -> Select[Any]:
    if wanted.pairs is not None:
        # More than the pairs, where a student is followed by several measures: the rest is left out where it is read.
        students, measures = zip(*wanted.pairs, strict=True) if wanted.pairs else ((), ())
        query = query.where(_any_of(Support.student_id, students), _any_of(Support.measure_id, measures))
    if wanted.support_ids is not None:
        query = query.where(_any_of(Support.id, wanted.support_ids))
    if wanted.measure_id is not None:
        query = query.where(Support.measure_id == wanted.measure_id)
    if wanted.school_id is not None:
        query = query.where(first_school() == wanted.school_id)
    return query


def _any_of(column: InstrumentedAttribute[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    return column == any_(cast(list(set(ids)), IdList))


async def _beside(work: Work, plans: Sequence[PlannedSupport]) -> list[PlannedSupport]:
    """The classmates of these: the same measure, a common school and grade."""
    ids = {plan.support_id for plan in plans}
    schools = {school for plan in plans for school in plan.school_ids[:1]}
    grades = {grade for plan in plans for grade in plan.grades[:1]}
    query = _phases(RUNNING, of_grades=True).where(
        Support.state == "active",
        _any_of(Support.measure_id, [plan.measure_id for plan in plans]),
        Support.school_ids.overlap(list(schools)),
    )
    return [plan for plan in await _read(work, query, grades=list(grades)) if plan.support_id not in ids]


async def _earlier(work: Work, running: Sequence[PlannedSupport]) -> list[PlannedSupport]:
    """Phases that are over, of the same cohorts, and ended after the first of those that run had begun."""
    first: dict[Cohort, date] = {}
    for plan in running:
        first[plan.cohort] = min(plan.begins_on, first.get(plan.cohort, plan.begins_on))
    query = _phases(ENDED).where(
        _any_of(Support.measure_id, [plan.measure_id for plan in running]),
        Support.school_ids.overlap(list({school for plan in running for school in plan.school_ids[:1]})),
    )
    found = await _read(work, query, day=min(first.values()))
    return [plan for plan in found if plan.ends_on and plan.cohort in first and plan.ends_on > first[plan.cohort]]


async def _measures(work: Work, ids: set[UUID]) -> dict[UUID, Measure]:
    rows = await work.db.scalars(
        select(Measure).where(Measure.district_id == work.district_id, _any_of(Measure.id, ids))
    )
    return {row.id: row for row in rows}


async def _scores(work: Work, plans: Sequence[PlannedSupport]) -> dict[UUID, Columns]:
    """The scores of each phase, oldest first; baseline scores are not part of it, the day it ends on is the next's."""
    asked = {name: [getattr(plan, name) for plan in plans] for name in ASKED}
    rows = await work.db.execute(_series(), {"district": work.district_id, **asked})
    return {row[0]: (tuple(row[1]), tuple(row[2]), tuple(row[3]), tuple(row[4])) for row in rows}


@cache
def _series() -> Select[Any]:
    arrays = [cast(bindparam(name), kind) for name, kind in ASKED.items()]
    asked = func.unnest(*arrays).table_valued(*ASKED, name="asked").render_derived()
    order = (Score.taken_on, Score.attempt, Score.id)
    columns = {"ids": Score.id, "days": Score.taken_on, "numbers": Score.value, "forms": func.coalesce(Score.form, "")}
    series = lateral_lookup(
        select(
            *(func.array_agg(aggregate_order_by(column, *order)).label(name) for name, column in columns.items())
        ).where(
            Score.district_id == DISTRICT,
            Score.student_id == asked.c.student_id,
            Score.measure_id == asked.c.measure_id,
            Score.taken_on >= asked.c.begins_on,
            or_(asked.c.ends_on.is_(None), Score.taken_on < asked.c.ends_on),
            Score.purpose != "baseline",
            Score.removed_at.is_(None),
        ),
        "series",
    )
    return select(asked.c.phase_id, *series.c).join_from(asked, series, series.c.ids.is_not(None))


async def _calendars(work: Work, plans: Sequence[PlannedSupport], scores: Mapping[UUID, Columns]) -> Calendars:
    schools = {school for plan in plans for school in plan.school_ids}
    begins = min(plan.begins_on for plan in plans)
    until = max(plan.goal_on for plan in plans)
    until = max([until, *(days[-1] for _, days, _, _ in scores.values())])
    return await weeks_of_schools(work, schools, begins, until)


def _weeks(plan: PlannedSupport, known: Calendars, already: dict[tuple[UUID, date], Weeks]) -> Weeks:
    """Week numbers for a phase: those of its first school that has any, counted from where the phase begins."""
    school = next((one for one in plan.school_ids if one in known), None)
    if school is None:
        return {}
    monday = monday_of(plan.begins_on)
    if (school, monday) not in already:
        already[school, monday] = counted([one for one in known[school] if one[0] >= monday])
    return already[school, monday]
