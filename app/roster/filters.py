"""Declares the filters by roster rows, for the lists of all packages: by student, staff, school and class.

A filter's text is an id or an external id `sis:<source>:<sourcedId>`. With a pointer (REST) an unknown row is `Invalid`
at it; without one (GraphQL) any id is accepted, and an unknown external id is `NotFound`.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy import or_
from sqlalchemy.sql.elements import SQLCoreOperations

from app.access.listing import ListedBySchool
from app.access.work import Work
from app.resources.listing import Filter, Resolver
from app.roster.models import FromSource, SchoolClass
from app.roster.queries import find_class, find_school, find_staff, find_student
from app.roster.references import parse

NAMED = "an id, or an external id `sis:<source>:<sourcedId>`"
Find = Callable[[Work, str, str | None], Awaitable[FromSource]]


def by_student(column: SQLCoreOperations[UUID] | SQLCoreOperations[UUID | None]) -> Filter[UUID]:
    """Returns a filter by the student whom a row is about; the index on the student serves it."""
    return Filter(
        "student",
        str,
        lambda student_id: column == student_id,
        f"Only rows about this student: {NAMED}.",
        "stu_01jq4n6d9zf3vbs0x5k2m7e8ta",
        graphql="student_id",
        resolve=resolver("student", find_student),
        bound=UUID,
        narrow=True,
    )


def by_staff(
    *columns: SQLCoreOperations[UUID] | SQLCoreOperations[UUID | None], name: str, description: str
) -> Filter[UUID]:
    """Returns a filter by the member of staff in one of the columns."""
    return Filter(
        name,
        str,
        lambda person_id: or_(*(column == person_id for column in columns)),
        description,
        "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        graphql="staff_id",
        resolve=resolver("person", find_staff),
        bound=UUID,
        narrow=True,
    )


def by_school(model: type[ListedBySchool]) -> Filter[UUID]:
    """Returns a filter by a school of the row's student; the indexes on the model's school columns serve it."""
    return Filter(
        "school",
        str,
        None,
        f"Only rows about students of this school: {NAMED}.",
        "org_01jq4n6d9zf3vbs0x5k2m7e8tc",
        graphql="school_id",
        resolve=resolver("org", find_school),
        bound=UUID,
        schools=model,
    )


def of_school(column: SQLCoreOperations[UUID]) -> Filter[UUID]:
    """Returns a filter by the school in a column."""
    return Filter(
        "school",
        str,
        lambda school_id: column == school_id,
        f"Only rows of this school: {NAMED}.",
        "org_01jq4n6d9zf3vbs0x5k2m7e8tc",
        graphql="school_id",
        resolve=resolver("org", find_school),
        bound=UUID,
        narrow=True,
    )


def by_class(condition: Callable[[UUID], Any]) -> Filter[UUID]:
    """Returns a filter by class; `condition` returns the condition that a row belongs to a class."""
    return Filter(
        "class",
        str,
        condition,
        f"Only those in this class: {NAMED}.",
        "cls_01jq4n6d9zf3vbs0x5k2m7e8td",
        graphql="class_id",
        resolve=resolver("class", find_class),
        bound=UUID,
        narrow=True,
    )


def resolver(kind: str, find: Find | Callable[[Work, str, str | None], Awaitable[SchoolClass]]) -> Resolver:
    """Returns the resolver for ids and external ids of roster rows; `find` checks the permission first."""

    async def resolve(work: Work, text: str, pointer: str | None) -> UUID:
        if pointer is None:
            reference = parse(kind, text)
            if reference.id is not None:
                return reference.id
        return (await find(work, text, pointer)).id

    return resolve
