"""Defines the mutations that create and amend measures."""

import strawberry

from app.core.inputs import input_fields
from app.graphql.door import Info, guarded_field
from app.graphql.inputs import convert, input_from
from app.graphql.problems import Problem, find_problems, run_command
from app.graphql.written import row_of
from app.playbook import models
from app.playbook.measures.service import NewMeasure, make_measure
from app.playbook.resource import MeasureResource
from app.response.administration.measures import amend_measure

FORMS = "The measure's passages or versions; null where any name is accepted."
KIND = "`growth`, or `count`, `percentage` or `criterion`, each of which is judged by rules of its own."
SEMS = "Its standard errors of measurement for some grades or ranges of score; `sem` applies elsewhere."
SEM = "Standard error of measurement, in the measure's unit; null where it is not known."


@strawberry.input(description="The SEM of a measure for students of a grade whose baseline is in a range of score.")
class SemRangeInput:
    """The input for one standard error of measurement (SEM), which is converted to a `NewSemRange`.

    A measure has several of them if its SEM depends on the grade or on the baseline.
    """

    sem: float = strawberry.field(description="The standard error of measurement, in the measure's unit.")
    grade: str | None = strawberry.field(default=None, description="The grade; null for every grade.")
    from_score: float | None = strawberry.field(
        default=None, description="The lowest baseline of the range; null for no limit."
    )
    to_score: float | None = strawberry.field(
        default=None, description="The baseline at which the range ends, not included; null for no limit."
    )


@strawberry.input(description="A measure to be created.")
class MakeMeasureInput:
    """The input of `makeMeasure`, which is converted to a `NewMeasure`."""

    code: str = strawberry.field(description="The code by which scores and rules name it; it never changes.")
    name: str
    area: str = strawberry.field(description="A code or an id.")
    unit: str
    direction: str = strawberry.field(description="`up` or `down`: the direction in which scores improve.")
    lowest: float
    highest: float
    sem: float | None = strawberry.field(default=None, description=SEM)
    sems: list[SemRangeInput] = strawberry.field(default_factory=list, description=SEMS)
    kind: str = strawberry.field(default="growth", description=KIND)
    forms: list[str] | None = strawberry.field(default=None, description=FORMS)


@strawberry.input(
    description=(
        "Changes of a measure; fields that are not named stay. Direction, kind and area are fixed once it is in use."
    )
)
class AmendMeasureInput:
    """The input of `amendMeasure`: a measure's code or id, and its changes."""

    measure: str = strawberry.field(description="A code or an id.")
    name: strawberry.Maybe[str]
    area: strawberry.Maybe[str] = strawberry.field(description="A code or an id.")
    unit: strawberry.Maybe[str]
    direction: strawberry.Maybe[str]
    lowest: strawberry.Maybe[float]
    highest: strawberry.Maybe[float]
    sem: strawberry.Maybe[float | None] = strawberry.field(description=SEM)
    sems: strawberry.Maybe[list[SemRangeInput]] = strawberry.field(description=SEMS)
    kind: strawberry.Maybe[str] = strawberry.field(description=KIND)
    forms: strawberry.Maybe[list[str] | None] = strawberry.field(description=FORMS)


@strawberry.type(description="The measure after the change, or the problems.")
class MeasurePayload:
    """The payload of the mutations that create and amend measures."""

    measure: models.Measure | None = row_of(MeasureResource)
    problems: list[Problem]


@strawberry.type
class MeasureMutations:
    """The mutations that create and amend measures."""

    @guarded_field("Creates a measure.", make_measure)
    async def make_measure(self, info: Info, input: MakeMeasureInput) -> MeasurePayload | None:
        fields = input_fields(NewMeasure)
        converted = convert(fields, input)
        new = input_from(NewMeasure, converted.values, fields)
        if converted.violations:
            problems = await find_problems(info.context, converted.violations, make_measure, new)
            return MeasurePayload(measure=None, problems=problems)
        row, problems = await run_command(info.context, make_measure, new)
        return MeasurePayload(measure=row, problems=problems)

    @guarded_field(
        "Amends a measure; with another SEM its series are judged again shortly, without alerts.",
        amend_measure,
    )
    async def amend_measure(self, info: Info, input: AmendMeasureInput) -> MeasurePayload | None:
        fields = {name: each for name, each in input_fields(NewMeasure).items() if name != "code"}
        converted = convert(fields, input, changes=True)
        if converted.violations:
            problems = await find_problems(
                info.context, converted.violations, amend_measure, input.measure, converted.values
            )
            return MeasurePayload(measure=None, problems=problems)
        row, problems = await run_command(info.context, amend_measure, input.measure, converted.values)
        return MeasurePayload(measure=row, problems=problems)
