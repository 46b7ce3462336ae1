"""The shapes of schools, classes and staff. It contains no rules, and compares no adults."""

from uuid import UUID

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, OperationContext, guarded_field
from app.graphql.names import ExternalId, external_ids_of, row_id
from app.graphql.node import Node, show_id
from app.graphql.pages import Connection, connection, empty_page, page_keyset
from app.roster import models, queries


@strawberry.type(description="A school, or another org of the district.")
class School(Node):
    """An org."""

    row_id: strawberry.Private[UUID]
    name: str
    type: str
    identifier: str | None

    @guarded_field("Its ids in the sources.", queries.external_ids_of)
    async def external_ids(self, info: Info) -> list[ExternalId] | None:
        return await external_ids_of(info.context, self.row_id)

    @classmethod
    def of(cls, row: models.Org) -> "School":
        """Returns the GraphQL object for a row."""
        return cls(id=show_id("org", row.id), row_id=row.id, name=row.name, type=row.type, identifier=row.identifier)


@strawberry.type(name="Class", description="A homeroom or a scheduled section of a course.")
class SchoolClass(Node):
    """A class."""

    row_id: strawberry.Private[UUID]
    school_row: strawberry.Private[UUID]
    title: str
    code: str | None
    type: str
    grades: list[str]
    subjects: list[str]

    @guarded_field("The school that it belongs to.", queries.orgs_by_id)
    async def school(self, info: Info) -> School | None:
        return await school_of(info.context, self.school_row)

    @guarded_field("Its ids in the sources.", queries.external_ids_of)
    async def external_ids(self, info: Info) -> list[ExternalId] | None:
        return await external_ids_of(info.context, self.row_id)

    @classmethod
    def of(cls, row: models.SchoolClass) -> "SchoolClass":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("class", row.id),
            row_id=row.id,
            school_row=row.school_id,
            title=row.title,
            code=row.code,
            type=row.type,
            grades=list(row.grades),
            subjects=list(row.subjects),
        )


@strawberry.type(description="A member of staff.")
class Staff(Node):
    """A member of staff, who teaches, raises concerns, leads or provides supports, or decides."""

    row_id: strawberry.Private[UUID]
    school_rows: strawberry.Private[list[UUID]]
    role: str
    given_name: str
    family_name: str
    email: str | None

    @guarded_field("The schools that they belong to.", queries.orgs_by_id)
    async def schools(self, info: Info) -> list[School] | None:
        return await schools_of(info.context, self.school_rows)

    @guarded_field("Their ids in the sources.", queries.external_ids_of)
    async def external_ids(self, info: Info) -> list[ExternalId] | None:
        return await external_ids_of(info.context, self.row_id)

    @classmethod
    def of(cls, row: models.Person) -> "Staff":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("person", row.id),
            row_id=row.id,
            school_rows=list(row.school_ids),
            role=row.role,
            given_name=row.given_name,
            family_name=row.family_name,
            email=row.email,
        )


@strawberry.type
class SchoolQueries:
    """The queries of schools, classes and staff."""

    @guarded_field("The district's schools.", queries.schools)
    async def schools(
        self, info: Info, first: int | None = None, after: str | None = None
    ) -> Connection[School] | None:
        at = page_keyset(info.context, "schools", {}, after, first)
        return connection(at, await info.context.read(queries.schools, at), School.of)

    @guarded_field("The district's classes, of one school or of all.", queries.classes)
    async def classes(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        school_id: strawberry.ID | None = None,
    ) -> Connection[SchoolClass] | None:
        context = info.context
        try:
            school = await row_id(context, "org", school_id, queries.find_school)
        except NotFound:
            return empty_page()
        at = page_keyset(context, "classes", {"school": school}, after, first)
        return connection(at, await context.read(queries.classes, at, school), SchoolClass.of)

    @guarded_field("Staff by name, of one class or of all.", queries.staff)
    async def staff(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        class_id: strawberry.ID | None = None,
    ) -> Connection[Staff] | None:
        context = info.context
        try:
            of_class = await row_id(context, "class", class_id, queries.find_class)
        except NotFound:
            return empty_page()
        at = page_keyset(context, "staff", {"class": of_class}, after, first)
        return connection(at, await context.read(queries.staff, at, of_class), Staff.of, by_name)


async def school_of(context: OperationContext, org_id: UUID) -> School | None:
    """Returns the org with this id."""
    row = await context.load(queries.orgs_by_id, org_id)
    return None if row is None else School.of(row)


async def schools_of(context: OperationContext, org_ids: list[UUID]) -> list[School]:
    """Returns the orgs with these ids."""
    return [School.of(row) for row in await context.load_each(queries.orgs_by_id, org_ids)]


async def class_of(context: OperationContext, class_id: UUID) -> SchoolClass | None:
    """Returns the class with this id."""
    row = await context.load(queries.classes_by_id, class_id)
    return None if row is None else SchoolClass.of(row)


async def staff_of(context: OperationContext, person_id: UUID | None) -> Staff | None:
    """Returns the member of staff with this id, or None for None."""
    row = None if person_id is None else await context.load(queries.staff_by_id, person_id)
    return None if row is None else Staff.of(row)


def by_name(row: models.Person) -> tuple[str, ...]:
    """Returns a person's position in a list that is ordered by name."""
    return (row.family_name, row.given_name, str(row.id))
