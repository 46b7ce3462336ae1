"""Defines the mutation that records a decision."""

from datetime import date

import strawberry

from app.catalog import CATALOG
from app.decision import models
from app.decision.resource import DecisionResource
from app.decision.rules import DecisionKind
from app.decision.service import NewDecision, decide
from app.graphql.door import Info, guarded_field
from app.graphql.names import NAME
from app.graphql.problems import Problem, run_command
from app.graphql.written import row_of
from app.support.service import SupportChange


@strawberry.input(description="What changes from a day on; fields that are not named stay as they were.")
class ChangeInput:
    """The change that a decision makes to a support, which is converted to a `Change`."""

    because: str
    begins_on: date | None = None
    level: int | None = strawberry.field(default=None, description="A level's rank.")
    goal: float | None = None
    goal_on: date | None = None
    baseline: float | None = None
    minutes_per_session: int | None = None
    sessions_per_week: int | None = None
    intervention: str | None = strawberry.field(
        default=None, description="Another intervention, such as a stronger programme at the same level."
    )
    group_size: int | None = strawberry.field(default=None, description="How many students are served together.")
    review_on: date | None = strawberry.field(
        default=None, description="The next day of review, of a support without a measure."
    )
    confirm_rate: bool = strawberry.field(
        default=False,
        description="Whether the goal is meant although it requires more growth than the norms call realistic.",
    )


@strawberry.input(description="A decision to be recorded.")
class DecideInput:
    """The input of `decide`, which is converted to a `NewDecision`."""

    kind: DecisionKind
    support: strawberry.ID | None = strawberry.field(
        default=None, description="The support; only a referral can be without one."
    )
    student: strawberry.ID | None = strawberry.field(
        default=None, description=f"The student, for a referral without a support: {NAME}."
    )
    verdict: strawberry.ID | None = strawberry.field(
        default=None, description="The verdict that the team saw; by default, the verdict in force."
    )
    decided_by: strawberry.ID | None = strawberry.field(default=None, description=f"Who decided: {NAME}.")
    decided_on: date | None = strawberry.field(default=None, description="By default, today.")
    note: str | None = None
    change: ChangeInput | None = None
    review_on: date | None = strawberry.field(
        default=None, description="The next review of a support without a measure that goes on as it is."
    )


@strawberry.type(description="The decision, or the problems.")
class DecidePayload:
    """The payload of `decide`."""

    decision: models.Decision | None = row_of(DecisionResource)
    problems: list[Problem]


@strawberry.type
class DecisionMutations:
    """The mutation that records a team's decision."""

    @guarded_field(
        CATALOG.commands["decide"].description,
        decide,
    )
    async def decide(self, info: Info, input: DecideInput) -> DecidePayload | None:
        new = NewDecision(
            kind=input.kind.value,
            support=input.support,
            student=input.student,
            verdict=input.verdict,
            decided_by=input.decided_by,
            decided_on=input.decided_on,
            note=input.note,
            change=None if input.change is None else SupportChange(**vars(input.change)),
            review_on=input.review_on,
        )
        row, problems = await run_command(info.context, decide, new)
        return DecidePayload(decision=row, problems=problems)
