"""Defines the mutations that record, amend and remove scores."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from enum import StrEnum
from typing import Any

import strawberry

from app.core.errors import Violation
from app.evidence import models, service
from app.evidence.amend import Amendment
from app.evidence.resource import ScoreResource
from app.evidence.rules import ScorePurpose
from app.graphql.door import Info, OperationContext, guarded_field
from app.graphql.names import NAME
from app.graphql.node import parse_id
from app.graphql.problems import Problem, check_lengths, run_command, to_problems
from app.graphql.written import row_of
from app.response.service import amend_score, record_scores, remove_score


@strawberry.enum(description="The result for a score that was sent.")
class ScoreOutcome(StrEnum):
    """The possible outcomes of recording a score, as in `app.evidence.service`."""

    RECORDED = "recorded"
    AMENDED = "amended"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@strawberry.input(description="A score to be recorded. Sending the same score again changes nothing.")
class NewScoreInput:
    """One score of `recordScores`, which is converted to a `NewScore`."""

    student: strawberry.ID = strawberry.field(description=f"The student: {NAME}.")
    measure: str = strawberry.field(description="A measure's code or id.")
    taken_on: date
    value: float
    attempt: int = strawberry.field(default=1, description="The attempt's number, where there were several on the day.")
    purpose: ScorePurpose = ScorePurpose.PROGRESS
    form: str | None = strawberry.field(default=None, description="The passage or version of the measure.")
    given_by: strawberry.ID | None = strawberry.field(default=None, description=f"Who gave it: {NAME}.")
    external_id: str | None = strawberry.field(
        default=None, description="The sender's own id, by which the score is inserted or updated."
    )


@strawberry.input(description="1 to 500 scores.")
class RecordScoresInput:
    """The input of `recordScores`: scores of several students and measures."""

    scores: list[NewScoreInput]
    backfill: bool = strawberry.field(
        default=False, description="Whether these are scores of the past: they are judged, but raise no alerts."
    )


@strawberry.input(description="A correction of a score, with its reason; fields that are not named stay as they are.")
class AmendScoreInput:
    """The input of `amendScore`, which is converted to an `Amendment`."""

    score_id: strawberry.ID
    because: str
    by: strawberry.ID | None = strawberry.field(default=None, description=f"Who says so: {NAME}.")
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
    by: strawberry.ID | None = strawberry.field(default=None, description=f"Who says so: {NAME}.")


@strawberry.type(description="The result for one score; a refused score has its problems.")
class ScoreResult:
    """The result for one score of `recordScores`."""

    outcome: ScoreOutcome
    score: models.Score | None = row_of(ScoreResource)
    problems: list[Problem]


@strawberry.type(description="A result for each score, in order; `problems` concern the input as a whole.")
class RecordScoresPayload:
    """The payload of `recordScores`."""

    results: list[ScoreResult]
    problems: list[Problem]


@strawberry.type(description="The score after the change, or the problems.")
class ScorePayload:
    """The payload of the mutations that change one score."""

    score: models.Score | None = row_of(ScoreResource)
    problems: list[Problem]


@strawberry.type
class EvidenceMutations:
    """The mutations of scores."""

    @guarded_field(
        "Records scores, each independently: an invalid one is refused alone. The affected series are judged at once.",
        record_scores,
    )
    async def record_scores(self, info: Info, input: RecordScoresInput) -> RecordScoresPayload | None:
        new = [_new(score) for score in input.scores]
        if problems := check_lengths(_texts(new)):
            return RecordScoresPayload(results=[], problems=problems)
        recorded, problems = await run_command(info.context, record_scores, new, backfill=input.backfill)
        results = [
            ScoreResult(
                outcome=ScoreOutcome(result.outcome),
                score=result.score,
                problems=to_problems(result.violations),
            )
            for result in recorded or []
        ]
        return RecordScoresPayload(results=results, problems=problems)

    @guarded_field("Amends a score; the affected series are judged again at once.", amend_score)
    async def amend_score(self, info: Info, input: AmendScoreInput) -> ScorePayload | None:
        if problems := check_lengths([("/because", input.because, 1, 500), ("/form", input.form, 0, 100)]):
            return ScorePayload(score=None, problems=problems)
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
        if problems := check_lengths([("/because", input.because, 1, 500)]):
            return ScorePayload(score=None, problems=problems)
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


def _texts(scores: list[service.NewScore]) -> Iterator[tuple[str, str | None, int, int]]:
    for position, score in enumerate(scores):
        yield f"/scores/{position}/form", score.form, 0, 100
        yield f"/scores/{position}/external_id", score.external_id, 1, 200


def _new(score: NewScoreInput) -> service.NewScore:
    return service.NewScore(
        student=score.student,
        measure=score.measure,
        taken_on=score.taken_on,
        value=score.value,
        attempt=score.attempt,
        purpose=score.purpose.value,
        form=score.form,
        given_by=score.given_by,
        external_id=score.external_id,
    )
