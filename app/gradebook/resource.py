"""Declares the public shapes of the gradebook: results, results of assessments, line items. Only a sync writes them."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column

from app.access.permission import Can
from app.gradebook.models import AssessmentLineItem, AssessmentResult, Category, LineItem, Result
from app.resources.declare import Join, Link, Resource
from app.resources.fields import field, one, reference, stored
from app.resources.listing import Filter
from app.resources.members import Id, One
from app.resources.values import Value, item
from app.roster.filters import by_class
from app.roster.models import Person, SchoolClass
from app.roster.resource import StudentResource
from app.roster.schools import ClassResource

NO_OBJECTIVES: ColumnElement[Any] = literal_column("'[]'::jsonb")


class ObjectiveValue(Value):
    """A learning objective of a result, and the student's score for this objective."""

    source: str | None = item("Where the objective is defined.", "case")
    id: str = item("The objective's id in that source.", "RF.3.4")
    score: float | None = item("The score in this objective.", 3.0)
    text_score: str | None = item("The score in this objective, as text.", "Proficient")


class ResultResource(
    Resource[Result],
    kind="result",
    requires=Can.READ_GRADES,
    about=Result.student_id,
    discloses="grade",
    visible=Result.removed_at.is_(None),
    joins=(
        Join(LineItem, LineItem.id == Result.line_item_id),
        Join(Category, Category.id == LineItem.category_id, outer=True),
    ),
    name="Result",
    node=False,
):
    """A student's result for a line item, as the SIS delivered it."""

    student: One[StudentResource] = one(Result.student_id, StudentResource, "The student.")
    line_item_id: Id = reference(Result.line_item_id, "line_item", "The line item.", rest="line_item")
    title: str = field(LineItem.title, "The title of the line item.", "Unit 3 quiz")
    class_id: Id | None = reference(func.coalesce(Result.class_id, LineItem.class_id), "class", "The class.")
    category: str | None = field(Category.title, "The category's title.", "Quiz")
    score: float | None = field(
        Result.score, "May exceed the highest value (extra credit), and may be missing (exempt).", 18.0
    )
    text_score: str | None = field(Result.text_score, "The score as text.", "B")
    score_status: str | None = field(Result.score_status, "The status in the SIS's own words.", "fully graded")
    score_date: date | None = field(Result.score_date, "The day of the score.")
    result_value_min: float | None = field(LineItem.result_value_min, "The lowest value of the line item.", 0.0)
    result_value_max: float | None = field(LineItem.result_value_max, "The highest value of the line item.", 20.0)
    in_progress: bool | None = field(Result.in_progress, "Whether the SIS says so.")
    incomplete: bool | None = field(Result.incomplete, "Whether the SIS says so.")
    late: bool | None = field(Result.late, "Whether the SIS says so.")
    missing: bool | None = field(Result.missing, "Whether the SIS says so.")
    comment: str | None = field(Result.comment, "The teacher's comment.", "Show your steps.")
    learning_objectives: list[ObjectiveValue] = stored(
        func.coalesce(Result.learning_objectives, NO_OBJECTIVES), "The learning objectives of the result."
    )


class AssessmentResultResource(
    Resource[AssessmentResult],
    kind="assessment_result",
    requires=Can.READ_GRADES,
    about=AssessmentResult.student_id,
    discloses="grade",
    visible=AssessmentResult.removed_at.is_(None),
    joins=(Join(AssessmentLineItem, AssessmentLineItem.id == AssessmentResult.assessment_line_item_id),),
    name="AssessmentResult",
    node=False,
):
    """A student's result for an assessment, as the SIS delivered it."""

    student: One[StudentResource] = one(AssessmentResult.student_id, StudentResource, "The student.")
    assessment_id: Id = reference(
        AssessmentResult.assessment_line_item_id, "assessment", "The assessment.", rest="assessment"
    )
    title: str = field(AssessmentLineItem.title, "The title of the assessment.", "State reading test")
    score: float | None = field(AssessmentResult.score, "The score.", 512.0)
    score_percentile: float | None = field(AssessmentResult.score_percentile, "The percentile.", 41.0)
    text_score: str | None = field(AssessmentResult.text_score, "The score as text.", "Level 2")
    score_status: str | None = field(AssessmentResult.score_status, "The status in the SIS's own words.", "exempt")
    score_date: date | None = field(AssessmentResult.score_date, "The day of the score.")
    result_value_min: float | None = field(
        AssessmentLineItem.result_value_min, "The lowest value of the assessment.", 200.0
    )
    result_value_max: float | None = field(
        AssessmentLineItem.result_value_max, "The highest value of the assessment.", 800.0
    )
    in_progress: bool | None = field(AssessmentResult.in_progress, "Whether the SIS says so.")
    incomplete: bool | None = field(AssessmentResult.incomplete, "Whether the SIS says so.")
    late: bool | None = field(AssessmentResult.late, "Whether the SIS says so.")
    missing: bool | None = field(AssessmentResult.missing, "Whether the SIS says so.")
    comment: str | None = field(AssessmentResult.comment, "The comment.", "Taken on paper.")
    learning_objectives: list[ObjectiveValue] = stored(
        func.coalesce(AssessmentResult.learning_objectives, NO_OBJECTIVES), "The learning objectives of the result."
    )


class LineItemResource(
    Resource[LineItem],
    kind="line_item",
    requires=Can.READ_GRADES,
    visible=LineItem.removed_at.is_(None),
    joins=(Join(Category, Category.id == LineItem.category_id, outer=True),),
    name="LineItem",
    node=False,
):
    """A piece of work in a class for which results are given."""

    class_id: Id | None = reference(LineItem.class_id, "class", "The class.")
    title: str = field(LineItem.title, "The title.", "Unit 3 quiz")
    description: str | None = field(LineItem.description, "What it is.", "Fractions")
    category: str | None = field(Category.title, "The category's title.", "Quiz")
    assigned_at: datetime | None = field(LineItem.assigned_at, "When it was assigned.")
    due_at: datetime | None = field(LineItem.due_at, "When it is due.")
    result_value_min: float | None = field(LineItem.result_value_min, "The lowest value.", 0.0)
    result_value_max: float | None = field(LineItem.result_value_max, "The highest value.", 20.0)


LINKS = (
    Link(
        StudentResource,
        "results",
        ResultResource,
        Result.student_id == Person.id,
        "The student's results, in the order in which they arrived.",
        order=(Result.id,),
        paged=True,
        filters=(
            by_class(lambda class_id: func.coalesce(Result.class_id, LineItem.class_id) == class_id),
            Filter(
                "since",
                date,
                lambda day: Result.score_date >= day,
                "Only results scored on this day or later.",
                date(2026, 9, 1),
            ),
            Filter(
                "until",
                date,
                lambda day: Result.score_date <= day,
                "Only results scored on this day or before.",
                date(2026, 12, 18),
            ),
        ),
    ),
    Link(
        StudentResource,
        "assessment_results",
        AssessmentResultResource,
        AssessmentResult.student_id == Person.id,
        "The student's results in assessments, in the order in which they arrived.",
        order=(AssessmentResult.id,),
        paged=True,
    ),
    Link(
        ClassResource,
        "line_items",
        LineItemResource,
        LineItem.class_id == SchoolClass.id,
        "The class's line items, in the order in which they arrived.",
        order=(LineItem.id,),
        paged=True,
    ),
)
