"""Schools, classes and staff in REST: shapes and routes, without rules."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.core import ids
from app.rest.door import After, Limit, OpenWork, requires
from app.rest.pages import Items, Shape, page_keyset, to_page
from app.rest.roster import Aliases, ExternalIdShape, external_ids
from app.rest.route import Route
from app.roster import models, queries

router = APIRouter(prefix="/v1", tags=["roster"], route_class=Route)


class Staff(Shape):
    """A member of staff."""

    id: str
    role: str
    given_name: str
    family_name: str
    schools: list[str]
    email: str | None
    external_ids: list[ExternalIdShape]


class School(Shape):
    """A school: an org of the type school."""

    id: str
    name: str
    identifier: str | None
    external_ids: list[ExternalIdShape]


class Class(Shape):
    """A class."""

    id: str
    school: str
    title: str
    code: str | None
    type: str
    grades: list[str]
    subjects: list[str]
    external_ids: list[ExternalIdShape]


@router.get("/staff", operation_id="list_staff", **requires(queries.staff))
async def list_staff(
    work: OpenWork,
    request: Request,
    response: Response,
    class_: Annotated[str | None, Query(alias="class", description="An id or an external id.")] = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Staff]:
    """Lists the staff, by name."""
    class_id = (await queries.find_class(work, class_, "/class")).id if class_ else None
    page = await queries.staff(work, page_keyset(work, "staff", {"class": class_id}, after, limit), class_id)
    aliases = await queries.external_ids_of(work, [row.id for row in page.rows])
    items, next_cursor = to_page(request, response, page, lambda row: _staff(row, aliases))
    return Items(items=items, next=next_cursor)


@router.get("/staff/{person}", operation_id="get_staff", **requires(queries.find_staff))
async def get_staff(work: OpenWork, person: str) -> Staff:
    """Returns one member of staff."""
    row = await queries.find_staff(work, person)
    return _staff(row, await queries.external_ids_of(work, [row.id]))


@router.get("/schools", operation_id="list_schools", **requires(queries.schools))
async def list_schools(
    work: OpenWork, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[School]:
    """Lists the district's schools."""
    page = await queries.schools(work, page_keyset(work, "schools", {}, after, limit))
    aliases = await queries.external_ids_of(work, [row.id for row in page.rows])
    items, next_cursor = to_page(request, response, page, lambda row: _school(row, aliases))
    return Items(items=items, next=next_cursor)


@router.get("/schools/{school}", operation_id="get_school", **requires(queries.find_school))
async def get_school(work: OpenWork, school: str) -> School:
    """Returns one school."""
    row = await queries.find_school(work, school)
    return _school(row, await queries.external_ids_of(work, [row.id]))


@router.get("/classes", operation_id="list_classes", **requires(queries.classes))
async def list_classes(
    work: OpenWork,
    request: Request,
    response: Response,
    school: Annotated[str | None, Query(description="An id or an external id.")] = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Class]:
    """Lists the district's classes."""
    school_id = (await queries.find_school(work, school, "/school")).id if school else None
    page = await queries.classes(work, page_keyset(work, "classes", {"school": school_id}, after, limit), school_id)
    aliases = await queries.external_ids_of(work, [row.id for row in page.rows])
    items, next_cursor = to_page(request, response, page, lambda row: _class(row, aliases))
    return Items(items=items, next=next_cursor)


@router.get("/classes/{class_}", operation_id="get_class", **requires(queries.find_class))
async def get_class(work: OpenWork, class_: str) -> Class:
    """Returns one class."""
    row = await queries.find_class(work, class_)
    return _class(row, await queries.external_ids_of(work, [row.id]))


def _staff(row: models.Person, aliases: Aliases) -> Staff:
    return Staff(
        id=ids.format_id("person", row.id),
        role=row.role,
        given_name=row.given_name,
        family_name=row.family_name,
        schools=[ids.format_id("org", school) for school in row.school_ids],
        email=row.email,
        external_ids=external_ids(row.id, aliases),
    )


def _school(row: models.Org, aliases: Aliases) -> School:
    return School(
        id=ids.format_id("org", row.id),
        name=row.name,
        identifier=row.identifier,
        external_ids=external_ids(row.id, aliases),
    )


def _class(row: models.SchoolClass, aliases: Aliases) -> Class:
    return Class(
        id=ids.format_id("class", row.id),
        school=ids.format_id("org", row.school_id),
        title=row.title,
        code=row.code,
        type=row.type,
        grades=row.grades,
        subjects=row.subjects,
        external_ids=external_ids(row.id, aliases),
    )
