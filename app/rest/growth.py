"""Serves in REST how a student grows in a support, compared with the norms of the grade and of the starting score."""

from datetime import date
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from app.core import ids
from app.insight.growth import MeasureGrowth, support_growth
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Shape
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["supports"], route_class=Route)


class MeasureGrowthShape(Shape):
    """The growth by one measure in the last phase of a support, what is typical for it, and what the goal requires.

    All rates are in the measure's units a week of instruction, and negative where scores become lower.
    """

    measure: str = Field(description="The id of the measure.")
    measure_name: str = Field(description="The name of the measure.")
    begins_on: date = Field(description="The first day of its aimline.")
    baseline: float = Field(description="The starting score: where the aimline begins.")
    rate: float | None = Field(description="The student's present growth, of the verdict in force; null until known.")
    rate_low: float | None = Field(
        description="With `rate_high`: the middle 80 % of the plausible values of the growth."
    )
    rate_high: float | None = Field(description="See `rate_low`.")
    last_on: date | None = Field(description="The day of the last score on which `rate` rests.")
    grade: str | None = Field(description="The student's grade whose norms are used; null where there are none.")
    season: Literal["fall", "winter", "spring"] | None = Field(
        description="The season whose norms give the percentile of the starting score."
    )
    percentile: float | None = Field(
        description="The percentile of the starting score in the grade and season, within those of the norms; null "
        "where the norms have none, so that `typical_rate` is that of the grade."
    )
    typical_rate: float | None = Field(
        description="The growth that is typical for the grade and this percentile, or else for the grade."
    )
    growth_check: Literal["above", "within", "below", "not_measured", "no_norm"] = Field(
        description="How the growth compares with the typical one: `above` or `below` where all plausible values are, "
        "`within` where the typical one is among them, as it often is with few scores, `not_measured` until the growth "
        "is known, `no_norm` without norms."
    )
    benchmarks: list[str] = Field(description="The ids of the norms of `percentile` and `typical_rate`.")
    citation: str | None = Field(description="Where these norms come from.")
    goal: float = Field(description="The goal.")
    goal_on: date = Field(description="The day on which the aimline reaches the goal.")
    required_rate: float | None = Field(description="The growth that the goal required when it was set.")
    realistic_rate: float | None = Field(
        description="The most growth that the norms called realistic for the grade, whatever the start."
    )
    rate_check: str | None = Field(
        description="Whether the goal was `realistic`, `confirmed` above the norms, or not compared (`no_norm`)."
    )


class SupportGrowthShape(Shape):
    """How a student grows in a support, by each of its measures."""

    support: str = Field(description="The id of the support.")
    student: str = Field(description="The id of the student.")
    student_name: str | None = Field(description="The student's name; null for callers who may not read the roster.")
    intervention: str = Field(description="What the support does.")
    begins_on: date = Field(description="The first day of the support's last phase.")
    measures: list[MeasureGrowthShape] = Field(
        description="The measures that follow the support, its first one first; none for a support without a measure."
    )


@router.get("/supports/{support}/growth", operation_id="get_support_growth", **requires(support_growth))
async def get_support_growth(work: OpenWork, support: str) -> SupportGrowthShape:
    """Returns whether growth is normal for the grade and the starting score, and whether the goal is realistic.

    The growth is that of the student in the last phase of the support.
    """
    shown = await support_growth(work, row_id("support", support))
    return SupportGrowthShape.model_construct(
        support=ids.format_id("support", shown.support_id),
        student=ids.format_id("student", shown.student_id),
        student_name=shown.student_name,
        intervention=shown.intervention,
        begins_on=shown.begins_on,
        measures=[_measure(one) for one in shown.measures],
    )


def _measure(one: MeasureGrowth) -> MeasureGrowthShape:
    return MeasureGrowthShape.model_construct(
        measure=ids.format_id("measure", one.measure_id),
        benchmarks=[ids.format_id("benchmark", benchmark_id) for benchmark_id in one.benchmark_ids],
        **one.without_ids(),
    )
