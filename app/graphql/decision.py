"""The shapes of decisions and the mutation that records one. It contains no rules."""

from datetime import date
from enum import StrEnum
from uuid import UUID

import strawberry

from app.core.errors import NotFound
from app.decision import models, queries
from app.decision.service import NewDecision, decide
from app.graphql.door import Info, guarded_field
from app.graphql.names import NAME, row_id
from app.graphql.node import Node, parse_id, show_id, show_optional_id
from app.graphql.pages import Connection, connection, empty_page, page_keyset
from app.graphql.problems import Problem, run_command
from app.graphql.roster import Student, student_of
from app.graphql.school import Staff, staff_of
from app.graphql.support import Support
from app.roster.queries import find_student, staff_by_id, students_by_id
from app.support.queries import supports_by_id
from app.support.service import SupportChange


@strawberry.enum(description="What a team chose. A referral can be recorded at any time, with nothing before it.")
class DecisionKind(StrEnum):
    """The kinds of `app.decision.rules`."""

    CONTINUE = "continue"
    RAISE_GOAL = "raise_goal"
    INTENSIFY = "intensify"
    CHANGE = "change"
    FADE = "fade"
    EXIT = "exit"
    RESTORE_FIDELITY = "restore_fidelity"
    REFER = "refer"


@strawberry.type(description="A team's decision, with the verdict that the team saw.")
class Decision(Node):
    """A decision."""

    student_row: strawberry.Private[UUID]
    support_row: strawberry.Private[UUID | None]
    kind: DecisionKind
    phase_id: strawberry.ID | None = strawberry.field(description="The phase that the decision began.")
    verdict_id: strawberry.ID | None = strawberry.field(description="The verdict that the team saw.")
    decided_on: date
    decided_by_row: strawberry.Private[UUID | None]
    note: str | None
    playbook_id: strawberry.ID

    @guarded_field("The student whom it is about.", students_by_id)
    async def student(self, info: Info) -> Student | None:
        return await student_of(info.context, self.student_row)

    @guarded_field("The support that it is about; a referral may have none.", supports_by_id)
    async def support(self, info: Info) -> Support | None:
        if self.support_row is None:
            return None
        row = await info.context.load(supports_by_id, self.support_row)
        return None if row is None else Support.of(row)

    @guarded_field("The person who decided, if known.", staff_by_id)
    async def decided_by(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.decided_by_row)

    @classmethod
    def of(cls, row: models.Decision) -> "Decision":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("decision", row.id),
            student_row=row.student_id,
            support_row=row.support_id,
            kind=DecisionKind(row.kind),
            phase_id=show_optional_id("phase", row.phase_id),
            verdict_id=show_optional_id("verdict", row.verdict_id),
            decided_on=row.decided_on,
            decided_by_row=row.decided_by,
            note=row.note,
            playbook_id=show_id("playbook", row.playbook_version_id),
        )


@strawberry.input(description="What changes from a day on; fields that are not named stay as they were.")
class ChangeInput:
    """The change that a decision makes to a support; becomes a `Change`."""

    because: str
    begins_on: date | None = None
    level: int | None = strawberry.field(default=None, description="A level's rank.")
    goal: float | None = None
    goal_on: date | None = None
    baseline: float | None = None
    minutes_per_session: int | None = None
    sessions_per_week: int | None = None


@strawberry.input(description="A decision to be recorded.")
class DecideInput:
    """The input of `decide`; becomes a `NewDecision`."""

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


@strawberry.type(description="The decision, or the problems.")
class DecidePayload:
    """The payload of `decide`."""

    decision: Decision | None
    problems: list[Problem]


@strawberry.type
class DecisionQueries:
    """The queries of decisions."""

    @guarded_field("One decision.", queries.decision)
    async def decision(self, info: Info, id: strawberry.ID) -> Decision | None:
        decision_id = parse_id("decision", id)
        row = None if decision_id is None else await info.context.read_or_none(queries.decision, decision_id)
        return None if row is None else Decision.of(row)

    @guarded_field("Decisions in the order in which they were recorded.", queries.decisions)
    async def decisions(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        student_id: strawberry.ID | None = None,
        support_id: strawberry.ID | None = None,
    ) -> Connection[Decision] | None:
        context = info.context
        try:
            student = await row_id(context, "student", student_id, find_student)
        except NotFound:
            return empty_page()
        support = None if support_id is None else parse_id("support", support_id)
        if support_id is not None and support is None:
            return empty_page()
        at = page_keyset(context, "decisions", {"student": student, "support": support}, after, first)
        return connection(at, await context.read(queries.decisions, at, student, support), Decision.of)


@strawberry.type
class DecisionMutations:
    """The mutations of decisions."""

    @guarded_field(
        "Records a team's decision and carries it out: a change begins a new phase, an exit ends the support.",
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
        )
        row, problems = await run_command(info.context, decide, new)
        return DecidePayload(decision=None if row is None else Decision.of(row), problems=problems)
