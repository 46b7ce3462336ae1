"""Scores in REST: shapes and routes, without rules."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.core.errors import Invalid
from app.evidence import models, queries
from app.evidence import service as evidence
from app.evidence.amend import Amendment
from app.playbook.queries import measure_named
from app.response import service
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Input, Items, Shape, page_keyset, to_page
from app.rest.problem import ViolationShape
from app.rest.roster import student_id
from app.rest.route import Route
from app.rest.values import Count, Day, Number

router = APIRouter(prefix="/v1", tags=["scores"], route_class=Route)
Purpose = Literal["screening", "baseline", "progress"]
Outcome = Literal["recorded", "amended", "unchanged", "refused"]


class NewScore(Input):
    """A score to be recorded: one administration of a measure. Sending the same score again changes nothing."""

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
    """A correction of a score with its reason; fields that are not given keep their values."""

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


class Score(Shape):
    """A score of a student."""

    id: str
    student: str
    measure: str
    taken_on: date
    attempt: int
    value: float
    purpose: Purpose
    form: str | None
    given_by: str | None
    external_id: str | None
    recorded_at: datetime
    version: int


class ScoreChange(Shape):
    """One change of a score: amended, removed or restored, with the values before it."""

    version: int = Field(description="The score's version before the change.")
    action: Literal["amended", "removed", "restored"]
    because: str | None = Field(description="Null where the sender only sent the score again.")
    before: dict[str, Any]
    changed_by: str | None
    changed_at: datetime


class ScoreChanges(Shape):
    """All changes of a score."""

    items: list[ScoreChange]


class RecordedScore(Shape):
    """The result for one score of a request."""

    outcome: Outcome
    score: Score | None
    violations: list[ViolationShape]


class RecordedScores(Shape):
    """The results of a bulk request, one for each score, in the order in which they were sent."""

    results: list[RecordedScore]


def score_shape(row: models.Score) -> Score:
    """Returns a score in REST's shape."""
    return Score.model_construct(
        id=ids.format_id("score", row.id),
        student=ids.format_id("student", row.student_id),
        measure=ids.format_id("measure", row.measure_id),
        taken_on=row.taken_on,
        attempt=row.attempt,
        value=row.value,
        purpose=cast(Purpose, row.purpose),
        form=row.form,
        given_by=ids.format_id("person", row.given_by) if row.given_by else None,
        external_id=row.external_id,
        recorded_at=row.recorded_at,
        version=row.version,
    )


KNOWN = {200: {"model": Score, "description": "The score was recorded before; it is unchanged or was amended."}}


@router.post("/scores", status_code=201, operation_id="record_score", **requires(service.record_scores, answers=KNOWN))
async def record_score(work: OpenWork, response: Response, new: NewScore) -> Score:
    """Records one score and judges the series that it belongs to, in the same transaction.

    201 for a new score, 200 for one that was sent before.
    """
    recorded = (await service.record_scores(work, [evidence.NewScore(**new.model_dump())], at=""))[0]
    if recorded.score is None:
        raise Invalid(recorded.violations)
    response.status_code = 201 if recorded.outcome == "recorded" else 200
    return score_shape(recorded.score)


@router.post("/scores/bulk", operation_id="record_scores", **requires(service.record_scores))
async def record_scores(work: OpenWork, new: NewScores) -> RecordedScores:
    """Records many scores independently: invalid ones are refused with their violations, the others are recorded."""
    scores = [evidence.NewScore(**score.model_dump()) for score in new.scores]
    recorded = await service.record_scores(work, scores, backfill=new.backfill)
    return RecordedScores.model_construct(results=[_recorded(result) for result in recorded])


@router.post("/scores/{score}/amend", operation_id="amend_score", **requires(service.amend_score))
async def amend_score(work: OpenWork, score: str, amendment: ScoreAmendment) -> Score:
    """Amends a score and judges its series again; an alert that is no longer justified is retracted, with an event."""
    values = Amendment(**amendment.model_dump())
    return score_shape(await service.amend_score(work, row_id("score", score), values))


@router.post("/scores/{score}/remove", operation_id="remove_score", **requires(service.remove_score))
async def remove_score(work: OpenWork, score: str, removal: ScoreRemoval) -> Score:
    """Removes a score from its series and judges the series again.

    Sending the score again under the same key restores it.
    """
    return score_shape(await service.remove_score(work, row_id("score", score), removal.because, removal.by))


@router.get("/scores/{score}", operation_id="get_score", **requires(queries.score))
async def get_score(work: OpenWork, score: str) -> Score:
    """Returns one score; 404 if it was removed."""
    return score_shape(await queries.score(work, row_id("score", score)))


@router.get("/scores/{score}/changes", operation_id="list_score_changes", **requires(queries.changes_of))
async def list_score_changes(work: OpenWork, score: str) -> ScoreChanges:
    """Lists the changes of a score, oldest first, with who made each, why, and the values before it; also if it was
    removed.
    """
    rows = await queries.changes_of(work, row_id("score", score))
    return ScoreChanges(items=[_change(row) for row in rows])


@router.get("/scores", operation_id="list_scores", **requires(queries.scores))
async def list_scores(
    work: OpenWork,
    request: Request,
    response: Response,
    student: Annotated[str | None, Query(description="An id or an external id.")] = None,
    measure: Annotated[str | None, Query(description="A code or an id.")] = None,
    since: Annotated[Day | None, Query(description="Only scores taken on this day or later.")] = None,
    until: Annotated[Day | None, Query(description="Only scores taken on this day or before.")] = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Score]:
    """Lists the scores within the caller's reach, in the order in which they were recorded."""
    filters = queries.ScoreFilter(
        student_id=await student_id(work, student),
        measure_id=(await measure_named(work, measure, "/measure")).id if measure else None,
        since=since,
        until=until,
    )
    filter_values = {name: getattr(filters, name) for name in filters.__slots__}
    page = await queries.scores(work, page_keyset(work, "scores", filter_values, after, limit), filters)
    items, next_cursor = to_page(request, response, page, score_shape)
    return Items(items=items, next=next_cursor)


def _recorded(result: evidence.RecordedScore) -> RecordedScore:
    return RecordedScore.model_construct(
        outcome=cast(Outcome, result.outcome),
        score=score_shape(result.score) if result.score else None,
        violations=[
            ViolationShape(pointer=violation.pointer, code=violation.code, detail=violation.detail)
            for violation in result.violations
        ],
    )


def _change(row: models.ScoreChange) -> ScoreChange:
    return ScoreChange.model_construct(
        version=row.version,
        action=cast(Any, row.action),
        because=row.because,
        before=row.before,
        changed_by=ids.format_id("person", row.changed_by) if row.changed_by else None,
        changed_at=row.changed_at,
    )
