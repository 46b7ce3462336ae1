"""Owns the reads of the gradebook: a student's results, a class's line items. Never a judgement of either."""

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
    """Which results: all of these hold. `until` is included."""

    class_id: UUID | None = None
    line_item_id: UUID | None = None
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Graded:
    """A result, and what it was given for."""

    result: Result
    item: LineItem
    category: Category | None


@dataclass(frozen=True, slots=True)
class Assessed:
    """A result of an assessment, and the assessment."""

    result: AssessmentResult
    item: AssessmentLineItem


@needs(Can.READ_GRADES)
async def results_of(work: Work, keyset: Keyset, student_id: UUID, wanted: ResultFilter) -> Page[Graded]:
    """A page of a student's results, in the order in which they came."""
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
    if wanted.class_id is not None:
        query = query.where(func.coalesce(Result.class_id, LineItem.class_id) == wanted.class_id)
    if wanted.line_item_id is not None:
        query = query.where(Result.line_item_id == wanted.line_item_id)
    if wanted.since is not None:
        query = query.where(Result.score_date >= wanted.since)
    if wanted.until is not None:
        query = query.where(Result.score_date <= wanted.until)
    page = _cut(keyset, (await work.db.execute(_placed(query, keyset, Result.id))).all())
    work.disclose("grade", (row[0].student_id for row in page.rows))
    return Page([Graded(*row) for row in page.rows], page.next)


@needs(Can.READ_GRADES)
async def assessment_results_of(work: Work, keyset: Keyset, student_id: UUID) -> Page[Assessed]:
    """A page of a student's results in assessments, in the order in which they came."""
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
    page = _cut(keyset, (await work.db.execute(_placed(query, keyset, AssessmentResult.id))).all())
    work.disclose("grade", (row[0].student_id for row in page.rows))
    return Page([Assessed(*row) for row in page.rows], page.next)


@needs(Can.READ_GRADES)
async def line_items_of(work: Work, keyset: Keyset, class_id: UUID) -> Page[LineItem]:
    """A page of a class's line items, in the order in which they came."""
    query = select(LineItem).where(
        LineItem.district_id == work.district_id, LineItem.class_id == class_id, LineItem.removed_at.is_(None)
    )
    page: Page[LineItem] = await page_by_id(work, keyset, query, LineItem.id)
    return page


@needs(Can.READ_GRADES)
async def categories_by_id(work: Work, category_ids: Sequence[UUID]) -> dict[UUID, Category]:
    """Those of these categories that are there."""
    rows = await work.db.scalars(
        select(Category).where(
            Category.district_id == work.district_id, Category.id == any_(cast(list(category_ids), IdList))
        )
    )
    return {row.id: row for row in rows}


def _placed(query: Rows, keyset: Keyset, column: InstrumentedAttribute[UUID]) -> Rows:
    if keyset.after is not None:
        query = query.where(column > keyset.after_id())
    return query.order_by(column).limit(keyset.limit + 1)


def _cut(keyset: Keyset, rows: Sequence[Any]) -> Page[Any]:
    return keyset.cut(rows, lambda row: (str(row[0].id),))
