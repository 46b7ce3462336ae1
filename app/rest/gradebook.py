"""Owns grades in REST: shapes and routes, no rule."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.gradebook import models, queries
from app.rest.door import After, Limit, Opened, StudentPath, asks
from app.rest.pages import Items, Shape, paged, place
from app.rest.route import Route
from app.roster.queries import find_class, find_student

router = APIRouter(prefix="/v1", tags=["grades"], route_class=Route)


class Objective(Shape):
    """A learning objective, with what was reached in it."""

    source: str | None
    id: str
    score: float | None
    text_score: str | None


class Scored(Shape):
    """What a student has reached, as the SIS has it."""

    id: str
    student: str
    title: str = Field(description="Of the line item or assessment.")
    score: float | None = Field(description="May lie above the highest value (extra credit), and be missing (exempt).")
    text_score: str | None
    score_status: str | None = Field(description="In the SIS's own words.")
    score_date: date | None
    result_value_min: float | None
    result_value_max: float | None
    in_progress: bool | None
    incomplete: bool | None
    late: bool | None
    missing: bool | None
    comment: str | None
    learning_objectives: list[Objective]


class Result(Scored):
    """A student's result in a line item."""

    line_item: str
    class_id: str | None
    category: str | None = Field(description="The category's title.")


class AssessmentResult(Scored):
    """A student's result in an assessment."""

    assessment: str
    score_percentile: float | None


class LineItem(Shape):
    """A piece of work of a class."""

    id: str
    class_id: str | None
    title: str
    description: str | None
    category: str | None = Field(description="The category's title.")
    assigned_at: datetime | None
    due_at: datetime | None
    result_value_min: float | None
    result_value_max: float | None


def _scored(
    row: models.Result | models.AssessmentResult, item: models.LineItem | models.AssessmentLineItem
) -> dict[str, Any]:
    same = ("score", "text_score", "score_status", "score_date", "in_progress", "incomplete", "late", "missing")
    return {
        "student": ids.show("student", row.student_id),
        "title": item.title,
        **{name: getattr(row, name) for name in (*same, "comment")},
        "result_value_min": item.result_value_min,
        "result_value_max": item.result_value_max,
        "learning_objectives": [
            Objective.model_construct(**{name: one.get(name) for name in Objective.model_fields})
            for one in row.learning_objectives or []
        ],
    }


def result_shape(one: queries.Graded) -> Result:
    """A result as REST shows it."""
    class_id = one.result.class_id or one.item.class_id
    return Result.model_construct(
        **_scored(one.result, one.item),
        id=ids.show("result", one.result.id),
        line_item=ids.show("line_item", one.item.id),
        class_id=ids.show("class", class_id) if class_id else None,
        category=one.category.title if one.category else None,
    )


def assessment_result_shape(one: queries.Assessed) -> AssessmentResult:
    """A result of an assessment as REST shows it."""
    return AssessmentResult.model_construct(
        **_scored(one.result, one.item),
        id=ids.show("assessment_result", one.result.id),
        assessment=ids.show("assessment", one.item.id),
        score_percentile=one.result.score_percentile,
    )


@router.get(
    "/students/{student}/results",
    operation_id="list_results_of_student",
    **asks(find_student, queries.results_of),
)
async def list_results_of_student(
    work: Opened,
    request: Request,
    response: Response,
    student: StudentPath,
    class_: Annotated[str | None, Query(alias="class", description="An id or an external id.")] = None,
    since: Annotated[date | None, Query(description="Scored on this day or later.")] = None,
    until: Annotated[date | None, Query(description="Scored on this day or before.")] = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Result]:
    """A student's results, in the order in which they came."""
    student_id = (await find_student(work, student)).id
    class_id = (await find_class(work, class_, "/class")).id if class_ else None
    wanted = queries.ResultFilter(class_id=class_id, since=since, until=until)
    told = {"student": student_id, "class": class_id, "since": since, "until": until}
    page = await queries.results_of(work, place(work, "results", told, after, limit), student_id, wanted)
    items, then = paged(request, response, page, result_shape)
    return Items(items=items, next=then)


@router.get(
    "/students/{student}/assessment-results",
    operation_id="list_assessment_results_of_student",
    **asks(find_student, queries.assessment_results_of),
)
async def list_assessment_results_of_student(
    work: Opened,
    request: Request,
    response: Response,
    student: StudentPath,
    after: After = None,
    limit: Limit = None,
) -> Items[AssessmentResult]:
    """A student's results in assessments, in the order in which they came."""
    student_id = (await find_student(work, student)).id
    at = place(work, "assessment_results", {"student": student_id}, after, limit)
    page = await queries.assessment_results_of(work, at, student_id)
    items, then = paged(request, response, page, assessment_result_shape)
    return Items(items=items, next=then)


@router.get(
    "/classes/{class_}/line-items",
    operation_id="list_line_items",
    **asks(find_class, queries.line_items_of, queries.categories_by_id),
)
async def list_line_items(
    work: Opened,
    request: Request,
    response: Response,
    class_: Annotated[str, Path(description="A class's id, or sis:<source>:<sourcedId>.")],
    after: After = None,
    limit: Limit = None,
) -> Items[LineItem]:
    """A class's line items, in the order in which they came."""
    class_id = (await find_class(work, class_)).id
    at = place(work, "line_items", {"class": class_id}, after, limit)
    page = await queries.line_items_of(work, at, class_id)
    wanted = {row.category_id for row in page.rows if row.category_id is not None}
    categories = await queries.categories_by_id(work, sorted(wanted))

    def shape(row: models.LineItem) -> LineItem:
        category = categories.get(row.category_id) if row.category_id else None
        return LineItem.model_construct(
            **{name: getattr(row, name) for name in ("title", "description", "assigned_at", "due_at")},
            id=ids.show("line_item", row.id),
            class_id=ids.show("class", row.class_id) if row.class_id else None,
            category=category.title if category else None,
            result_value_min=row.result_value_min,
            result_value_max=row.result_value_max,
        )

    items, then = paged(request, response, page, shape)
    return Items(items=items, next=then)
