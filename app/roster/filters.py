"""Declares the list filters by student, staff, school and class, which the lists of all packages use.

The value of a filter is an id or an external id `sis:<source>:<sourcedId>`. If it belongs to no row, the two APIs
differ:

* In REST, `Invalid` is raised, with a JSON pointer that names the parameter.
* In GraphQL, an unknown external id raises `NotFound`. An id is not looked up, so an unknown id gives an empty list.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
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
    """Returns a filter by the student whom a row is about. The filter uses the index on the student."""
    return _by_row(STUDENT, lambda student_id: column == student_id, f"Only rows about this student: {NAMED}.")


def by_staff(
    *columns: SQLCoreOperations[UUID] | SQLCoreOperations[UUID | None],
    name: str,
    description: str,
    of_adult: tuple[str, ...],
) -> Filter[UUID]:
    """Returns a filter that accepts a row if any of these columns refers to the member of staff.

    `of_adult` has the names of the list's filters, flags and sorts that depend on how students do, such as `state`. A
    request that does not act for a person cannot combine them with this filter.
    """
    in_a_column = _by_row(STAFF, lambda person_id: or_(*(column == person_id for column in columns)), description)
    own = "A request that acts for a person can name only this person. One that acts for nobody cannot combine it with"
    outcomes = "a filter or an order that says how students do, such as `state`"
    return replace(in_a_column, name=name, description=f"{description} {own} {outcomes}.", of_adult=of_adult)


def by_school(model: type[ListedBySchool]) -> Filter[UUID]:
    """Returns a filter by school, which accepts a row if the row's student belongs to the school.

    The filter uses the indexes on the model's school columns.
    """
    of_students = _by_row(SCHOOL, None, f"Only rows about students of this school: {NAMED}.")
    return replace(of_students, narrow=False, schools=model)


def of_staff(condition: Callable[[UUID], Any], *, name: str, description: str) -> Filter[UUID]:
    """Returns a filter by a member of staff. `condition` takes the person's id, and returns the SQL condition."""
    return replace(_by_row(STAFF, condition, description), name=name)


def of_school(column: SQLCoreOperations[UUID] | SQLCoreOperations[UUID | None]) -> Filter[UUID]:
    """Returns a filter by school that accepts a row if the column refers to the school."""
    return _by_row(SCHOOL, lambda school_id: column == school_id, f"Only rows of this school: {NAMED}.")


def by_class(condition: Callable[[UUID], Any]) -> Filter[UUID]:
    """Returns a filter by class.

    `condition` takes the id of a class, and returns the SQL condition that a row belongs to the class.
    """
    return _by_row(CLASS, condition, f"Only those in this class: {NAMED}.")


def resolver(kind: str, find: Find | Callable[[Work, str, str | None], Awaitable[SchoolClass]]) -> Resolver:
    """Returns a function that converts the value of a filter into the id of a roster row.

    `find` looks the row up and checks the permission first.
    """

    async def resolve(work: Work, text: str, pointer: str | None) -> UUID:
        if pointer is None:
            reference = parse(kind, text)
            if reference.id is not None:
                return reference.id
        return (await find(work, text, pointer)).id

    return resolve


@dataclass(frozen=True)
class _Named:
    """A kind of roster row by which lists are filtered: the filter's name in each API, and its resolver."""

    name: str
    graphql: str
    example: str
    resolve: Resolver


STUDENT = _Named("student", "student_id", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta", resolver("student", find_student))
STAFF = _Named("staff", "staff_id", "per_01jq4n6d9zf3vbs0x5k2m7e8tb", resolver("person", find_staff))
SCHOOL = _Named("school", "school_id", "org_01jq4n6d9zf3vbs0x5k2m7e8tc", resolver("org", find_school))
CLASS = _Named("class", "class_id", "cls_01jq4n6d9zf3vbs0x5k2m7e8td", resolver("class", find_class))


def _by_row(named: _Named, condition: Callable[[UUID], Any] | None, description: str) -> Filter[UUID]:
    return Filter(
        named.name,
        str,
        condition,
        description,
        named.example,
        graphql=named.graphql,
        resolve=named.resolve,
        bound=UUID,
        narrow=True,
    )
