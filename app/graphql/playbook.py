"""Defines the GraphQL types of the playbook's decision rules, and the mutations that preview and publish them."""

from datetime import datetime

import strawberry

from app.graphql.door import Info, guarded_field
from app.graphql.names import NAME
from app.graphql.node import show_id
from app.graphql.problems import Problem, run_command
from app.playbook import models
from app.response.administration.playbook import (
    NewRule,
    RuleInForce,
    StateChange,
    preview_rules,
    publish_rules,
    published_rules,
    rules_in_force,
    shown_school,
)


@strawberry.type(description="A parameter of a rule.")
class RuleParameter:
    """A named whole number that is a parameter of a rule in force."""

    name: str
    value: int


@strawberry.type(description="A rule in force.")
class StandingRule:
    """A decision rule in force, with the measure, area and school whose scores it judges, and its false-alarm rate."""

    rule: str
    parameters: list[RuleParameter]
    measure_code: str | None
    area_code: str | None
    school_id: strawberry.ID | None
    stated_far: float | None = strawberry.field(description="The share of responders ever flagged in a simulated year.")
    holds_badly: str | None = strawberry.field(description="The conditions in which that rate is known not to hold.")

    @classmethod
    def of(cls, active: RuleInForce) -> "StandingRule":
        """Returns the GraphQL object for a decision rule in force."""
        school = shown_school(active.entry)
        return cls(
            rule=active.entry.rule,
            parameters=[RuleParameter(name=name, value=value) for name, value in active.entry.parameters.items()],
            measure_code=active.entry.measure,
            area_code=active.entry.area,
            school_id=None if school is None else strawberry.ID(school),
            stated_far=active.stated_far,
            holds_badly=active.holds_badly,
        )


@strawberry.type(description="The published version. It never changes: a change publishes the next version.")
class Playbook:
    """A published version of the playbook, with its rules."""

    id: strawberry.ID
    number: int
    published_at: datetime
    rules: list[StandingRule]

    @classmethod
    def of(cls, version: models.PlaybookVersion, rules: list[RuleInForce]) -> "Playbook":
        """Returns the GraphQL object for a version."""
        return cls(
            id=show_id("playbook", version.id),
            number=version.number,
            published_at=version.published_at,
            rules=[StandingRule.of(rule) for rule in rules],
        )


@strawberry.input(description="A parameter of a rule.")
class ParameterInput:
    """A named whole number that is a parameter of a new rule."""

    parameter: str
    number: int


@strawberry.input(
    description="A rule for a measure, for an area and those below it, or, with neither, for everything else."
)
class RuleInput:
    """One rule of a playbook to be previewed or published. It is converted to a `NewRule`."""

    rule: str
    parameters: list[ParameterInput] = strawberry.field(default_factory=list)
    measure: str | None = strawberry.field(default=None, description="A code or an id.")
    area: str | None = strawberry.field(default=None, description="A code or an id.")
    school: strawberry.ID | None = strawberry.field(default=None, description=f"{NAME}; none for the whole district.")


@strawberry.input(description="All rules of a version that might be published.")
class PreviewPlaybookInput:
    """The input of `previewPlaybook`."""

    rules: list[RuleInput]


@strawberry.input(description="All rules of the next version. Without a general rule, the one in force stays.")
class PublishPlaybookInput:
    """The input of `publishPlaybook`: the rules, and whether their results raise alerts."""

    rules: list[RuleInput]
    alert: bool = False


@strawberry.type(description="How many supports are in a state, by the rules in force and by the new ones.")
class StateCount:
    """The number of supports in a state, by the rules in force (`before`) and by the new rules (`after`)."""

    state: str
    before: int
    after: int


@strawberry.type(description="A support whose state the new rules would change.")
class Turned:
    """A support whose state the new rules would change, with its state by the old and by the new rules."""

    support_id: strawberry.ID
    student_id: strawberry.ID
    before: str
    after: str

    @classmethod
    def of(cls, turn: StateChange) -> "Turned":
        """Returns the GraphQL object for a support whose state the new rules would change."""
        ids_ = show_id("support", turn.support_id), show_id("student", turn.student_id)
        return cls(support_id=ids_[0], student_id=ids_[1], before=turn.before, after=turn.after)


@strawberry.type(
    description=(
        "What the new rules would conclude today about the active supports that the caller may see, or the problems."
    )
)
class PreviewPlaybookPayload:
    """The payload of `previewPlaybook`."""

    judged: int
    states: list[StateCount]
    flagged: list[Turned] = strawberry.field(
        description="Supports that would newly be judged not to respond; 1000 at most."
    )
    cleared: list[Turned] = strawberry.field(
        description="Supports that would no longer be judged not to respond; 1000 at most."
    )
    problems: list[Problem]


@strawberry.type(description="The version that is now in force, or the problems.")
class PublishPlaybookPayload:
    """The payload of `publishPlaybook`."""

    playbook: Playbook | None
    problems: list[Problem]


@strawberry.type
class PlaybookMutations:
    """The mutations that preview and publish the playbook's rules."""

    @guarded_field(
        "Shows which supports these rules would newly flag and which they would clear; nothing is saved.", preview_rules
    )
    async def preview_playbook(self, info: Info, input: PreviewPlaybookInput) -> PreviewPlaybookPayload | None:
        preview, problems = await run_command(info.context, preview_rules, _rules(input.rules))
        if preview is None:
            return PreviewPlaybookPayload(judged=0, states=[], flagged=[], cleared=[], problems=problems)
        states = [
            StateCount(state=state, before=count, after=preview.after[state]) for state, count in preview.before.items()
        ]
        return PreviewPlaybookPayload(
            judged=preview.judged,
            states=states,
            flagged=[Turned.of(turn) for turn in preview.flagged],
            cleared=[Turned.of(turn) for turn in preview.cleared],
            problems=[],
        )

    @guarded_field(
        "Publishes the next version; every series is judged by it shortly, without alerts unless `alert` is set.",
        publish_rules,
    )
    async def publish_playbook(self, info: Info, input: PublishPlaybookInput) -> PublishPlaybookPayload | None:
        version, problems = await run_command(info.context, publish_rules, _rules(input.rules), alert=input.alert)
        if version is None:
            return PublishPlaybookPayload(playbook=None, problems=problems)
        return PublishPlaybookPayload(playbook=Playbook.of(*await info.context.read(published_rules)), problems=[])


def _rules(rules: list[RuleInput]) -> list[NewRule]:
    return [
        NewRule(
            rule.rule,
            {parameter.parameter: parameter.number for parameter in rule.parameters},
            rule.measure,
            rule.area,
            rule.school,
        )
        for rule in rules
    ]


@strawberry.type
class PlaybookQueries:
    """The query that returns the playbook."""

    @guarded_field("The rules in force.", rules_in_force)
    async def playbook(self, info: Info) -> Playbook | None:
        return Playbook.of(*await info.context.read(rules_in_force))
