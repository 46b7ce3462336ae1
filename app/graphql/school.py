"""Owns the shapes of schools, classes and staff. Holds no rule, and compares no adults."""

from uuid import UUID

import strawberry

from app.core.errors import NotFound
from app.graphql.door import Info, OperationContext, asks
from app.graphql.names import ExternalId, external_ids_of, row_id
from app.graphql.node import Node, shown
from app.graphql.pages import Connection, connection, nothing, place
from app.roster import models, queries


@strawberry.type(description="A school, or another org of the district.")
class School(Node):
    """An org."""

    row_id: strawberry.Private[UUID]
    name: str
    type: str
    identifier: str | None

    @asks("How the sources know it.", queries.external_ids_of)
    async def external_ids(self, info: Info) -> list[ExternalId] | None:
        return await external_ids_of(info.context, self.row_id)

    @classmethod
    def of(cls, row: models.Org) -> "School":
        """The shape of a row."""
        return cls(id=shown("org", row.id), row_id=row.id, name=row.name, type=row.type, identifier=row.identifier)


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

    @asks("The school that it belongs to.", queries.orgs_by_id)
    async def school(self, info: Info) -> School | None:
        return await school_of(info.context, self.school_row)

    @asks("How the sources know it.", queries.external_ids_of)
    async def external_ids(self, info: Info) -> list[ExternalId] | None:
        return await external_ids_of(info.context, self.row_id)

    @classmethod
    def of(cls, row: models.SchoolClass) -> "SchoolClass":
        """The shape of a row."""
        return cls(
            id=shown("class", row.id),
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
    """Who teaches, raises, leads, provides, decides."""

    row_id: strawberry.Private[UUID]
    school_rows: strawberry.Private[list[UUID]]
    role: str
    given_name: str
    family_name: str
    email: str | None

    @asks("The schools that they belong to.", queries.orgs_by_id)
    async def schools(self, info: Info) -> list[School] | None:
        return await schools_of(info.context, self.school_rows)

    @asks("How the sources know them.", queries.external_ids_of)
    async def external_ids(self, info: Info) -> list[ExternalId] | None:
        return await external_ids_of(info.context, self.row_id)

    @classmethod
    def of(cls, row: models.Person) -> "Staff":
        """The shape of a row."""
        return cls(
            id=shown("person", row.id),
            row_id=row.id,
            school_rows=list(row.school_ids),
            role=row.role,
            given_name=row.given_name,
            family_name=row.family_name,
            email=row.email,
        )


@strawberry.type
class SchoolQueries:
    """The schools' part of the query root."""

    @asks("The district's schools.", queries.schools)
    async def schools(
        self, info: Info, first: int | None = None, after: str | None = None
    ) -> Connection[School] | None:
        at = place(info.context, "schools", {}, after, first)
        return connection(at, await info.context.read(queries.schools, at), School.of)

    @asks("The district's classes, of one school or of all.", queries.classes)
    async def classes(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        school_id: strawberry.ID | None = None,
    ) -> Connection[SchoolClass] | None:
        asked = info.context
        try:
            school = await row_id(asked, "org", school_id, queries.find_school)
        except NotFound:
            return nothing()
        at = place(asked, "classes", {"school": school}, after, first)
        return connection(at, await asked.read(queries.classes, at, school), SchoolClass.of)

    @asks("Staff by name, of one class or of all.", queries.staff)
    async def staff(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        class_id: strawberry.ID | None = None,
    ) -> Connection[Staff] | None:
        asked = info.context
        try:
            of_class = await row_id(asked, "class", class_id, queries.find_class)
        except NotFound:
            return nothing()
        at = place(asked, "staff", {"class": of_class}, after, first)
        return connection(at, await asked.read(queries.staff, at, of_class), Staff.of, by_name)


async def school_of(asked: OperationContext, org_id: UUID) -> School | None:
    """The org of a row that names it."""
    row = await asked.load(queries.orgs_by_id, org_id)
    return None if row is None else School.of(row)


async def schools_of(asked: OperationContext, org_ids: list[UUID]) -> list[School]:
    """The orgs of a row that names them."""
    return [School.of(row) for row in await asked.load_each(queries.orgs_by_id, org_ids)]


async def class_of(asked: OperationContext, class_id: UUID) -> SchoolClass | None:
    """The class of a row that names it."""
    row = await asked.load(queries.classes_by_id, class_id)
    return None if row is None else SchoolClass.of(row)


async def staff_of(asked: OperationContext, person_id: UUID | None) -> Staff | None:
    """The member of staff of a row that may name one."""
    row = None if person_id is None else await asked.load(queries.staff_by_id, person_id)
    return None if row is None else Staff.of(row)


def by_name(row: models.Person) -> tuple[str, ...]:
    """The place of a person in a list by name."""
    return (row.family_name, row.given_name, str(row.id))
