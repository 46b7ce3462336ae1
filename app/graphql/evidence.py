"""Owns the shapes of scores and the mutations that record, amend and remove them. Holds no rule.

Over 250 lines, since a score has many inputs and each says what it is.
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
from app.graphql.door import Info, OperationContext, asks
from app.graphql.names import NAME, row_id
from app.graphql.node import Node, named, shown
from app.graphql.pages import Connection, connection, nothing, place
from app.graphql.playbook import Measure, measure_id_of, measure_of
from app.graphql.problems import Problem, check_lengths, run_command, to_problems
from app.graphql.roster import Student, student_of
from app.graphql.school import Staff, staff_of
from app.playbook.queries import measures
from app.response.service import amend_score, record_scores, remove_score
from app.roster.queries import find_student, staff_by_id, students_by_id


@strawberry.enum(description="What a score is for.")
class ScorePurpose(StrEnum):
    """The purposes of `app.evidence.rules`."""

    SCREENING = "screening"
    BASELINE = "baseline"
    PROGRESS = "progress"


@strawberry.enum(description="What became of a score that was sent.")
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
    value: float = strawberry.field(description="In the measure's unit.")
    purpose: ScorePurpose
    form: str | None
    given_by_row: strawberry.Private[UUID | None]
    external_id: str | None = strawberry.field(description="The sender's own id.")
    recorded_at: datetime
    version: int

    @asks("Whose score it is.", students_by_id)
    async def student(self, info: Info) -> Student | None:
        return await student_of(info.context, self.student_row)

    @asks("The measure.", measures)
    async def measure(self, info: Info) -> Measure | None:
        return await measure_of(info.context, self.measure_row)

    @asks("Who gave it, where that is known.", staff_by_id)
    async def given_by(self, info: Info) -> Staff | None:
        return await staff_of(info.context, self.given_by_row)

    @classmethod
    def of(cls, row: models.Score) -> "Score":
        """The shape of a row."""
        return cls(
            id=shown("score", row.id),
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


@strawberry.input(description="A score as a sender gives it. The same score sent again changes nothing.")
class NewScoreInput:
    """As `NewScore`."""

    student: strawberry.ID = strawberry.field(description=f"The student: {NAME}.")
    measure: str = strawberry.field(description="A measure's code or id.")
    taken_on: date
    value: float
    attempt: int = strawberry.field(default=1, description="Which one, where there were several on a day.")
    purpose: ScorePurpose = ScorePurpose.PROGRESS
    form: str | None = strawberry.field(default=None, description="The passage or version of the measure.")
    given_by: strawberry.ID | None = strawberry.field(default=None, description=f"Who gave it: {NAME}.")
    external_id: str | None = strawberry.field(
        default=None, description="The sender's own id, by which it is upserted."
    )


@strawberry.input(description="1 to 500 scores.")
class RecordScoresInput:
    """Scores of several students and measures."""

    scores: list[NewScoreInput]
    backfill: bool = strawberry.field(
        default=False, description="Scores of the past: they are judged, and raise no alerts."
    )


@strawberry.input(description="What was wrong of a score, and why it is changed; what is not named stays.")
class AmendScoreInput:
    """As `Amendment`."""

    score_id: strawberry.ID
    because: str
    by: strawberry.ID | None = strawberry.field(default=None, description=f"Who says so: {NAME}.")
    value: float | None = None
    taken_on: date | None = None
    attempt: int | None = None
    purpose: ScorePurpose | None = None
    form: str | None = None


@strawberry.input(description="Why a score counts no more.")
class RemoveScoreInput:
    """A removal."""

    score_id: strawberry.ID
    because: str
    by: strawberry.ID | None = strawberry.field(default=None, description=f"Who says so: {NAME}.")


@strawberry.type(description="What became of one score; a refused one has its problems.")
class ScoreResult:
    """A result."""

    outcome: ScoreOutcome
    score: Score | None
    problems: list[Problem]


@strawberry.type(description="A result for each score, in order; `problems` are of the input as a whole.")
class RecordScoresPayload:
    """A payload."""

    results: list[ScoreResult]
    problems: list[Problem]


@strawberry.type(description="The score after the change, or the problems.")
class ScorePayload:
    """A payload."""

    score: Score | None
    problems: list[Problem]


@strawberry.type
class EvidenceQueries:
    """The scores' part of the query root."""

    @asks("One score.", queries.score)
    async def score(self, info: Info, id: strawberry.ID) -> Score | None:
        score_id = named("score", id)
        row = None if score_id is None else await info.context.found(queries.score, score_id)
        return None if row is None else Score.of(row)

    @asks("Scores in the order in which they were recorded.", queries.scores)
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
        asked = info.context
        try:
            wanted = queries.ScoreFilter(
                student_id=await row_id(asked, "student", student_id, find_student),
                measure_id=await measure_id_of(asked, measure),
                since=since,
                until=until,
            )
        except NotFound:
            return nothing()
        at = place(asked, "scores", asdict(wanted), after, first)
        return connection(at, await asked.read(queries.scores, at, wanted), Score.of)


@strawberry.type
class EvidenceMutations:
    """The scores' part of the mutation root."""

    @asks(
        "Records scores, each by itself: one that is no good is refused alone. What they change is judged at once.",
        record_scores,
    )
    async def record_scores(self, info: Info, input: RecordScoresInput) -> RecordScoresPayload | None:
        new = [_new(score) for score in input.scores]
        if problems := check_lengths(_texts(new)):
            return RecordScoresPayload(results=[], problems=problems)
        taken, problems = await run_command(info.context, record_scores, new, backfill=input.backfill)
        results = [
            ScoreResult(
                outcome=ScoreOutcome(one.outcome),
                score=None if one.score is None else Score.of(one.score),
                problems=to_problems(one.violations),
            )
            for one in taken or []
        ]
        return RecordScoresPayload(results=results, problems=problems)

    @asks("Amends a score; what rests on it is judged again at once.", amend_score)
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
        return await _changed(info.context, input.score_id, amend_score, amendment)

    @asks("Takes a score out of its series; what rests on it is judged again at once.", remove_score)
    async def remove_score(self, info: Info, input: RemoveScoreInput) -> ScorePayload | None:
        if problems := check_lengths([("/because", input.because, 1, 500)]):
            return ScorePayload(score=None, problems=problems)
        return await _changed(info.context, input.score_id, remove_score, input.because, input.by)


async def _changed(
    asked: OperationContext, name: str, command: Callable[..., Awaitable[models.Score]], *given: Any
) -> ScorePayload:
    score_id = named("score", name)
    if score_id is None:
        return ScorePayload(
            score=None, problems=to_problems([Violation("/score_id", "id.malformed", "This is no score's id.")])
        )
    row, problems = await run_command(asked, command, score_id, *given)
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
