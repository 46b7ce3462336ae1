"""Defines the REST commands on scores."""

from typing import Literal, cast

from fastapi import APIRouter, Response
from pydantic import Field

from app.core.errors import Invalid
from app.evidence import queries
from app.evidence import service as evidence
from app.evidence.amend import Amendment
from app.evidence.resource import ScoreChangeResource, ScoreResource
from app.response import service
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Input, Shape
from app.rest.problem import ViolationShape
from app.rest.resources import SHAPES
from app.rest.route import Route
from app.rest.values import Count, Day, Number

router = APIRouter(prefix="/v1", tags=["scores"], route_class=Route)
SCORE, CHANGE = SHAPES.of(ScoreResource), SHAPES.of(ScoreChangeResource)
Purpose = Literal["screening", "baseline", "progress"]
Outcome = Literal["recorded", "amended", "unchanged", "refused"]


class NewScore(Input):
    """A score to record: one administration of a measure. Sending the same score again changes nothing."""

    student: str = Field(description="An id or an external id.")
    measure: str = Field(description="A code or an id.")
    taken_on: Day
    value: Number
    attempt: Count = Field(default=1, description="The attempt's number, where there were several on the day.")
    purpose: Purpose = "progress"
    form: str | None = Field(default=None, max_length=100, description="The passage or version of the measure.")
    given_by: str | None = Field(default=None, description="The person who administered it: an id or an external id.")
    external_id: str | None = Field(
        default=None, min_length=1, max_length=200, description="The sender's own id for the score."
    )


class NewScores(Input):
    """Up to 500 scores."""

    scores: list[NewScore] = Field(min_length=1, max_length=500)
    backfill: bool = Field(
        default=False,
        description="Whether these are scores of the past: they are judged, but raise no alerts.",
        strict=True,
    )


class ScoreAmendment(Input):
    """A correction of a score with its reason; fields that are not given stay unchanged."""

    because: str = Field(min_length=1, max_length=500)
    by: str | None = Field(default=None, description="The person who asks for it: an id or an external id of staff.")
    value: Number | None = None
    taken_on: Day | None = None
    attempt: Count | None = None
    purpose: Purpose | None = None
    form: str | None = Field(default=None, max_length=100)


class ScoreRemoval(Input):
    """The reason for a score's removal."""

    because: str = Field(min_length=1, max_length=500)
    by: str | None = Field(default=None, description="The person who asks for it: an id or an external id of staff.")


class ScoreChanges(Shape):
    """All changes of a score."""

    items: list[CHANGE] = Field(description="The changes, oldest first.")  # type: ignore[valid-type]  # made at run time


class RecordedScore(Shape):
    """The result for one score of a request."""

    outcome: Outcome
    score: SCORE | None = Field(description="The score as it is now; null if it was refused.")  # type: ignore[valid-type]  # made at run time
    violations: list[ViolationShape]


class RecordedScores(Shape):
    """The results of a bulk request, one for each score, in the order in which they were sent."""

    results: list[RecordedScore]


KNOWN = {200: {"model": SCORE, "description": "The score was recorded before; it is unchanged or was amended."}}


@router.post(
    "/scores",
    status_code=201,
    operation_id="record_score",
    response_model=SCORE,
    **requires(service.record_scores, answers=KNOWN),
)
async def record_score(work: OpenWork, response: Response, new: NewScore) -> Shape:
    """Records one score and judges the series that it belongs to, in the same transaction.

    201 for a new score, 200 for one that was sent before.
    """
    recorded = (await service.record_scores(work, [evidence.NewScore(**new.model_dump())], at=""))[0]
    if recorded.score is None:
        raise Invalid(recorded.violations)
    response.status_code = 201 if recorded.outcome == "recorded" else 200
    return SHAPES.render(ScoreResource, recorded.score)


@router.post("/scores/bulk", operation_id="record_scores", **requires(service.record_scores))
async def record_scores(work: OpenWork, new: NewScores) -> RecordedScores:
    """Records many scores independently: invalid ones are refused with their violations, the others are recorded."""
    scores = [evidence.NewScore(**score.model_dump()) for score in new.scores]
    recorded = await service.record_scores(work, scores, backfill=new.backfill)
    return RecordedScores.model_construct(results=[_recorded(result) for result in recorded])


@router.post("/scores/{score}/amend", operation_id="amend_score", response_model=SCORE, **requires(service.amend_score))
async def amend_score(work: OpenWork, score: str, amendment: ScoreAmendment) -> Shape:
    """Amends a score and judges its series again; an alert that is no longer justified is retracted, with an event."""
    values = Amendment(**amendment.model_dump())
    return SHAPES.render(ScoreResource, await service.amend_score(work, row_id("score", score), values))


@router.post(
    "/scores/{score}/remove", operation_id="remove_score", response_model=SCORE, **requires(service.remove_score)
)
async def remove_score(work: OpenWork, score: str, removal: ScoreRemoval) -> Shape:
    """Removes a score from its series and judges the series again.

    Sending the score again under the same key restores it.
    """
    return SHAPES.render(
        ScoreResource, await service.remove_score(work, row_id("score", score), removal.because, removal.by)
    )


@router.get("/scores/{score}/changes", operation_id="list_score_changes", **requires(queries.changes_of))
async def list_score_changes(work: OpenWork, score: str) -> ScoreChanges:
    """Lists the changes of a score, oldest first, with the author, the reason and the values before each change.

    The changes of a removed score are listed too.
    """
    rows = await queries.changes_of(work, row_id("score", score))
    return ScoreChanges(items=[SHAPES.render(ScoreChangeResource, row) for row in rows])


def _recorded(result: evidence.RecordedScore) -> RecordedScore:
    return RecordedScore.model_construct(
        outcome=cast(Outcome, result.outcome),
        score=SHAPES.render(ScoreResource, result.score) if result.score else None,
        violations=[
            ViolationShape(pointer=violation.pointer, code=violation.code, detail=violation.detail)
            for violation in result.violations
        ],
    )
