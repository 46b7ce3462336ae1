"""Builds list queries that are restricted to schools. PostgreSQL finds every page of every school by an index.

An index on the array `school_ids` would be useless here. PostgreSQL evaluates the conditions of a row-level security
policy before an array operator, so it would read every row first. Tables that are listed therefore have a column for
each of the student's first three schools, with an index in the sort order of the list. Students of four or more schools
are in a separate index.
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
    """Mixin for rows that are listed by school.

    PostgreSQL fills three columns with the first three schools in `school_ids`, so that an index by school can be used.
    """

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
    """Returns the schools that a list is restricted to, or None if it is not restricted.

    These are the requested school if there is one, otherwise the principal's schools.
    """
    if work.principal.reach is Reach.CASELOAD:
        return None  # an index on the student serves these lists; the school is an additional condition
    if school_id is not None:
        return (school_id,)
    return work.principal.schools if work.principal.reach is Reach.SCHOOLS else None


def at_school(
    model: type[ListedBySchool], school_id: UUID | None, schools: Sequence[UUID] | None
) -> ColumnElement[bool]:
    """Returns an SQL condition on the rows of `model`: the row's student is at the school `school_id`.

    The condition is always true if `school_id` is None. It is also always true if `schools` is given, because the
    caller then restricts the list with `page_of_schools` instead.
    """
    if school_id is None or schools is not None:
        return true()
    return or_(
        *(column == school_id for column in _columns(model)),
        and_(model.has_more_schools.is_(True), model.school_ids.contains([school_id])),
    )


def page_of_schools(
    query: Select[Listed],
    model: type[Listed],
    order: Sequence[Any],
    schools: Sequence[UUID],
    limit: int,
    named: ColumnElement[bool] | None = None,
) -> Select[Listed]:
    """Returns the query for the first `limit` rows whose students are at one of `schools`, or that satisfy `named`.

    `named` is a condition for students of other schools whom the caller sees through a team. `order` lists the columns
    of the sort order and ends with the row's id.
    """
    requested = func.unnest(cast(list(schools), Ids)).table_valued("id", name="asked_school").render_derived()
    names = [column.key for column in order]
    arms: list[Select[Any]] = []
    for column in _columns(model):
        arm = query.with_only_columns(*order, maintain_column_froms=True).where(column == requested.c.id)
        first = arm.order_by(*order).limit(limit).correlate(requested).lateral()
        arms.append(select(*(first.c[name] for name in names)).join_from(requested, first, true()))
    more = query.with_only_columns(*order, maintain_column_froms=True).where(
        model.has_more_schools.is_(True), model.school_ids.overlap(list(schools))
    )
    arms.append(select(*more.order_by(*order).limit(limit).subquery().c))
    if named is not None:
        others = query.with_only_columns(*order, maintain_column_froms=True).where(named)
        arms.append(select(*others.order_by(*order).limit(limit).subquery().c))
    rows = union_all(*arms).subquery()
    columns = [rows.c[name] for name in names]
    first_ids = select(*columns).distinct().order_by(*columns).limit(limit).subquery()
    # An array instead of a join, because the planner would misjudge the size of the join and might scan the whole
    # table.
    ids = func.array(select(first_ids.c[names[-1]]).scalar_subquery(), type_=Ids)
    return query.where(order[-1] == any_(ids))


def _columns(model: type[ListedBySchool]) -> tuple[Any, ...]:
    return model.school_id, model.second_school_id, model.third_school_id
