"""Defines the gradebook's tables. Like the roster, the gradebook comes from SIS sources, and only a sync writes it."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.roster.models import FromSource, Ids, Texts


class Category(FromSource, Base):
    """A category of line items, such as homework, quiz or test.

    `weight` is a percentage, or null if the source sends none.
    """

    __tablename__ = "category"

    title: Mapped[str]
    weight: Mapped[float | None]


class ScoreScale(FromSource, Base):
    """A scale that translates scores into names, for one class.

    Each of `scale_values` has OneRoster's form `{LHS:RHS}`, which is a name and its scores, such as `{A:90-100}`.
    """

    __tablename__ = "score_scale"

    title: Mapped[str]
    type: Mapped[str | None]
    org_id: Mapped[UUID | None]
    course_id: Mapped[UUID | None]
    class_id: Mapped[UUID | None]
    scale_values: Mapped[list[str]] = mapped_column(Texts)


class ScoredItem(FromSource):
    """Mixin with the columns that line items and assessments share.

    `learning_objectives` is a sorted list of `{"source", "id"}`.
    """

    title: Mapped[str]
    description: Mapped[str | None]
    class_id: Mapped[UUID | None]
    score_scale_id: Mapped[UUID | None]
    result_value_min: Mapped[float | None]
    result_value_max: Mapped[float | None]
    learning_objectives: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))


class LineItem(ScoredItem, Base):
    """A line item of OneRoster: a piece of work in a class for which results are given."""

    __tablename__ = "line_item"

    assigned_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    category_id: Mapped[UUID | None]
    grading_period_id: Mapped[UUID | None]
    academic_session_id: Mapped[UUID | None]
    school_id: Mapped[UUID | None]


class AssessmentLineItem(ScoredItem, Base):
    """An assessment, or a part of the assessment that `parent_id` refers to."""

    __tablename__ = "assessment_line_item"

    parent_id: Mapped[UUID | None]


class StudentResult(FromSource):
    """Mixin with the columns that all results share.

    * `score` may be above the line item's highest value (extra credit), or missing (exempt).
    * `score_status` is the source's own value.
    * `comment` is free text and may contain personal facts about a child.
    * `learning_objectives` is a sorted list of `{"source", "id", "score", "text_score"}`.
    """

    student_id: Mapped[UUID]
    school_ids: Mapped[list[UUID]] = mapped_column(Ids)
    score_scale_id: Mapped[UUID | None]
    score_status: Mapped[str | None]
    score: Mapped[float | None]
    text_score: Mapped[str | None]
    score_date: Mapped[date | None]
    comment: Mapped[str | None]
    in_progress: Mapped[bool | None]
    incomplete: Mapped[bool | None]
    late: Mapped[bool | None]
    missing: Mapped[bool | None]
    learning_objectives: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    source_id: Mapped[UUID]
    sourced_id: Mapped[str]


class Result(StudentResult, Base):
    """A student's result for a line item."""

    __tablename__ = "result"

    line_item_id: Mapped[UUID]
    class_id: Mapped[UUID | None]


class AssessmentResult(StudentResult, Base):
    """A student's result for an assessment."""

    __tablename__ = "assessment_result"

    assessment_line_item_id: Mapped[UUID]
    score_percentile: Mapped[float | None]
