"""The shapes of supports and phases. It contains no rules."""

from dataclasses import asdict
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from app.concern.queries import concerns_by_id
from app.core.errors import NotFound
from app.decision.queries import decisions_of
from app.evidence.queries import scores_of
from app.graphql.concern import Concern
from app.graphql.door import Info, guarded_field
from app.graphql.evidence import Score
from app.graphql.names import row_id
from app.graphql.node import Node, parse_id, show_id
from app.graphql.pages import Connection, connection, empty_page, page_keyset
from app.graphql.playbook import Area, Level, Measure, area_id_of, area_of, level_id_of, level_of, measure_of
from app.graphql.response import Verdict
from app.graphql.roster import Student, student_of
from app.graphql.school import Staff, staff_of
from app.graphql.session import Dosage, Session
from app.playbook.queries import areas, levels, measures
from app.response import queries as response
from app.response.rules.verdict import State
from app.roster.queries import find_school, find_staff, find_student, staff_by_id, students_by_id
from app.support import models, queries

if TYPE_CHECKING:
    from app.graphql.decision import Decision


@strawberry.enum(description="The state of a support.")
class SupportState(StrEnum):
    """The states of `app.support.rules`."""

    PLANNED = "planned"
    ACTIVE = "active"
    ENDED = "ended"


@strawberry.type(description="The part of a support between two changes: its aimline runs from baseline to goal.")
class Phase(Node):
    """A phase."""

    level_row: strawberry.Private[UUID]
    support_id: strawberry.ID
    number: int
    begins_on: date
    ends_on: date | None = strawberry.field(description="Exclusive.")
    baseline: float
    goal: float
    goal_on: date
    minutes_per_session: int
    sessions_per_week: int
    because: str

    @guarded_field("The level of support in this phase.", levels)
    async def level(self, info: Info) -> Level | None:
        return await level_of(info.context, self.level_row)

    @classmethod
    def of(cls, row: models.Phase) -> "Phase":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("phase", row.id),
            level_row=row.level_id,
            support_id=show_id("support", row.support_id),
            number=row.number,
            begins_on=row.begins_on,
            ends_on=row.ends_on,
            baseline=row.baseline,
            goal=row.goal,
            goal_on=row.goal_on,
            minutes_per_session=row.minutes_per_session,
            sessions_per_week=row.sessions_per_week,
            because=row.because,
        )


