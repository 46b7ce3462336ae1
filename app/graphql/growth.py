"""Defines the query for how a student grows in a support, compared with the norms of grade and starting score."""

import datetime

import strawberry

from app.core import ids
from app.core.errors import NotFound
from app.graphql.door import Info, guarded_field
from app.graphql.node import parse_id
from app.graphql.types import enum_of
from app.insight.growth import GrowthCheck, MeasureGrowth, support_growth
from app.playbook.benchmarks.rules import Season
from app.support.changes.rates import RateCheck

for _choices in (RateCheck, Season):
    enum_of(_choices)
strawberry.enum(
    GrowthCheck,
    description="How the growth of a student compares with what is typical for the grade and the starting score: "
    "`ABOVE` or `BELOW` where all plausible values are, `WITHIN` where the typical growth is among them, as it often "
    "is with few scores, `NOT_MEASURED` until the growth is known, `NO_NORM` without norms.",
)


@strawberry.type(
    name="MeasureGrowth",
    description="The growth by one measure in the last phase of a support, what is typical for it, and what the goal "
    "requires. All rates are in the measure's units a week of instruction, and negative where scores become lower.",
)
class ShownMeasureGrowth:
    """The growth by one measure of a support, and what is typical for the grade and the starting score."""

    measure_id: strawberry.ID
    measure_name: str
    begins_on: datetime.date = strawberry.field(description="The first day of its aimline.")
    baseline: float = strawberry.field(description="The starting score: where the aimline begins.")
    rate: float | None = strawberry.field(
        description="The student's present growth, of the verdict in force; null until known."
    )
    rate_low: float | None = strawberry.field(
        description="With `rateHigh`: the middle 80 % of the plausible values of the growth."
    )
    rate_high: float | None
    last_on: datetime.date | None = strawberry.field(description="The day of the last score on which `rate` rests.")
    grade: str | None = strawberry.field(
        description="The student's grade whose norms are used; null where there are none."
    )
    season: Season | None = strawberry.field(
        description="The season whose norms give the percentile of the starting score."
    )
    percentile: float | None = strawberry.field(
        description="The percentile of the starting score in the grade and season, within those of the norms; null "
        "where the norms have none, so that `typicalRate` is that of the grade."
    )
    typical_rate: float | None = strawberry.field(
        description="The growth that is typical for the grade and this percentile, or else for the grade."
    )
    growth_check: GrowthCheck
    benchmark_ids: list[strawberry.ID] = strawberry.field(
        description="The ids of the norms of `percentile` and `typicalRate`."
    )
    citation: str | None = strawberry.field(description="Where these norms come from.")
    goal: float
    goal_on: datetime.date
    required_rate: float | None = strawberry.field(description="The growth that the goal required when it was set.")
    realistic_rate: float | None = strawberry.field(
        description="The most growth that the norms called realistic for the grade, whatever the start."
    )
    rate_check: RateCheck | None

    @classmethod
    def of(cls, one: MeasureGrowth) -> "ShownMeasureGrowth":
        """Returns the GraphQL object for the growth by one measure, with public ids."""
        return cls(
            measure_id=strawberry.ID(ids.format_id("measure", one.measure_id)),
            benchmark_ids=[strawberry.ID(ids.format_id("benchmark", each)) for each in one.benchmark_ids],
            **one.without_ids(),
        )


@strawberry.type(name="SupportGrowth", description="How a student grows in a support, by each of its measures.")
class ShownSupportGrowth:
    """The growth of a student in a support."""

    support_id: strawberry.ID
    student_id: strawberry.ID
    student_name: str | None = strawberry.field(description="Null for callers who may not read the roster.")
    intervention: str = strawberry.field(description="What the support does.")
    begins_on: datetime.date = strawberry.field(description="The first day of the support's last phase.")
    measures: list[ShownMeasureGrowth]


@strawberry.type
class GrowthQueries:
    """The query for the growth of a student in a support."""

    @guarded_field(
        "Whether the growth of a student in a support is normal for the grade and the starting score, and whether the "
        "goal is realistic.",
        support_growth,
    )
    async def support_growth(self, info: Info, support_id: strawberry.ID) -> ShownSupportGrowth | None:
        row_id = parse_id("support", support_id)
        if row_id is None:
            raise NotFound("support")
        shown = await info.context.read(support_growth, row_id)
        return ShownSupportGrowth(
            support_id=strawberry.ID(ids.format_id("support", shown.support_id)),
            student_id=strawberry.ID(ids.format_id("student", shown.student_id)),
            student_name=shown.student_name,
            intervention=shown.intervention,
            begins_on=shown.begins_on,
            measures=[ShownMeasureGrowth.of(one) for one in shown.measures],
        )
