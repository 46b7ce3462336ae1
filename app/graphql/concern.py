"""The shapes of concerns and the mutation that raises one. It contains no rules."""

from dataclasses import asdict
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from app.concern import models, queries
from app.concern.service import NewConcern, raise_concern
from app.core.errors import NotFound
from app.graphql.door import Info, guarded_field
from app.graphql.names import NAME, row_id
from app.graphql.node import Node, parse_id, show_id
from app.graphql.pages import Connection, connection, empty_page, page_keyset
from app.graphql.playbook import Area, area_id_of, area_of
from app.graphql.problems import Problem, run_command
from app.graphql.roster import Student, student_of
from app.graphql.school import Staff, staff_of
from app.playbook.queries import areas
from app.roster.queries import find_school, find_student, staff_by_id, students_by_id
from app.support.queries import support_ids_of_concerns, supports_by_id, unserved_concerns

if TYPE_CHECKING:
    from app.graphql.support import Support


@strawberry.enum(description="The state of a concern.")
class ConcernState(StrEnum):
    """The states of `app.concern.rules`."""

    RAISED = "raised"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    RESOLVED = "resolved"


@strawberry.type(description="A dated concern about one student in one area.")
class Concern(Node):
    """A concern."""

    row_id: strawberry.Private[UUID]
    student_row: strawberry.Private[UUID]
    area_row: strawberry.Private[UUID]
    state: ConcernState
    description: str
    raised_on: date
    raised_by_row: strawberry.Private[UUID | None]
    settled_by_row: strawberry.Private[UUID | None]
    settled_at: datetime | None
    settled_because: str | None
    version: int

    @guarded_field("The student whom it is about.", students_by_id)
    async def student(self, info: Info) -> Student | None:
        return await student_of(info.context, self.student_row)

    @guarded_field("The area of the concern.", areas)
    async def area(self, info: Info) -> Area | None:
        return await area_of(info.context, self.area_row)

    @guarded_field("The supports that answer it.", support_ids_of_concerns, supports_by_id)
    async def supports(self, info: Info) -> list[Annotated["Support", strawberry.lazy("app.graphql.support")]] | None:
        from app.graphql.support import Support

        support_ids = await info.context.load(support_ids_of_concerns, self.row_id) or []
        rows = await info.context.load_each(supports_by_id, support_ids)
        return [Support.of(row) for row in rows]

    @guarded_field("The person who raised it, if a person did.", staff_by_id)
    async def raised_by(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.raised_by_row)

    @guarded_field("The person who settled it, if a person did.", staff_by_id)
    async def settled_by(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.settled_by_row)

    @classmethod
    def of(cls, row: models.Concern) -> "Concern":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("concern", row.id),
            row_id=row.id,
            student_row=row.student_id,
            area_row=row.area_id,
            state=ConcernState(row.state),
            description=row.description,
            raised_on=row.raised_on,
            raised_by_row=row.raised_by,
            settled_by_row=row.settled_by,
            settled_at=row.settled_at,
            settled_because=row.settled_because,
            version=row.version,
        )


@strawberry.input(description="A concern to be raised.")
class RaiseConcernInput:
    """The input of `raiseConcern`; becomes a `NewConcern`."""

    student: strawberry.ID = strawberry.field(description=f"The student: {NAME}.")
    area: str = strawberry.field(description="An area's code or id.")
    description: str
    raised_by: strawberry.ID | None = strawberry.field(default=None, description=f"Who raised it: {NAME}.")
    raised_on: date | None = strawberry.field(default=None, description="By default, today.")


@strawberry.type(description="The concern, or the problems.")
class RaiseConcernPayload:
    """The payload of `raiseConcern`."""

    concern: Concern | None
    problems: list[Problem]


@strawberry.type
class ConcernQueries:
    """The queries of concerns."""

    @guarded_field("One concern.", queries.concern)
    async def concern(self, info: Info, id: strawberry.ID) -> Concern | None:
        concern_id = parse_id("concern", id)
        row = None if concern_id is None else await info.context.read_or_none(queries.concern, concern_id)
        return None if row is None else Concern.of(row)

    @guarded_field(
        "Concerns in the order in which they were recorded. With `unserved: true`, only accepted ones "
        "without an active support; this needs `support:read` too.",
        queries.concerns,
    )
    async def concerns(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        student_id: strawberry.ID | None = None,
        school_id: strawberry.ID | None = None,
        area: str | None = None,
        state: ConcernState | None = None,
        unserved: bool = False,
    ) -> Connection[Concern] | None:
        context = info.context
        try:
            filters = queries.ConcernFilter(
                student_id=await row_id(context, "student", student_id, find_student),
                area_id=await area_id_of(context, area),
                school_id=await row_id(context, "org", school_id, find_school),
                state=None if state is None else state.value,
            )
        except NotFound:
            return empty_page()
        listing, query = ("unserved_concerns", unserved_concerns) if unserved else ("concerns", queries.concerns)
        at = page_keyset(context, listing, asdict(filters), after, first)
        return connection(at, await context.read(query, at, filters), Concern.of)


@strawberry.type
class ConcernMutations:
    """The mutations of concerns."""

    @guarded_field("Raises a concern about a student.", raise_concern)
    async def raise_concern(self, info: Info, input: RaiseConcernInput) -> RaiseConcernPayload | None:
        new = NewConcern(
            student=input.student,
            area=input.area,
            description=input.description.strip(),
            raised_by=input.raised_by,
            raised_on=input.raised_on,
        )
        row, problems = await run_command(info.context, raise_concern, new)
        return RaiseConcernPayload(concern=None if row is None else Concern.of(row), problems=problems)
