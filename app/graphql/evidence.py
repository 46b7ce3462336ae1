"""Defines the mutations that record, amend and remove scores."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import strawberry

from app.core.errors import Violation
from app.evidence import models
from app.evidence.amend import Amendment
from app.evidence.resource import ScoreResource
from app.evidence.rules import ScorePurpose
from app.graphql.door import Info, OperationContext, guarded_field
from app.graphql.names import NAME
from app.graphql.node import parse_id
from app.graphql.problems import Problem, run_command, to_problems
from app.graphql.written import row_of
from app.response.service import amend_score, remove_score


@strawberry.input(description="A correction of a score, with its reason; fields that are not named stay as they are.")
class AmendScoreInput:
    """The input of `amendScore`, which is converted to an `Amendment`."""

    score_id: strawberry.ID
    because: str
    by: strawberry.ID | None = strawberry.field(default=None, description=f"The person who reports it: {NAME}.")
    value: float | None = None
    taken_on: date | None = None
    attempt: int | None = None
    purpose: ScorePurpose | None = None
    form: str | None = None


@strawberry.input(description="The reason for a score's removal.")
class RemoveScoreInput:
    """The input of `removeScore`."""

    score_id: strawberry.ID
    because: str
    by: strawberry.ID | None = strawberry.field(default=None, description=f"The person who reports it: {NAME}.")


@strawberry.type(description="The score after the change, or the problems.")
class ScorePayload:
    """The payload of the mutations that change one score."""

    score: models.Score | None = row_of(ScoreResource)
    problems: list[Problem]


@strawberry.type
class EvidenceMutations:
    """The mutations that record, amend and remove scores."""

    @guarded_field("Amends a score; the affected series are judged again at once.", amend_score)
    async def amend_score(self, info: Info, input: AmendScoreInput) -> ScorePayload | None:
        amendment = Amendment(
            because=input.because,
            by=input.by,
            value=input.value,
            taken_on=input.taken_on,
            attempt=input.attempt,
            purpose=input.purpose.value if input.purpose else None,
            form=input.form,
        )
        return await _change_score(info.context, input.score_id, amend_score, amendment)

    @guarded_field("Removes a score from its series; the affected series are judged again at once.", remove_score)
    async def remove_score(self, info: Info, input: RemoveScoreInput) -> ScorePayload | None:
        return await _change_score(info.context, input.score_id, remove_score, input.because, input.by)


async def _change_score(
    context: OperationContext, name: str, command: Callable[..., Awaitable[models.Score]], *arguments: Any
) -> ScorePayload:
    score_id = parse_id("score", name)
    if score_id is None:
        return ScorePayload(
            score=None, problems=to_problems([Violation("/score_id", "id.malformed", "This is not a score's id.")])
        )
    row, problems = await run_command(context, command, score_id, *arguments)
    return ScorePayload(score=row, problems=problems)
