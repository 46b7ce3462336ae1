"""The shapes of scores and the mutations that record, amend and remove them. It contains no rules.

Over 250 lines, because a score has many inputs and each has a description.
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import strawberry

from app.core.errors import NotFound, Violation
from app.evidence import models, queries, service
from app.evidence.amend import Amendment
from app.graphql.door import Info, OperationContext, guarded_field
from app.graphql.names import NAME, row_id
from app.graphql.node import Node, parse_id, show_id
from app.graphql.pages import Connection, connection, empty_page, page_keyset
from app.graphql.playbook import Measure, measure_id_of, measure_of
from app.graphql.problems import Problem, check_lengths, run_command, to_problems
from app.graphql.roster import Student, student_of
from app.graphql.school import Staff, staff_of
from app.playbook.queries import measures
from app.response.service import amend_score, record_scores, remove_score
from app.roster.queries import find_student, staff_by_id, students_by_id


@strawberry.enum(description="The purpose of a score.")
class ScorePurpose(StrEnum):
    """The purposes of `app.evidence.rules`."""

    SCREENING = "screening"
    BASELINE = "baseline"
    PROGRESS = "progress"


@strawberry.enum(description="The result for a score that was sent.")
class ScoreOutcome(StrEnum):
    """The outcomes of `app.evidence.service`."""

    RECORDED = "recorded"
    AMENDED = "amended"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@strawberry.type(description="One administration of a measure to a student.")
class Score(Node):
    """A score."""

    student_row: strawberry.Private[UUID]
    measure_row: strawberry.Private[UUID]
    taken_on: date
    attempt: int
    value: float = strawberry.field(description="The value in the measure's unit.")
    purpose: ScorePurpose
    form: str | None
    given_by_row: strawberry.Private[UUID | None]
    external_id: str | None = strawberry.field(description="The sender's own id.")
    recorded_at: datetime
    version: int

    @guarded_field("The student whose score it is.", students_by_id)
    async def student(self, info: Info) -> Student | None:
        return await student_of(info.context, self.student_row)

    @guarded_field("The measure.", measures)
    async def measure(self, info: Info) -> Measure | None:
        return await measure_of(info.context, self.measure_row)

    @guarded_field("The person who administered it, if known.", staff_by_id)
    async def given_by(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.given_by_row)

    @classmethod
    def of(cls, row: models.Score) -> "Score":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("score", row.id),
            student_row=row.student_id,
            measure_row=row.measure_id,
            taken_on=row.taken_on,
            attempt=row.attempt,
            value=row.value,
            purpose=ScorePurpose(row.purpose),
            form=row.form,
            given_by_row=row.given_by,
            external_id=row.external_id,
            recorded_at=row.recorded_at,
            version=row.version,
        )


@strawberry.input(description="A score to be recorded. Sending the same score again changes nothing.")
class NewScoreInput:
    """One score of `recordScores`; becomes a `NewScore`."""

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
    """The input of `amendScore`; becomes an `Amendment`."""

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
    score: Score | None
    problems: list[Problem]


@strawberry.type(description="A result for each score, in order; `problems` concern the input as a whole.")
class RecordScoresPayload:
    """The payload of `recordScores`."""

    results: list[ScoreResult]
    problems: list[Problem]


@strawberry.type(description="The score after the change, or the problems.")
class ScorePayload:
    """The payload of the mutations that change one score."""

    score: Score | None
    problems: list[Problem]


@strawberry.type
class EvidenceQueries:
    """The queries of scores."""

    @guarded_field("One score.", queries.score)
    async def score(self, info: Info, id: strawberry.ID) -> Score | None:
        score_id = parse_id("score", id)
        row = None if score_id is None else await info.context.read_or_none(queries.score, score_id)
        return None if row is None else Score.of(row)

    @guarded_field("Scores in the order in which they were recorded.", queries.scores)
    async def scores(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        student_id: strawberry.ID | None = None,
        measure: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> Connection[Score] | None:
        context = info.context
        try:
            filters = queries.ScoreFilter(
                student_id=await row_id(context, "student", student_id, find_student),
                measure_id=await measure_id_of(context, measure),
                since=since,
                until=until,
            )
        except NotFound:
            return empty_page()
        at = page_keyset(context, "scores", asdict(filters), after, first)
        return connection(at, await context.read(queries.scores, at, filters), Score.of)


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
                score=None if result.score is None else Score.of(result.score),
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
    return ScorePayload(score=None if row is None else Score.of(row), problems=problems)


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
