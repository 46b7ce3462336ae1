"""The breaks of the school year in GraphQL: the shape, the list, the mutations. It contains no rules."""

from datetime import date, datetime
from uuid import UUID

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, guarded_field
from app.graphql.names import NAME, row_id
from app.graphql.node import parse_id, show_id
from app.graphql.pages import Connection, connection, empty_page, page_keyset
from app.graphql.problems import Problem, check_lengths, run_command
from app.graphql.school import School, school_of
from app.response.administration.breaks import declare_break, remove_break
from app.roster import models
from app.roster.breaks import NewBreak, breaks
from app.roster.queries import find_school, orgs_by_id


@strawberry.type(
    description=(
        "Days without school, first and last day included. A week whose weekdays all lie in breaks is not"
        " an instructional week."
    )
)
class SchoolBreak:
    """A break of the school year."""

    id: strawberry.ID
    school_row: strawberry.Private[UUID | None]
    begins_on: date
    ends_on: date
    name: str | None
    declared_at: datetime

    @guarded_field(
        "The school; null for a break of the whole district, which schools that are added later have too.", orgs_by_id
    )
    async def school(self, info: Info) -> School | None:
        return None if self.school_row is None else await school_of(info.context, self.school_row)

    @classmethod
    def of(cls, row: models.SchoolBreak) -> "SchoolBreak":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("break", row.id),
            school_row=row.school_id,
            begins_on=row.begins_on,
            ends_on=row.ends_on,
            name=row.name,
            declared_at=row.declared_at,
        )


@strawberry.input(
    description="Days without school. Declaring the same days of the same school again returns the same break."
)
class DeclareBreakInput:
    """The input of `declareBreak`; becomes a `NewBreak`."""

    begins_on: date
    ends_on: date
    school: strawberry.ID | None = strawberry.field(default=None, description=f"{NAME}; none for the whole district.")
    name: str | None = None


@strawberry.input(description="The break to remove.")
class RemoveBreakInput:
    """The input of `removeBreak`."""

    break_id: strawberry.ID


@strawberry.type(description="The declared or removed break, or the problems.")
class BreakPayload:
    """The payload of the mutations of breaks."""

    school_break: SchoolBreak | None
    problems: list[Problem]


@strawberry.type
class BreakQueries:
    """The queries of breaks."""

    @guarded_field("The district's breaks; with a school, only those that apply to it.", breaks)
    async def breaks(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        school_id: strawberry.ID | None = None,
    ) -> Connection[SchoolBreak] | None:
        context = info.context
        try:
            school = await row_id(context, "org", school_id, find_school)
        except NotFound:
            return empty_page()
        at = page_keyset(context, "breaks", {"school": school}, after, first)
        return connection(at, await context.read(breaks, at, school), SchoolBreak.of)


@strawberry.type
class BreakMutations:
    """The mutations of breaks."""

    @guarded_field(
        "Declares a break; the series that it affects are judged again shortly, without alerts.", declare_break
    )
    async def declare_break(self, info: Info, input: DeclareBreakInput) -> BreakPayload | None:
        if problems := check_lengths([("/name", input.name, 1, 200)]):
            return BreakPayload(school_break=None, problems=problems)
        new = NewBreak(input.begins_on, input.ends_on, input.school, input.name)
        result, problems = await run_command(info.context, declare_break, new)
        return BreakPayload(school_break=None if result is None else SchoolBreak.of(result.row), problems=problems)

    @guarded_field(
        "Removes a break; the series that it affects are judged again shortly, without alerts.", remove_break
    )
    async def remove_break(self, info: Info, input: RemoveBreakInput) -> BreakPayload | None:
        break_id = parse_id("break", input.break_id)
        if break_id is None:
            missing = NotFound("break")
            problem = Problem(code=missing.code, pointer="/break_id", detail=missing.detail)
            return BreakPayload(school_break=None, problems=[problem])
        result, problems = await run_command(info.context, remove_break, break_id)
        return BreakPayload(school_break=None if result is None else SchoolBreak.of(result.row), problems=problems)
