"""Students and their demographics in REST: shapes and routes, without rules."""

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.access.work import Work
from app.core import ids
from app.rest.door import After, Limit, OpenWork, StudentPath, requires
from app.rest.pages import Items, Shape, page_keyset, to_page
from app.rest.route import Route
from app.roster import models, queries

router = APIRouter(prefix="/v1", tags=["roster"], route_class=Route)


class ExternalIdShape(Shape):
    """A row's id in a source; `sis:<source>:<sourced_id>` is accepted wherever an id is."""

    source: str
    sourced_id: str


class Student(Shape):
    """A student of the roster."""

    id: str
    given_name: str
    family_name: str
    middle_name: str | None
    grades: list[str]
    schools: list[str]
    email: str | None
    identifier: str | None
    departed: bool
    external_ids: list[ExternalIdShape]


class Enrollment(Shape):
    """A person's enrollment in a class; `ends_on` is exclusive."""

    class_id: str
    school: str
    role: str
    begins_on: date | None
    ends_on: date | None


class Demographics(Shape):
    """A student's demographics, which need the scope demographics:read."""

    student: str
    birth_date: date | None
    sex: str | None
    american_indian_or_alaska_native: bool | None
    asian: bool | None
    black_or_african_american: bool | None
    native_hawaiian_or_other_pacific_islander: bool | None
    white: bool | None
    demographic_race_two_or_more_races: bool | None
    hispanic_or_latino_ethnicity: bool | None
    country_of_birth_code: str | None
    state_of_birth_abbreviation: str | None
    city_of_birth: str | None
    public_school_residence_status: str | None


Aliases = dict[UUID, list[tuple[str, str]]]


def student_shape(row: models.Person, aliases: Aliases) -> Student:
    """Returns a student in REST's shape."""
    return Student(
        id=ids.format_id("student", row.id),
        given_name=row.given_name,
        family_name=row.family_name,
        middle_name=row.middle_name,
        grades=row.grades,
        schools=[ids.format_id("org", school) for school in row.school_ids],
        email=row.email,
        identifier=row.identifier,
        departed=row.removed_at is not None,
        external_ids=external_ids(row.id, aliases),
    )


def enrollment_shape(row: models.Enrollment) -> Enrollment:
    """Returns an enrollment in the shape of a student's story."""
    return Enrollment(
        class_id=ids.format_id("class", row.class_id),
        school=ids.format_id("org", row.school_id),
        role=row.role,
        begins_on=row.begins_on,
        ends_on=row.ends_on,
    )


def external_ids(row_id: UUID, aliases: Aliases) -> list[ExternalIdShape]:
    """Returns a row's ids in its sources."""
    return [ExternalIdShape(source=source, sourced_id=name) for source, name in aliases.get(row_id, [])]


@router.get("/students", operation_id="list_students", **requires(queries.students))
async def list_students(
    work: OpenWork,
    request: Request,
    response: Response,
    school: Annotated[str | None, Query(description="An id or an external id.")] = None,
    class_: Annotated[str | None, Query(alias="class", description="An id or an external id.")] = None,
    grade: Annotated[str | None, Query(description="A CEDS code, such as 03.")] = None,
    family_name: str | None = None,
    include_departed: bool = False,
    after: After = None,
    limit: Limit = None,
) -> Items[Student]:
    """Lists the students within the caller's reach, by name."""
    filters = queries.StudentFilter(
        school_id=(await queries.find_school(work, school, "/school")).id if school else None,
        class_id=(await queries.find_class(work, class_, "/class")).id if class_ else None,
        grade=grade,
        family_name=family_name,
        include_departed=include_departed,
    )
    page = await queries.students(work, page_keyset(work, "students", _filter_values(filters), after, limit), filters)
    aliases = await queries.external_ids_of(work, [row.id for row in page.rows])
    items, next_cursor = to_page(request, response, page, lambda row: student_shape(row, aliases))
    return Items(items=items, next=next_cursor)


@router.get("/students/{student}", operation_id="get_student", **requires(queries.find_student))
async def get_student(work: OpenWork, student: StudentPath) -> Student:
    """Returns one student."""
    row = await queries.find_student(work, student)
    return student_shape(row, await queries.external_ids_of(work, [row.id]))


@router.get(
    "/students/{student}/demographics",
    operation_id="get_demographics",
    **requires(queries.find_student, queries.demographics_of),
)
async def get_demographics(work: OpenWork, student: StudentPath) -> Demographics:
    """Returns a student's demographics, which need a scope of their own."""
    row = await queries.demographics_of(work, (await queries.find_student(work, student)).id)
    values = {name: getattr(row, name) for name in Demographics.model_fields if name != "student"}
    return Demographics(student=ids.format_id("student", row.person_id), **values)


def _filter_values(filters: queries.StudentFilter) -> dict[str, object]:
    return {name: getattr(filters, name) for name in filters.__slots__}


async def student_id(work: Work, name: str | None) -> UUID | None:
    """Returns the id of the student in a filter, or None if the filter is not set."""
    return (await queries.find_student(work, name, "/student")).id if name else None


async def school_id(work: Work, name: str | None) -> UUID | None:
    """Returns the id of the school in a filter, or None if the filter is not set."""
    return (await queries.find_school(work, name, "/school")).id if name else None


async def staff_id(work: Work, name: str | None, pointer: str) -> UUID | None:
    """Returns the id of the member of staff in a filter, or None if the filter is not set."""
    return (await queries.find_staff(work, name, pointer)).id if name else None
