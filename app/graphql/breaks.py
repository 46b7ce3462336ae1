"""Owns the breaks of the schools' year in GraphQL: the shape, the list, the mutations. Holds no rule."""

from datetime import date, datetime
from uuid import UUID

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, asks
from app.graphql.names import NAME, row_id
from app.graphql.node import named, shown
from app.graphql.pages import Connection, connection, nothing, place
from app.graphql.problems import Problem, check_lengths, run_command
from app.graphql.school import School, school_of
from app.response.administration.breaks import declare_break, remove_break
from app.roster import models
from app.roster.breaks import NewBreak, breaks
from app.roster.queries import find_school, orgs_by_id


@strawberry.type(
    description="Days without school, both counted. A week whose weekdays all lie in breaks is no week of instruction."
)
class SchoolBreak:
    """A break."""

    id: strawberry.ID
    school_row: strawberry.Private[UUID | None]
    begins_on: date
    ends_on: date
    name: str | None
    declared_at: datetime

    @asks("The school; none for the whole district, schools that come later included.", orgs_by_id)
    async def school(self, info: Info) -> School | None:
        return None if self.school_row is None else await school_of(info.context, self.school_row)

    @classmethod
    def of(cls, row: models.SchoolBreak) -> "SchoolBreak":
        """The shape of a row."""
        return cls(
            id=shown("break", row.id),
            school_row=row.school_id,
            begins_on=row.begins_on,
            ends_on=row.ends_on,
            name=row.name,
            declared_at=row.declared_at,
        )


@strawberry.input(description="Days without school. The same days of the same school said again are the same break.")
class DeclareBreakInput:
    """As `NewBreak`."""

    begins_on: date
    ends_on: date
    school: strawberry.ID | None = strawberry.field(default=None, description=f"{NAME}; none for the whole district.")
    name: str | None = None


@strawberry.input(description="A break to take back.")
class RemoveBreakInput:
    """A break's id."""

    break_id: strawberry.ID


@strawberry.type(description="The break, as it is or was, or the problems.")
class BreakPayload:
    """A payload."""

    school_break: SchoolBreak | None
    problems: list[Problem]


@strawberry.type
class BreakQueries:
    """The breaks' part of the query root."""

    @asks("The district's breaks; with a school, those that hold there.", breaks)
    async def breaks(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        school_id: strawberry.ID | None = None,
    ) -> Connection[SchoolBreak] | None:
        asked = info.context
        try:
            school = await row_id(asked, "org", school_id, find_school)
        except NotFound:
            return nothing()
        at = place(asked, "breaks", {"school": school}, after, first)
        return connection(at, await asked.read(breaks, at, school), SchoolBreak.of)


@strawberry.type
class BreakMutations:
    """The breaks' part of the mutation root."""

    @asks("Says a break; what it changes is judged shortly, without alerts.", declare_break)
    async def declare_break(self, info: Info, input: DeclareBreakInput) -> BreakPayload | None:
        if problems := check_lengths([("/name", input.name, 1, 200)]):
            return BreakPayload(school_break=None, problems=problems)
        new = NewBreak(input.begins_on, input.ends_on, input.school, input.name)
        laid, problems = await run_command(info.context, declare_break, new)
        return BreakPayload(school_break=None if laid is None else SchoolBreak.of(laid.row), problems=problems)

    @asks("Takes a break back; what it changes is judged shortly, without alerts.", remove_break)
    async def remove_break(self, info: Info, input: RemoveBreakInput) -> BreakPayload | None:
        break_id = named("break", input.break_id)
        if break_id is None:
            missing = NotFound("break")
            told = Problem(code=missing.code, pointer="/break_id", detail=missing.detail)
            return BreakPayload(school_break=None, problems=[told])
        laid, problems = await run_command(info.context, remove_break, break_id)
        return BreakPayload(school_break=None if laid is None else SchoolBreak.of(laid.row), problems=problems)
