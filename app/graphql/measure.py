"""Owns the mutations that make and amend measures. Holds no rule. The shape of a measure is in `playbook`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import strawberry

from app.graphql.door import Info, asks
from app.graphql.playbook import Measure
from app.graphql.problems import Problem, run_command
from app.playbook import models
from app.playbook.measures import NewMeasure, make_measure
from app.response.administration.measures import amend_measure

FORMS = "Its passages or versions; null where any name is taken."
KIND = "`growth`, or `count`, `percentage`, `criterion`: these have rules of their own."
SEM = "Standard error of measurement, in the unit; null where it is not known."


@strawberry.input(description="A measure to be made.")
class MakeMeasureInput:
    """As `NewMeasure`."""

    code: str = strawberry.field(description="By which scores and rules name it; it never changes.")
    name: str
    area: str = strawberry.field(description="A code or an id.")
    unit: str
    direction: str = strawberry.field(description="`up` or `down`: which is better.")
    lowest: float
    highest: float
    sem: float | None = strawberry.field(default=None, description=SEM)
    kind: str = strawberry.field(default="growth", description=KIND)
    forms: list[str] | None = strawberry.field(default=None, description=FORMS)


@strawberry.input(
    description="What is changed of a measure; the rest stays. Direction, kind and area stand once it is in use."
)
class AmendMeasureInput:
    """Changes of the measure of this code or id."""

    measure: str = strawberry.field(description="A code or an id.")
    name: strawberry.Maybe[str]
    area: strawberry.Maybe[str] = strawberry.field(description="A code or an id.")
    unit: strawberry.Maybe[str]
    direction: strawberry.Maybe[str]
    lowest: strawberry.Maybe[float]
    highest: strawberry.Maybe[float]
    sem: strawberry.Maybe[float | None] = strawberry.field(description=SEM)
    kind: strawberry.Maybe[str] = strawberry.field(description=KIND)
    forms: strawberry.Maybe[list[str] | None] = strawberry.field(description=FORMS)


@strawberry.type(description="The measure as it is now, or the problems.")
class MeasurePayload:
    """A payload."""

    measure: Measure | None
    problems: list[Problem]

    @classmethod
    def of(cls, row: models.Measure | None, problems: list[Problem]) -> "MeasurePayload":
        """The shape of what came of it."""
        return cls(measure=None if row is None else Measure.of(row), problems=problems)


@strawberry.type
class MeasureMutations:
    """The measures' part of the mutation root."""

    @asks("Makes a measure.", make_measure)
    async def make_measure(self, info: Info, input: MakeMeasureInput) -> MeasurePayload | None:
        return MeasurePayload.of(*await run_command(info.context, make_measure, NewMeasure(**asdict(input))))

    @asks(
        "Amends a measure; with another SEM its series are judged again shortly, without alerts.",
        amend_measure,
    )
    async def amend_measure(self, info: Info, input: AmendMeasureInput) -> MeasurePayload | None:
        return MeasurePayload.of(*await run_command(info.context, amend_measure, input.measure, _changes(vars(input))))


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was named; a null that was named is kept apart from what was not."""
    return {name: some.value for name, some in given.items() if name != "measure" and some is not None}