@strawberry.type(description="An intervention provided, or planned, for a student.")
class Support(Node):
    """A support, with links to its concerns, phases, scores, verdicts, sessions and decisions."""

    row_id: strawberry.Private[UUID]
    student_row: strawberry.Private[UUID]
    area_row: strawberry.Private[UUID]
    level_row: strawberry.Private[UUID]
    measure_row: strawberry.Private[UUID]
    intervention: str
    state: SupportState
    starts_on: date
    ends_on: date | None
    ended_because: str | None
    lead_row: strawberry.Private[UUID | None]
    provider_row: strawberry.Private[UUID | None]
    playbook_id: strawberry.ID
    version: int

    @guarded_field("The student whom it is for.", students_by_id)
    async def student(self, info: Info) -> Student | None:
        return await student_of(info.context, self.student_row)

    @guarded_field("The area of the support.", areas)
    async def area(self, info: Info) -> Area | None:
        return await area_of(info.context, self.area_row)

    @guarded_field("Its present level.", levels)
    async def level(self, info: Info) -> Level | None:
        return await level_of(info.context, self.level_row)

    @guarded_field("The measure that follows it.", measures)
    async def measure(self, info: Info) -> Measure | None:
        return await measure_of(info.context, self.measure_row)

    @guarded_field("The concerns that it answers.", queries.concern_ids_of, concerns_by_id)
    async def concerns(self, info: Info) -> list[Concern] | None:
        concern_ids = await info.context.load(queries.concern_ids_of, self.row_id) or []
        return [Concern.of(row) for row in await info.context.load_each(concerns_by_id, concern_ids)]

    @guarded_field("Its phases, in order.", queries.phases_of)
    async def phases(self, info: Info) -> list[Phase] | None:
        return [Phase.of(row) for row in await info.context.load(queries.phases_of, self.row_id) or []]

    @guarded_field("The student's scores in its measure, by date.", scores_of)
    async def scores(self, info: Info) -> list[Score] | None:
        rows = await info.context.load(scores_of, self.student_row) or []
        return [Score.of(row) for row in rows if row.measure_id == self.measure_row]

    @guarded_field("The verdict in force; null before the support is judged.", response.verdicts_now)
    async def verdict(self, info: Info) -> Verdict | None:
        row = await info.context.load(response.verdicts_now, self.row_id)
        return None if row is None else Verdict.of(row)

    @guarded_field("Every verdict, oldest first.", response.verdicts)
    async def verdicts(
        self, info: Info, first: int | None = None, after: str | None = None
    ) -> Connection[Verdict] | None:
        at = page_keyset(info.context, "verdicts", {"support": self.row_id}, after, first)
        return connection(at, await info.context.read(response.verdicts, at, self.row_id), Verdict.of)

    @guarded_field("Its sessions, in the order in which they were recorded.", queries.sessions)
    async def sessions(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> Connection[Session] | None:
        at = page_keyset(
            info.context, "sessions", {"support": self.row_id, "since": since, "until": until}, after, first
        )
        return connection(at, await info.context.read(queries.sessions, at, self.row_id, since, until), Session.of)

    @guarded_field("How much of it was delivered; by default, in its last phase.", queries.dosage_between)
    async def dosage(self, info: Info, since: date | None = None, until: date | None = None) -> Dosage | None:
        return Dosage.of(await info.context.read(queries.dosage_between, self.row_id, since, until))

    @guarded_field("The team's decisions about it, oldest first.", decisions_of)
    async def decisions(
        self, info: Info
    ) -> list[Annotated["Decision", strawberry.lazy("app.graphql.decision")]] | None:
        from app.graphql.decision import Decision

        rows = await info.context.load(decisions_of, self.student_row) or []
        return [Decision.of(row) for row in rows if row.support_id == self.row_id]

    @guarded_field("Who leads it.", staff_by_id)
    async def lead(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.lead_row)

    @guarded_field("The person who provides it.", staff_by_id)
    async def provider(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.provider_row)

    @classmethod
    def of(cls, row: models.Support) -> "Support":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("support", row.id),
            row_id=row.id,
            student_row=row.student_id,
            area_row=row.area_id,
            level_row=row.level_id,
            measure_row=row.measure_id,
            intervention=row.intervention,
            state=SupportState(row.state),
            starts_on=row.starts_on,
            ends_on=row.ends_on,
            ended_because=row.ended_because,
            lead_row=row.lead_id,
            provider_row=row.provider_id,
            playbook_id=show_id("playbook", row.playbook_version_id),
            version=row.version,
        )


@strawberry.type
class SupportQueries:
    """The queries of supports."""

    @guarded_field("One support.", queries.support)
    async def support(self, info: Info, id: strawberry.ID) -> Support | None:
        support_id = parse_id("support", id)
        row = None if support_id is None else await info.context.read_or_none(queries.support, support_id)
        return None if row is None else Support.of(row)

    @guarded_field(
        "Supports in the order in which they were planned. `staffId` names the person whose caseload it "
        "is (lead or provider), `level` a rank, `area` a code or an id.",
        response.supports,
    )
    async def supports(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        student_id: strawberry.ID | None = None,
        staff_id: strawberry.ID | None = None,
        school_id: strawberry.ID | None = None,
        area: str | None = None,
        level: int | None = None,
        state: SupportState | None = None,
        verdict: State | None = None,
    ) -> Connection[Support] | None:
        context = info.context
        try:
            filters = response.SupportFilter(
                student_id=await row_id(context, "student", student_id, find_student),
                staff_id=await row_id(context, "person", staff_id, find_staff),
                school_id=await row_id(context, "org", school_id, find_school),
                area_id=await area_id_of(context, area),
                level_id=await level_id_of(context, level),
                state=None if state is None else state.value,
                verdict=None if verdict is None else verdict.value,
            )
        except NotFound:
            return empty_page()
        at = page_keyset(context, "supports", asdict(filters), after, first)
        return connection(at, await context.read(response.supports, at, filters), Support.of)
