"""Owns how a list is bound to schools, so that a btree serves a page of it whatever the school's size. Reads no row.

An index on `school_ids` cannot be used under row-level security, whose conditions come before what an array operator
says. So a listed table names the student's first three schools in columns of their own, each with an index in the
list's order; a student of four schools or more is in an index of its own.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Computed, Select, and_, any_, cast, func, or_, select, true, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.access.principal import Reach
from app.access.work import Work

Ids = ARRAY(PgUUID)


def _school(place: int) -> Mapped[UUID | None]:
    return mapped_column(PgUUID, Computed(f"school_ids[{place}]", persisted=True), nullable=True, deferred=True)


class ListedBySchool:
    """A row that lists by school find: PostgreSQL takes the student's first three schools from `school_ids`."""

    __mapper_args__: ClassVar[dict[str, Any]] = {"eager_defaults": False}

    school_ids: Mapped[list[UUID]] = mapped_column(Ids)
    school_id: Mapped[UUID | None] = _school(1)
    second_school_id: Mapped[UUID | None] = _school(2)
    third_school_id: Mapped[UUID | None] = _school(3)
    has_more_schools: Mapped[bool | None] = mapped_column(
        Computed("CASE WHEN cardinality(school_ids) > 3 THEN true END", persisted=True), nullable=True, deferred=True
    )


Listed = TypeVar("Listed", bound=ListedBySchool)


def schools_of_list(work: Work, school_id: UUID | None) -> tuple[UUID, ...] | None:
    """Returns the schools that bind a list: the one asked for, else those that the principal reaches; None for all."""
    if work.principal.reach is Reach.CASELOAD:
        return None  # an index on the student serves those; the school is one more condition
    if school_id is not None:
        return (school_id,)
    return work.principal.schools if work.principal.reach is Reach.SCHOOLS else None


def at_school(
    model: type[ListedBySchool], school_id: UUID | None, schools: Sequence[UUID] | None
) -> ColumnElement[bool]:
    """The condition that a row's student is at a school; always true where `page_of_schools` is given the school."""
    if school_id is None or schools is not None:
        return true()
    return or_(
        *(column == school_id for column in _columns(model)),
        and_(model.has_more_schools.is_(True), model.school_ids.contains([school_id])),
    )


def page_of_schools(
    query: Select[Listed], model: type[Listed], order: Sequence[Any], schools: Sequence[UUID], limit: int
) -> Select[Listed]:
    """Returns the query bound to its first rows, in this order, at these schools; `order` ends with the row's id."""
    asked = func.unnest(cast(list(schools), Ids)).table_valued("id", name="asked_school").render_derived()
    names = [column.key for column in order]
    arms: list[Select[Any]] = []
    for column in _columns(model):
        arm = query.with_only_columns(*order, maintain_column_froms=True).where(column == asked.c.id)
        first = arm.order_by(*order).limit(limit).correlate(asked).lateral()
        arms.append(select(*(first.c[name] for name in names)).join_from(asked, first, true()))
    more = query.with_only_columns(*order, maintain_column_froms=True).where(
        model.has_more_schools.is_(True), model.school_ids.overlap(list(schools))
    )
    arms.append(select(*more.order_by(*order).limit(limit).subquery().c))
    rows = union_all(*arms).subquery()
    columns = [rows.c[name] for name in names]
    firsts = select(*columns).distinct().order_by(*columns).limit(limit).subquery()
    # As an array: of a join the planner would believe that it has a row or two, and might read all of the table.
    ids = func.array(select(firsts.c[names[-1]]).scalar_subquery(), type_=Ids)
    return query.where(order[-1] == any_(ids))


def _columns(model: type[ListedBySchool]) -> tuple[Any, ...]:
    return model.school_id, model.second_school_id, model.third_school_id
