"""Grades in REST: shapes and routes, without rules."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.gradebook import models, queries
from app.rest.door import After, Limit, OpenWork, StudentPath, requires
from app.rest.pages import Items, Shape, page_keyset, to_page
from app.rest.route import Route
from app.rest.values import Day
from app.roster.queries import find_class, find_student

router = APIRouter(prefix="/v1", tags=["grades"], route_class=Route)


class Objective(Shape):
    """A learning objective, with the student's result in it."""

    source: str | None
    id: str
    score: float | None
    text_score: str | None


class Scored(Shape):
    """The fields that results of line items and of assessments share, as the SIS delivers them."""

    id: str
    student: str
    title: str = Field(description="The title of the line item or assessment.")
    score: float | None = Field(description="May exceed the highest value (extra credit), and may be missing (exempt).")
    text_score: str | None
    score_status: str | None = Field(description="The status in the SIS's own words.")
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
    """A piece of graded work in a class."""

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
    shared_fields = (
        "score",
        "text_score",
        "score_status",
        "score_date",
        "in_progress",
        "incomplete",
        "late",
        "missing",
    )
    return {
        "student": ids.format_id("student", row.student_id),
        "title": item.title,
        **{name: getattr(row, name) for name in (*shared_fields, "comment")},
        "result_value_min": item.result_value_min,
        "result_value_max": item.result_value_max,
        "learning_objectives": [
            Objective.model_construct(**{name: objective.get(name) for name in Objective.model_fields})
            for objective in row.learning_objectives or []
        ],
    }


def result_shape(graded: queries.Graded) -> Result:
    """Returns a result in REST's shape."""
    class_id = graded.result.class_id or graded.item.class_id
    return Result.model_construct(
        **_scored(graded.result, graded.item),
        id=ids.format_id("result", graded.result.id),
        line_item=ids.format_id("line_item", graded.item.id),
        class_id=ids.format_id("class", class_id) if class_id else None,
        category=graded.category.title if graded.category else None,
    )


def assessment_result_shape(assessed: queries.Assessed) -> AssessmentResult:
    """Returns a result of an assessment in REST's shape."""
    return AssessmentResult.model_construct(
        **_scored(assessed.result, assessed.item),
        id=ids.format_id("assessment_result", assessed.result.id),
        assessment=ids.format_id("assessment", assessed.item.id),
        score_percentile=assessed.result.score_percentile,
    )


@router.get(
    "/students/{student}/results",
    operation_id="list_results_of_student",
    **requires(find_student, queries.results_of),
)
async def list_results_of_student(
    work: OpenWork,
    request: Request,
    response: Response,
    student: StudentPath,
    class_: Annotated[str | None, Query(alias="class", description="An id or an external id.")] = None,
    since: Annotated[Day | None, Query(description="Only results scored on this day or later.")] = None,
    until: Annotated[Day | None, Query(description="Only results scored on this day or before.")] = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Result]:
    """Lists a student's results, in the order in which they were imported."""
    student_id = (await find_student(work, student)).id
    class_id = (await find_class(work, class_, "/class")).id if class_ else None
    filters = queries.ResultFilter(class_id=class_id, since=since, until=until)
    filter_values = {"student": student_id, "class": class_id, "since": since, "until": until}
    page = await queries.results_of(
        work, page_keyset(work, "results", filter_values, after, limit), student_id, filters
    )
    items, next_cursor = to_page(request, response, page, result_shape)
    return Items(items=items, next=next_cursor)


@router.get(
    "/students/{student}/assessment-results",
    operation_id="list_assessment_results_of_student",
    **requires(find_student, queries.assessment_results_of),
)
async def list_assessment_results_of_student(
    work: OpenWork,
    request: Request,
    response: Response,
    student: StudentPath,
    after: After = None,
    limit: Limit = None,
) -> Items[AssessmentResult]:
    """Lists a student's results in assessments, in the order in which they were imported."""
    student_id = (await find_student(work, student)).id
    keyset = page_keyset(work, "assessment_results", {"student": student_id}, after, limit)
    page = await queries.assessment_results_of(work, keyset, student_id)
    items, next_cursor = to_page(request, response, page, assessment_result_shape)
    return Items(items=items, next=next_cursor)


@router.get(
    "/classes/{class_}/line-items",
    operation_id="list_line_items",
    **requires(find_class, queries.line_items_of, queries.categories_by_id),
)
async def list_line_items(
    work: OpenWork,
    request: Request,
    response: Response,
    class_: Annotated[str, Path(description="A class's id, or sis:<source>:<sourcedId>.")],
    after: After = None,
    limit: Limit = None,
) -> Items[LineItem]:
    """Lists a class's line items, in the order in which they were imported."""
    class_id = (await find_class(work, class_)).id
    keyset = page_keyset(work, "line_items", {"class": class_id}, after, limit)
    page = await queries.line_items_of(work, keyset, class_id)
    category_ids = {row.category_id for row in page.rows if row.category_id is not None}
    categories = await queries.categories_by_id(work, sorted(category_ids))

    def shape(row: models.LineItem) -> LineItem:
        category = categories.get(row.category_id) if row.category_id else None
        return LineItem.model_construct(
            **{name: getattr(row, name) for name in ("title", "description", "assigned_at", "due_at")},
            id=ids.format_id("line_item", row.id),
            class_id=ids.format_id("class", row.class_id) if row.class_id else None,
            category=category.title if category else None,
            result_value_min=row.result_value_min,
            result_value_max=row.result_value_max,
        )

    items, next_cursor = to_page(request, response, page, shape)
    return Items(items=items, next=next_cursor)
