"""Selects the phases of supports, each with its aimline, for their first and for their further measures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
    and_,
    any_,
    bindparam,
    cast,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.db import lateral_lookup
from app.response.judging.series import Cohort
from app.roster.lookup import IdList
from app.roster.models import Person
from app.support.models import Phase, PhaseGoal, Support

DISTRICT, DAY = bindparam("district", type_=Uuid()), bindparam("day", type_=Date())
GRADES = bindparam("grades", type_=ARRAY(Text))
RUNNING, ENDED, BEGUN = Phase.ends_on.is_(None), Phase.ends_on > DAY, Phase.begins_on >= DAY
"""Conditions on phases: the phase is running; it ended after the day `DAY`; it began on the day `DAY` or later."""


class PlannedSupport(NamedTuple):
    """A support with one of its phases. It is a row of the query that `select_phases` builds.

    `with_further_measures` derives others from it, one for each further measure of the support. There, `series_id` is
    the id of the `SupportMeasure` instead of the support's, and `phase_id` that of the `PhaseGoal` instead of the
    phase's; `begins_on` and the goal are those of the `PhaseGoal`, and `phase_begins_on` is the phase's first day.
    """

    series_id: UUID
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
    more_measures: list[UUID]
    phase_begins_on: date | None = None

    @property
    def cohort(self) -> Cohort:
        """Returns the support's cohort: its measure, with the first of its schools and of the student's grade levels.

        Without a school, the support is a cohort of its own.
        """
        school = self.school_ids[0] if self.school_ids else self.series_id
        return self.measure_id, school, self.grades[0] if self.grades else None


@cache
def select_phases(of_phase: ColumnElement[bool], *, entities: bool = False, of_grades: bool = False) -> Select[Any]:
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
        *(student.c.grades, phase.ends_on, Support.more_measures),
    ]
    return (
        select(*columns, *([Support, phase] if entities else []))
        .select_from(Support)
        .join(phase, true())
        .join(student, true())
        .where(Support.district_id == DISTRICT, Support.measure_id.is_not(None))
        .order_by(Support.id)
    )


@needs(Can.JUDGE)
async def load_plans(
    work: Work, query: Select[Any], parameters: Mapping[str, Any], measure_ids: Collection[UUID] | None = None
) -> list[PlannedSupport]:
    """Returns the plans that a query selects, those of further measures included.

    With `measure_ids`, only plans of these measures are returned.
    """
    rows = await work.db.execute(query, {"district": work.district_id, **parameters})
    plans_by_support = await with_further_measures(work, [PlannedSupport(*row) for row in rows])
    return [
        plan for plans in plans_by_support for plan in plans if measure_ids is None or plan.measure_id in measure_ids
    ]


@needs(Can.JUDGE)
async def with_further_measures(work: Work, plans: Sequence[PlannedSupport]) -> list[list[PlannedSupport]]:
    """Returns, for each plan, the plan itself and those of the further measures of its support in the same phase.

    Executes a statement only if one of the supports has further measures.
    """
    phase_ids = [plan.phase_id for plan in plans if plan.more_measures]
    goals: dict[UUID, list[Any]] = {}
    if phase_ids:
        rows = await work.db.execute(
            select(
                *(PhaseGoal.phase_id, PhaseGoal.support_measure_id, PhaseGoal.id, PhaseGoal.measure_id),
                *(PhaseGoal.begins_on, PhaseGoal.baseline, PhaseGoal.goal, PhaseGoal.goal_on),
            )
            .where(PhaseGoal.district_id == work.district_id, is_any_of(PhaseGoal.phase_id, phase_ids))
            .order_by(PhaseGoal.support_measure_id)
        )
        for phase_id, *goal in rows:
            goals.setdefault(phase_id, []).append(goal)
    return [[plan, *_plans_of_goals(plan, goals.get(plan.phase_id, ()))] for plan in plans]


def _plans_of_goals(plan: PlannedSupport, goals: Iterable[Sequence[Any]]) -> list[PlannedSupport]:
    """Returns the plans of the further measures of a support that are still followed."""
    names = ("series_id", "phase_id", "measure_id", "begins_on", "baseline", "goal", "goal_on")
    values = [dict(zip(names, goal, strict=True)) for goal in goals]
    return [
        plan._replace(**each, phase_begins_on=plan.begins_on)
        for each in values
        if each["measure_id"] in plan.more_measures
    ]


def has_measure(measure_ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Returns the condition that a support is followed by one of these measures, as its first or a further one."""
    ids = list(set(measure_ids))
    return or_(
        is_any_of(Support.measure_id, ids),
        and_(Support.more_measures != literal_column("'{}'"), Support.more_measures.overlap(ids)),
    )


def is_any_of(column: InstrumentedAttribute[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    return column == any_(cast(list(set(ids)), IdList))
