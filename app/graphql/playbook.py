"""Owns the shapes of the playbook: areas, levels, measures, the rules that judge. Holds no rule.

Over 250 lines, since reading, previewing and publishing share their shapes.
"""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import strawberry

from app.core import ids
from app.core.errors import NotFound
from app.graphql.door import Info, OperationContext, asks
from app.graphql.names import NAME
from app.graphql.node import Node, maybe_shown, shown
from app.graphql.problems import Problem, run_command
from app.playbook import models, queries
from app.response.administration.playbook import (
    NewRule,
    RuleInForce,
    StateChange,
    preview_rules,
    publish_rules,
    rules_in_force,
    shown_school,
)

Named = TypeVar("Named", models.Area, models.Measure)


@strawberry.type(description="An area of concern, in the district's own tree.")
class Area(Node):
    """An area."""

    code: str
    name: str
    secured: bool = strawberry.field(description="Opens only to a scope of its own, `area:<code>`.")
    parent_id: strawberry.ID | None

    @classmethod
    def of(cls, row: models.Area) -> "Area":
        """The shape of a row."""
        return cls(
            id=shown("area", row.id),
            code=row.code,
            name=row.name,
            secured=row.secured,
            parent_id=maybe_shown("area", row.parent_id),
        )


@strawberry.type(description="A level of support: of the support, not of the child. Rank 1 is core.")
class Level(Node):
    """A level."""

    rank: int
    name: str

    @classmethod
    def of(cls, row: models.Level) -> "Level":
        """The shape of a row."""
        return cls(id=shown("level", row.id), rank=row.rank, name=row.name)


@strawberry.type(description="An instrument.")
class Measure(Node):
    """A measure."""

    area_row: strawberry.Private[UUID]
    code: str
    name: str
    unit: str
    direction: str = strawberry.field(description="`up` or `down`: which is better.")
    sem: float | None = strawberry.field(description="Standard error of measurement, in the unit.")
    lowest: float
    highest: float
    kind: str = strawberry.field(description="`growth`, or `count`, `percentage`, `criterion`.")
    forms: list[str] | None = strawberry.field(description="Its passages or versions; none where any name is taken.")

    @asks("The area that it measures.", queries.areas)
    async def area(self, info: Info) -> Area | None:
        return await area_of(info.context, self.area_row)

    @classmethod
    def of(cls, row: models.Measure) -> "Measure":
        """The shape of a row."""
        return cls(
            id=shown("measure", row.id),
            area_row=row.area_id,
            code=row.code,
            name=row.name,
            unit=row.unit,
            direction=row.direction,
            sem=row.sem,
            lowest=row.lowest,
            highest=row.highest,
            kind=row.kind,
            forms=row.forms,
        )


@strawberry.type(description="A parameter of a rule.")
class RuleParameter:
    """A named whole number."""

    name: str
    value: int


@strawberry.type(description="A rule in force.")
class StandingRule:
    """A rule, for what, and what it is known to do."""

    rule: str
    parameters: list[RuleParameter]
    measure_code: str | None
    area_code: str | None
    school_id: strawberry.ID | None
    stated_far: float | None = strawberry.field(description="Of responders ever flagged, in a simulated year.")
    holds_badly: str | None = strawberry.field(description="Where that rate is known not to hold.")

    @classmethod
    def of(cls, one: RuleInForce) -> "StandingRule":
        """The shape of a rule."""
        school = shown_school(one.entry)
        return cls(
            rule=one.entry.rule,
            parameters=[RuleParameter(name=name, value=value) for name, value in one.entry.parameters.items()],
            measure_code=one.entry.measure,
            area_code=one.entry.area,
            school_id=None if school is None else strawberry.ID(school),
            stated_far=one.stated_far,
            holds_badly=one.holds_badly,
        )


@strawberry.type(description="The published version. It is never changed: a change publishes the next.")
class Playbook:
    """A version with its rules."""

    id: strawberry.ID
    number: int
    published_at: datetime
    rules: list[StandingRule]

    @classmethod
    def of(cls, version: models.PlaybookVersion, rules: list[RuleInForce]) -> "Playbook":
        """The shape of a version."""
        return cls(
            id=shown("playbook", version.id),
            number=version.number,
            published_at=version.published_at,
            rules=[StandingRule.of(one) for one in rules],
        )


@strawberry.input(description="A parameter of a rule.")
class ParameterInput:
    """A named whole number."""

    parameter: str
    number: int


@strawberry.input(description="A rule for a measure, for an area with those below it, or, with neither, for the rest.")
class RuleInput:
    """As `NewRule`."""

    rule: str
    parameters: list[ParameterInput] = strawberry.field(default_factory=list)
    measure: str | None = strawberry.field(default=None, description="A code or an id.")
    area: str | None = strawberry.field(default=None, description="A code or an id.")
    school: strawberry.ID | None = strawberry.field(default=None, description=f"{NAME}; none for the whole district.")


@strawberry.input(description="All rules of a version that might be published.")
class PreviewPlaybookInput:
    """Rules."""

    rules: list[RuleInput]


@strawberry.input(description="All rules of the next version; without one for the rest, the one in force stays.")
class PublishPlaybookInput:
    """Rules, and whether what they find raises alerts."""

    rules: list[RuleInput]
    alert: bool = False


