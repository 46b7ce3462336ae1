"""Compares a student's growth in a support with what is typical for the grade and the starting score."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import any_, cast, func, or_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.evidence.screening.models import ScreeningWindow
from app.evidence.screening.rules import WindowState, school_year_of
from app.playbook.benchmarks.growth import season_of, typical_growth
from app.playbook.benchmarks.rules import Season
from app.playbook.models import Benchmark, Measure
from app.response.models import VerdictRow
from app.response.queries import verdicts_on_measures
from app.roster.lookup import IdList
from app.roster.models import Person
from app.support import queries
from app.support.changes.rates import RateCheck
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

    All rates are in the measure's units a week of instruction, and negative if scores become lower.

    * `begins_on` and `baseline` are the day and the score at which the aimline begins.
    * `rate`, `rate_low`, `rate_high` and `last_on` are those of the verdict in force on the measure in this phase. They
      are None if there is none.
    * `grade`, `season`, `percentile`, `typical_rate`, `benchmark_ids` and `citation` are those of the norms; see
      `TypicalGrowth`. They are None or empty if no norm states the growth.
    * `required_rate`, `realistic_rate` and `rate_check` are those of the day on which the goal was set.
    """

    measure_id: UUID
    measure_name: str
    begins_on: date
    baseline: float
    rate: float | None
    rate_low: float | None
    rate_high: float | None
    last_on: date | None
    grade: str | None
    season: Season | None
    percentile: float | None
    typical_rate: float | None
    growth_check: GrowthCheck
    benchmark_ids: tuple[UUID, ...]
    citation: str | None
    goal: float
    goal_on: date
    required_rate: float | None
    realistic_rate: float | None
    rate_check: RateCheck | None

    def without_ids(self) -> dict[str, Any]:
        """Returns the values that both APIs show under the same names: all except the ids."""
        names = (field.name for field in fields(self))
        return {name: getattr(self, name) for name in names if name not in ("measure_id", "benchmark_ids")}


@dataclass(frozen=True, slots=True)
class SupportGrowth:
    """The growth by each measure of a support in its last phase, which began on `begins_on`.

    `intervention` is what the support does. `student_name` is None if the caller may not read the roster. `measures` is
    empty for a support without a measure.
    """

    support_id: UUID
    student_id: UUID
    student_name: str | None
    intervention: str
    begins_on: date
    measures: list[MeasureGrowth]


@needs(Can.READ_SUPPORTS, Can.READ_VERDICTS, Can.READ_PLAYBOOK)
async def support_growth(work: Work, support_id: UUID) -> SupportGrowth:
    """Returns how a student grows in a support, compared with the norms of the grade and of the starting score.

    The starting score is the baseline of the last phase. The grade is the student's present one. Raises `NotFound`.
    """
    support = await queries.support(work, support_id)
    phase = (await queries.phases_of(work, [support_id]))[support_id][-1]
    student = (
        await work.db.execute(
            select(Person.grades, Person.given_name + " " + Person.family_name).where(
                Person.district_id == work.district_id, Person.id == support.student_id
            )
        )
    ).one_or_none()
    grades, name = student or ((), None)
    if not work.principal.may(Can.READ_ROSTER):
        name = None
    elif name is not None:
        work.disclose("student", [support.student_id])
    measure_ids = support.measure_ids
    if not measure_ids:
        return SupportGrowth(support_id, support.student_id, name, support.intervention, phase.begins_on, [])
    goals: dict[UUID, Phase | PhaseGoal] = {support.measure_id: phase}
    if support.more_measures:
        further = await queries.further_goals(work, phase.id)
        goals |= {measure_id: further[measure_id] for measure_id in support.more_measures if measure_id in further}
    verdicts = await verdicts_on_measures(work, support_id)
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
    opens_on = await _first_days_of_windows(work, support.school_ids, goals.values())
    rows = []
    for measure_id, goal in goals.items():
        verdict = verdicts.get(measure_id)
        of_phase = verdict if verdict is not None and verdict.phase_id == phase.id else None
        year = school_year_of(goal.begins_on)
        season = season_of(goal.begins_on, year, opens_on.get(year, {}))
        rows.append(_growth_of(measures_by_id[measure_id], goal, of_phase, norms, grades or (), season))
    return SupportGrowth(support_id, support.student_id, name, support.intervention, phase.begins_on, rows)


async def _first_days_of_windows(
    work: Work, school_ids: Sequence[UUID], goals: Iterable[Phase | PhaseGoal]
) -> dict[int, dict[Season, date]]:
    """Returns the first day of the first screening window of each season, by the school years in which goals begin.

    Only windows of these schools or of all schools count.
    """
    query = (
        select(ScreeningWindow.school_year, ScreeningWindow.season, func.min(ScreeningWindow.opens_on))
        .where(
            ScreeningWindow.district_id == work.district_id,
            ScreeningWindow.state != WindowState.CANCELLED,
            ScreeningWindow.school_year.in_({school_year_of(goal.begins_on) for goal in goals}),
            or_(ScreeningWindow.school_id.is_(None), ScreeningWindow.school_id == any_(cast(school_ids, IdList))),
        )
        .group_by(ScreeningWindow.school_year, ScreeningWindow.season)
    )
    opens_on: dict[int, dict[Season, date]] = {}
    for year, season, day in await work.db.execute(query):
        opens_on.setdefault(year, {})[Season(season)] = day
    return opens_on


def _growth_of(
    measure: Measure,
    goal: Phase | PhaseGoal,
    verdict: VerdictRow | None,
    norms: Sequence[Benchmark],
    grades: Sequence[str],
    season: Season,
) -> MeasureGrowth:
    typical = None
    if measure.kind == "growth":
        of_measure = [norm for norm in norms if norm.measure_id == measure.id]
        typical = typical_growth(of_measure, grades, measure.direction, goal.baseline, season)
    sign = -1.0 if measure.direction == "down" else 1.0
    typical_rate = None if typical is None else sign * typical.rate
    return MeasureGrowth(
        measure_id=measure.id,
        measure_name=measure.name,
        begins_on=goal.begins_on,
        baseline=goal.baseline,
        rate=None if verdict is None else verdict.rate,
        rate_low=None if verdict is None else verdict.rate_low,
        rate_high=None if verdict is None else verdict.rate_high,
        last_on=None if verdict is None else verdict.last_on,
        grade=None if typical is None else typical.grade,
        season=None if typical is None else typical.season,
        percentile=None if typical is None else typical.percentile,
        typical_rate=typical_rate,
        growth_check=check_growth(verdict, typical_rate, sign),
        benchmark_ids=() if typical is None else typical.benchmark_ids,
        citation=None if typical is None else typical.citation,
        goal=goal.goal,
        goal_on=goal.goal_on,
        required_rate=goal.required_rate,
        realistic_rate=goal.realistic_rate,
        rate_check=None if goal.rate_check is None else RateCheck(goal.rate_check),
    )


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
