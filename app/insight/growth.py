"""Compares a student's growth in a support with what is typical for the grade and the starting score."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.playbook.benchmarks.growth import TypicalGrowth, typical_growth
from app.playbook.models import Benchmark, Measure
from app.response.models import VerdictRow
from app.response.queries import verdicts_on_measures
from app.roster.lookup import IdList
from app.roster.models import Person
from app.support import queries
from app.support.models import Phase, PhaseGoal


class GrowthCheck(StrEnum):
    """How the growth of a student compares with what is typical for the grade and the starting score.

    * `above`, `below`: all plausible values of the growth (`rate_low` to `rate_high`) are above or below the typical
      growth.
    * `within`: the typical growth is among the plausible values. With few scores this is often so, and does not prove
      that the student's growth is typical.
    * `not_measured`: the growth is not known, because there are too few scores or because the decision rule estimates
      no growth.
    * `no_norm`: no norm states what is typical for the measure and the grade.
    """

    ABOVE = "above"
    WITHIN = "within"
    BELOW = "below"
    NOT_MEASURED = "not_measured"
    NO_NORM = "no_norm"


@dataclass(frozen=True, slots=True)
class MeasureGrowth:
    """The growth by one measure of a support in its last phase, what is typical, and what the goal requires.

    All rates are in the measure's units a week of instruction, and negative if scores become lower. `verdict` is the
    verdict in force on the measure in this phase, or None. `typical` is None if no norm states it; `typical_rate` is
    then None too.
    """

    measure: Measure
    goal: Phase | PhaseGoal
    verdict: VerdictRow | None
    typical: TypicalGrowth | None
    typical_rate: float | None
    growth_check: GrowthCheck


@dataclass(frozen=True, slots=True)
class SupportGrowth:
    """The growth by each measure of a support in its last phase, which began on `begins_on`.

    `measures` is empty for a support without a measure.
    """

    support_id: UUID
    student_id: UUID
    begins_on: date
    measures: list[MeasureGrowth]


@needs(Can.READ_SUPPORTS, Can.READ_VERDICTS, Can.READ_PLAYBOOK)
async def support_growth(work: Work, support_id: UUID) -> SupportGrowth:
    """Returns how a student grows in a support, compared with the norms of the grade and of the starting score.

    The starting score is the baseline of the last phase. The grade is the student's present one. Raises `NotFound`.
    """
    support = await queries.support(work, support_id)
    phase = (await queries.phases_of(work, [support_id]))[support_id][-1]
    measure_ids = support.measure_ids
    if not measure_ids:
        return SupportGrowth(support_id, support.student_id, phase.begins_on, [])
    goals: dict[UUID, Phase | PhaseGoal] = {support.measure_id: phase}
    for measure_id in support.more_measures:
        further = (await queries.goals_of_measure(work, [phase.id], measure_id)).get(phase.id)
        if further is not None:
            goals[measure_id] = further
    verdicts = await verdicts_on_measures(work, support_id)
    grades = await work.db.scalar(
        select(Person.grades).where(Person.district_id == work.district_id, Person.id == support.student_id)
    )
    of_measures = any_(cast(measure_ids, IdList))
    measures = await work.db.scalars(
        select(Measure).where(Measure.district_id == work.district_id, Measure.id == of_measures)
    )
    measures_by_id = {measure.id: measure for measure in measures}
    norms = (
        await work.db.scalars(
            select(Benchmark)
            .where(
                Benchmark.district_id == work.district_id,
                Benchmark.until_version.is_(None),
                Benchmark.measure_id == of_measures,
            )
            .order_by(Benchmark.id)
        )
    ).all()
    rows = [
        _growth_of(measures_by_id[measure_id], goal, verdicts.get(measure_id), phase, norms, grades or ())
        for measure_id, goal in goals.items()
    ]
    return SupportGrowth(support_id, support.student_id, phase.begins_on, rows)


def _growth_of(
    measure: Measure,
    goal: Phase | PhaseGoal,
    verdict: VerdictRow | None,
    phase: Phase,
    norms: Sequence[Benchmark],
    grades: Sequence[str],
) -> MeasureGrowth:
    now = verdict if verdict is not None and verdict.phase_id == phase.id else None
    typical = None
    if measure.kind == "growth":
        of_measure = [norm for norm in norms if norm.measure_id == measure.id]
        typical = typical_growth(of_measure, grades, measure.direction, goal.baseline, goal.begins_on)
    sign = -1.0 if measure.direction == "down" else 1.0
    rate = None if typical is None else sign * typical.rate
    return MeasureGrowth(measure, goal, now, typical, rate, check_growth(now, rate, sign))


def check_growth(verdict: VerdictRow | None, typical_rate: float | None, sign: float) -> GrowthCheck:
    """Returns how the growth in a verdict compares with the typical rate. `sign` is -1 if lower scores are better."""
    if typical_rate is None:
        return GrowthCheck.NO_NORM
    if verdict is None or verdict.rate_low is None or verdict.rate_high is None:
        return GrowthCheck.NOT_MEASURED
    low, high = sorted((sign * verdict.rate_low, sign * verdict.rate_high))
    if low > sign * typical_rate:
        return GrowthCheck.ABOVE
    return GrowthCheck.BELOW if high < sign * typical_rate else GrowthCheck.WITHIN
