"""Reads the gradebook: a student's results, a class's line items. Never judges them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, any_, cast, func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.page import Keyset, Page
from app.gradebook.models import AssessmentLineItem, AssessmentResult, Category, LineItem, Result
from app.roster.lookup import IdList, page_by_id, within_reach

Rows = TypeVar("Rows", "Select[Result, LineItem, Category]", "Select[AssessmentResult, AssessmentLineItem]")


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """The filters of a list of results; a result must match all that are set. The first and the last day are
    included.
    """

    class_id: UUID | None = None
    line_item_id: UUID | None = None
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Graded:
    """A result with the line item that it was given for, and that item's category."""

    result: Result
    item: LineItem
    category: Category | None


@dataclass(frozen=True, slots=True)
class Assessed:
    """A result of an assessment, with the assessment's row."""

    result: AssessmentResult
    item: AssessmentLineItem


@needs(Can.READ_GRADES)
async def results_of(work: Work, keyset: Keyset, student_id: UUID, criteria: ResultFilter) -> Page[Graded]:
    """Returns a page of a student's results, in the order in which they were imported."""
    query = (
        select(Result, LineItem, Category)
        .join(LineItem, (LineItem.district_id == Result.district_id) & (LineItem.id == Result.line_item_id))
        .outerjoin(Category, (Category.district_id == work.district_id) & (Category.id == LineItem.category_id))
        .where(
            Result.district_id == work.district_id,
            LineItem.district_id == work.district_id,
            Result.student_id == student_id,
            Result.removed_at.is_(None),
            within_reach(work, Result.student_id),
        )
    )
    if criteria.class_id is not None:
        query = query.where(func.coalesce(Result.class_id, LineItem.class_id) == criteria.class_id)
    if criteria.line_item_id is not None:
        query = query.where(Result.line_item_id == criteria.line_item_id)
    if criteria.since is not None:
        query = query.where(Result.score_date >= criteria.since)
    if criteria.until is not None:
        query = query.where(Result.score_date <= criteria.until)
    page = _to_page(keyset, (await work.db.execute(_after_cursor(query, keyset, Result.id))).all())
    work.disclose("grade", (row[0].student_id for row in page.rows))
    return Page([Graded(*row) for row in page.rows], page.next)


@needs(Can.READ_GRADES)
async def assessment_results_of(work: Work, keyset: Keyset, student_id: UUID) -> Page[Assessed]:
    """Returns a page of a student's results in assessments, in the order in which they were imported."""
    query = (
        select(AssessmentResult, AssessmentLineItem)
        .join(AssessmentLineItem, AssessmentLineItem.id == AssessmentResult.assessment_line_item_id)
        .where(
            AssessmentResult.district_id == work.district_id,
            AssessmentLineItem.district_id == work.district_id,
            AssessmentResult.student_id == student_id,
            AssessmentResult.removed_at.is_(None),
            within_reach(work, AssessmentResult.student_id),
        )
    )
    page = _to_page(keyset, (await work.db.execute(_after_cursor(query, keyset, AssessmentResult.id))).all())
    work.disclose("grade", (row[0].student_id for row in page.rows))
    return Page([Assessed(*row) for row in page.rows], page.next)


@needs(Can.READ_GRADES)
async def line_items_of(work: Work, keyset: Keyset, class_id: UUID) -> Page[LineItem]:
    """Returns a page of a class's line items, in the order in which they were imported."""
    query = select(LineItem).where(
        LineItem.district_id == work.district_id, LineItem.class_id == class_id, LineItem.removed_at.is_(None)
    )
    page: Page[LineItem] = await page_by_id(work, keyset, query, LineItem.id)
    return page


@needs(Can.READ_GRADES)
async def categories_by_id(work: Work, category_ids: Sequence[UUID]) -> dict[UUID, Category]:
    """Returns the categories with these ids that exist, keyed by id."""
    rows = await work.db.scalars(
        select(Category).where(
            Category.district_id == work.district_id, Category.id == any_(cast(list(category_ids), IdList))
        )
    )
    return {row.id: row for row in rows}


def _after_cursor(query: Rows, keyset: Keyset, column: InstrumentedAttribute[UUID]) -> Rows:
    if keyset.after is not None:
        query = query.where(column > keyset.after_id())
    return query.order_by(column).limit(keyset.limit + 1)


def _to_page(keyset: Keyset, rows: Sequence[Any]) -> Page[Any]:
    return keyset.cut(rows, lambda row: (str(row[0].id),))
