"""Defines the mutations that declare and remove breaks of the school year."""

from datetime import date

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, guarded_field
from app.graphql.names import NAME
from app.graphql.node import parse_id
from app.graphql.problems import Problem, run_command
from app.graphql.written import row_of
from app.response.administration.breaks import declare_break, remove_break
from app.roster import models
from app.roster.breaks import NewBreak
from app.roster.schools import BreakResource


@strawberry.input(
    description="Days without school. Declaring the same days of the same school again returns the same break."
)
class DeclareBreakInput:
    """The input of `declareBreak`, which is converted to a `NewBreak`."""

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
    """The payload of the mutations `declareBreak` and `removeBreak`."""

    school_break: models.SchoolBreak | None = row_of(BreakResource)
    problems: list[Problem]


@strawberry.type
class BreakMutations:
    """The mutations that declare and remove breaks."""

    @guarded_field(
        "Declares a break; the series that it affects are judged again shortly, without alerts.", declare_break
    )
    async def declare_break(self, info: Info, input: DeclareBreakInput) -> BreakPayload | None:
        new = NewBreak(input.begins_on, input.ends_on, input.school, input.name)
        result, problems = await run_command(info.context, declare_break, new)
        return BreakPayload(school_break=None if result is None else result.row, problems=problems)

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
        return BreakPayload(school_break=None if result is None else result.row, problems=problems)
