"""Defines the mutation that raises a concern."""

from datetime import date
from typing import TYPE_CHECKING

import strawberry

from app.concern import models
from app.concern.resource import ConcernResource
from app.concern.service import NewConcern, raise_concern
from app.graphql.door import Info, guarded_field
from app.graphql.names import NAME
from app.graphql.problems import Problem, run_command
from app.graphql.written import row_of

if TYPE_CHECKING:
    pass


@strawberry.input(description="A concern to be raised.")
class RaiseConcernInput:
    """The input of `raiseConcern`, which is converted to a `NewConcern`."""

    student: strawberry.ID = strawberry.field(description=f"The student: {NAME}.")
    area: str = strawberry.field(description="An area's code or id.")
    description: str
    raised_by: strawberry.ID | None = strawberry.field(default=None, description=f"Who raised it: {NAME}.")
    raised_on: date | None = strawberry.field(default=None, description="By default, today.")


@strawberry.type(description="The concern, or the problems.")
class RaiseConcernPayload:
    """The payload of `raiseConcern`."""

    concern: models.Concern | None = row_of(ConcernResource)
    problems: list[Problem]


@strawberry.type
class ConcernMutations:
    """The mutation `raiseConcern`. The other mutations about concerns are generated from the resource's commands."""

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
        return RaiseConcernPayload(concern=row, problems=problems)
