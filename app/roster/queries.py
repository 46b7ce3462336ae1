"""Reads the roster: single rows by id or external id, and lists of students, staff, schools and classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Select, any_, cast, select, tuple_

from app.access.listing import at_school, page_of_schools, schools_of_list
from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import NotFound
from app.core.page import Keyset, Page
from app.roster.lookup import IdList, find_row, locate_staff, locate_student, named_students, page_by_id, within_reach
from app.roster.models import (
    Demographics,
    Enrollment,
    Org,
    Person,
    SchoolClass,
)
from app.roster.references import parse


@dataclass(frozen=True, slots=True)
class StudentFilter:
    """The filters of a list of students. A student is in the list if all filters that are set apply to the student."""

    school_id: UUID | None = None
    class_id: UUID | None = None
    grade: str | None = None
    family_name: str | None = None
    include_departed: bool = False


@needs(Can.READ_ROSTER)
async def find_student(work: Work, name: str, pointer: str | None = None) -> Person:
    """Returns the student whose id or external id is `name`.

    If there is no such student, raises `NotFound`, or `Invalid` if `pointer` says where in a request's body the name
    was.
    """
    return await locate_student(work, name, pointer)


@needs(Can.READ_ROSTER)
async def find_staff(work: Work, name: str, pointer: str | None = None) -> Person:
    """Returns the member of staff whose id or external id is `name`; raises the same errors as `find_student`."""
    return await locate_staff(work, name, pointer)


@needs(Can.READ_ROSTER)
async def find_school(work: Work, name: str, pointer: str | None = None) -> Org:
    """Returns the org whose id or external id is `name`; raises the same errors as `find_student`."""
    return await find_row(work, Org, parse("org", name, pointer), pointer)


@needs(Can.READ_ROSTER)
async def find_class(work: Work, name: str, pointer: str | None = None) -> SchoolClass:
    """Returns the class whose id or external id is `name`; raises the same errors as `find_student`."""
    return await find_row(work, SchoolClass, parse("class", name, pointer), pointer)


@needs(Can.READ_ROSTER)
async def students(work: Work, keyset: Keyset, filters: StudentFilter) -> Page[Person]:
    """Returns a page of the students that match the filters, by family name, given name and id."""
    query = _people(work).where(Person.is_student, within_reach(work, Person.id))
    if not filters.include_departed:
        query = query.where(Person.removed_at.is_(None))
    schools = None if filters.class_id is not None else schools_of_list(work, filters.school_id)
    query = query.where(at_school(Person, filters.school_id, schools))
    if filters.grade is not None:
        query = query.where(Person.grades.contains([filters.grade]))
    if filters.family_name is not None:
        query = query.where(Person.family_name == filters.family_name)
    if filters.class_id is not None:
        query = query.where(Person.id.in_(_members(work, filters.class_id, is_student=True)))
    page = await _by_name(work, keyset, query, schools)
    work.disclose("student", (person.id for person in page.rows))
    return page


@needs(Can.READ_ROSTER)
async def staff(work: Work, keyset: Keyset, class_id: UUID | None = None) -> Page[Person]:
    """Returns a page of staff by family name, given name and id. With `class_id`, only the staff of this class."""
    query = _people(work).where(~Person.is_student, Person.removed_at.is_(None))
    if class_id is not None:
        query = query.where(Person.id.in_(_members(work, class_id, is_student=False)))
    return await _by_name(work, keyset, query)


@needs(Can.READ_ROSTER)
async def schools(work: Work, keyset: Keyset) -> Page[Org]:
    """Returns a page of the schools, in the order of their ids. A school is an org of the type `school`."""
    query = select(Org).where(Org.district_id == work.district_id, Org.type == "school", Org.removed_at.is_(None))
    return await page_by_id(work, keyset, query, Org.id)


@needs(Can.READ_ROSTER)
async def classes(work: Work, keyset: Keyset, school_id: UUID | None = None) -> Page[SchoolClass]:
    """Returns a page of classes by id. With `school_id`, only the classes of this school."""
    query = select(SchoolClass).where(SchoolClass.district_id == work.district_id, SchoolClass.removed_at.is_(None))
    if school_id is not None:
        query = query.where(SchoolClass.school_id == school_id)
    return await page_by_id(work, keyset, query, SchoolClass.id)


@needs(Can.READ_ROSTER)
async def enrollments_of(work: Work, person_ids: list[UUID]) -> list[Enrollment]:
    """Returns the current enrollments of these people."""
    rows = await work.db.scalars(
        select(Enrollment)
        .where(
            Enrollment.district_id == work.district_id,
            Enrollment.person_id == any_(cast(person_ids, IdList)),
            Enrollment.removed_at.is_(None),
        )
        .order_by(Enrollment.id)
    )
    return list(rows)


@needs(Can.READ_DEMOGRAPHICS)
async def demographics_of(work: Work, student_id: UUID) -> Demographics:
    """Returns a student's demographics; raises `NotFound`."""
    row = await work.db.scalar(
        select(Demographics).where(
            Demographics.district_id == work.district_id,
            Demographics.person_id == student_id,
            Demographics.removed_at.is_(None),
        )
    )
    if row is None:
        raise NotFound("demographics")
    work.disclose("demographics", [student_id])
    return row


def _people(work: Work) -> Select[Person]:
    return select(Person).where(Person.district_id == work.district_id, Person.merged_into.is_(None))


def _members(work: Work, class_id: UUID, *, is_student: bool) -> Select[UUID]:
    return select(Enrollment.person_id).where(
        Enrollment.district_id == work.district_id,
        Enrollment.class_id == class_id,
        Enrollment.is_student == is_student,
        Enrollment.removed_at.is_(None),
    )


async def _by_name(
    work: Work, keyset: Keyset, query: Select[Person], schools: Sequence[UUID] | None = None
) -> Page[Person]:
    order = (Person.family_name, Person.given_name, Person.id)
    if keyset.after is not None:
        person_id = keyset.after_id(2)
        query = query.where(tuple_(*order) > tuple_(str(keyset.after[0]), str(keyset.after[1]), person_id))
    if schools is not None:
        named = named_students(work, Person)
        query = page_of_schools(query, Person, order, schools, keyset.limit + 1, named)
    rows = (await work.db.scalars(query.order_by(*order).limit(keyset.limit + 1))).all()
    return keyset.cut(rows, lambda person: (person.family_name, person.given_name, str(person.id)))