@strawberry.type(description="How many supports are in a state, by the rules in force and by the new ones.")
class StateCount:
    """A state's counts."""

    state: str
    before: int
    after: int


@strawberry.type(description="A support whose state the new rules would change.")
class Turned:
    """A support before and after."""

    support_id: strawberry.ID
    student_id: strawberry.ID
    before: str
    after: str

    @classmethod
    def of(cls, turn: StateChange) -> "Turned":
        """The shape of a turn."""
        ids_ = shown("support", turn.support_id), shown("student", turn.student_id)
        return cls(support_id=ids_[0], student_id=ids_[1], before=turn.before, after=turn.after)


@strawberry.type(description="What the new rules would say today of the active supports within reach, or the problems.")
class PreviewPlaybookPayload:
    """A payload."""

    judged: int
    states: list[StateCount]
    flagged: list[Turned] = strawberry.field(description="Would newly be said not to respond; 1000 at most.")
    cleared: list[Turned] = strawberry.field(description="Would no longer be; 1000 at most.")
    problems: list[Problem]


@strawberry.type(description="The version that is now in force, or the problems.")
class PublishPlaybookPayload:
    """A payload."""

    playbook: Playbook | None
    problems: list[Problem]


@strawberry.type
class PlaybookMutations:
    """The playbook's part of the mutation root."""

    @asks("Who would be flagged by these rules, and who no longer; nothing is saved.", preview_rules)
    async def preview_playbook(self, info: Info, input: PreviewPlaybookInput) -> PreviewPlaybookPayload | None:
        found, problems = await run_command(info.context, preview_rules, _rules(input.rules))
        if found is None:
            return PreviewPlaybookPayload(judged=0, states=[], flagged=[], cleared=[], problems=problems)
        states = [StateCount(state=one, before=count, after=found.after[one]) for one, count in found.before.items()]
        return PreviewPlaybookPayload(
            judged=found.judged,
            states=states,
            flagged=[Turned.of(turn) for turn in found.flagged],
            cleared=[Turned.of(turn) for turn in found.cleared],
            problems=[],
        )

    @asks(
        "Publishes the next version; every series is judged by it shortly, without alerts unless asked.", publish_rules
    )
    async def publish_playbook(self, info: Info, input: PublishPlaybookInput) -> PublishPlaybookPayload | None:
        version, problems = await run_command(info.context, publish_rules, _rules(input.rules), alert=input.alert)
        if version is None:
            return PublishPlaybookPayload(playbook=None, problems=problems)
        return PublishPlaybookPayload(playbook=Playbook.of(*await info.context.read(rules_in_force)), problems=[])


def _rules(given: list[RuleInput]) -> list[NewRule]:
    return [
        NewRule(one.rule, {each.parameter: each.number for each in one.parameters}, one.measure, one.area, one.school)
        for one in given
    ]


@strawberry.type
class PlaybookQueries:
    """The playbook's part of the query root."""

    @asks("The rules in force.", rules_in_force)
    async def playbook(self, info: Info) -> Playbook | None:
        return Playbook.of(*await info.context.read(rules_in_force))

    @asks("All areas, by code.", queries.areas)
    async def areas(self, info: Info) -> list[Area] | None:
        return [Area.of(row) for row in await info.context.once(queries.areas)]

    @asks("All levels, by rank.", queries.levels)
    async def levels(self, info: Info) -> list[Level] | None:
        return [Level.of(row) for row in await info.context.once(queries.levels)]

    @asks("All measures, by code.", queries.measures)
    async def measures(self, info: Info) -> list[Measure] | None:
        return [Measure.of(row) for row in await info.context.once(queries.measures)]


async def area_of(asked: OperationContext, area_id: UUID) -> Area | None:
    """The area of this id."""
    return next((Area.of(row) for row in await asked.once(queries.areas) if row.id == area_id), None)


async def level_of(asked: OperationContext, level_id: UUID) -> Level | None:
    """The level of this id."""
    return next((Level.of(row) for row in await asked.once(queries.levels) if row.id == level_id), None)


async def measure_of(asked: OperationContext, measure_id: UUID) -> Measure | None:
    """The measure of this id."""
    return next((Measure.of(row) for row in await asked.once(queries.measures) if row.id == measure_id), None)


async def area_id_of(asked: OperationContext, name: str | None) -> UUID | None:
    """The id of the area of this code or id; raises `NotFound`."""
    return None if name is None else _named("area", await asked.once(queries.areas), name)


async def measure_id_of(asked: OperationContext, name: str | None) -> UUID | None:
    """The id of the measure of this code or id; raises `NotFound`."""
    return None if name is None else _named("measure", await asked.once(queries.measures), name)


async def level_id_of(asked: OperationContext, rank: int | None) -> UUID | None:
    """The id of the level of this rank; raises `NotFound`."""
    if rank is None:
        return None
    for row in await asked.once(queries.levels):
        if row.rank == rank:
            return row.id
    raise NotFound("level")


def _named(kind: str, rows: list[Named], name: str) -> UUID:
    for row in rows:
        if name in (row.code, ids.show(kind, row.id)):
            return row.id
    raise NotFound(kind)
