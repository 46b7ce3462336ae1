"""The shapes of the roster: students, and their links to other rows.

It contains no rules, and shows no demographics.
"""

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from app.access.work import Work
from app.concern.queries import concerns_of
from app.core.errors import NotFound
from app.decision.queries import decisions_of
from app.evidence.queries import scores_of
from app.graphql.door import Info, OperationContext, guarded_field
from app.graphql.names import NAME, ExternalId, external_ids_of, row_id
from app.graphql.node import Node, show_id
from app.graphql.pages import Connection, connection, empty_page, page_keyset
from app.graphql.playbook import measure_id_of
from app.graphql.school import School, SchoolClass, by_name, class_of, schools_of
from app.roster import models, queries
from app.support.queries import supports_of_students

if TYPE_CHECKING:
    from app.graphql.concern import Concern
    from app.graphql.decision import Decision
    from app.graphql.evidence import Score
    from app.graphql.support import Support


@strawberry.type(description="A student in a class.")
class Enrollment:
    """An enrollment."""

    class_row: strawberry.Private[UUID]
    class_id: strawberry.ID
    school_id: strawberry.ID
    begins_on: date | None
    ends_on: date | None = strawberry.field(description="Exclusive.")

    @guarded_field("The class.", queries.classes_by_id, name="class")
    async def school_class(self, info: Info) -> SchoolClass | None:
        return await class_of(info.context, self.class_row)

    @classmethod
    def of(cls, row: models.Enrollment) -> "Enrollment":
        """Returns the GraphQL object for a row."""
        return cls(
            class_row=row.class_id,
            class_id=show_id("class", row.class_id),
            school_id=show_id("org", row.school_id),
            begins_on=row.begins_on,
            ends_on=row.ends_on,
        )


@strawberry.type(description="A student.")
class Student(Node):
    """A student, with links to all records about the student."""

    row_id: strawberry.Private[UUID]
    given_name: str
    family_name: str
    middle_name: str | None
    grades: list[str]
    school_ids: list[strawberry.ID]
    school_rows: strawberry.Private[list[UUID]]
    email: str | None
    identifier: str | None
    departed: bool = strawberry.field(
        description="Whether the source no longer sends the student; the records are kept."
    )

    @guarded_field("The student's ids in the sources.", queries.external_ids_of)
    async def external_ids(self, info: Info) -> list[ExternalId] | None:
        return await external_ids_of(info.context, self.row_id)

    @guarded_field("The schools that the student belongs to.", queries.orgs_by_id)
    async def schools(self, info: Info) -> list[School] | None:
        return await schools_of(info.context, self.school_rows)

    @guarded_field("The classes that the student is in.", queries.enrollments_of)
    async def enrollments(self, info: Info) -> list[Enrollment] | None:
        return [Enrollment.of(row) for row in await info.context.load(_enrollments, self.row_id) or []]

    @guarded_field("Every concern about the student, oldest first.", concerns_of)
    async def concerns(self, info: Info) -> list[Annotated["Concern", strawberry.lazy("app.graphql.concern")]] | None:
        from app.graphql.concern import Concern

        return [Concern.of(row) for row in await info.context.load(concerns_of, self.row_id) or []]

    @guarded_field("Every support of the student, oldest first.", supports_of_students)
    async def supports(self, info: Info) -> list[Annotated["Support", strawberry.lazy("app.graphql.support")]] | None:
        from app.graphql.support import Support

        return [Support.of(row) for row in await info.context.load(supports_of_students, self.row_id) or []]

    @guarded_field("The student's scores by date, of one measure or of all.", scores_of)
    async def scores(
        self, info: Info, measure: str | None = None
    ) -> list[Annotated["Score", strawberry.lazy("app.graphql.evidence")]] | None:
        from app.graphql.evidence import Score

        try:
            measure_id = await measure_id_of(info.context, measure)
        except NotFound:
            return []
        rows = await info.context.load(scores_of, self.row_id) or []
        return [Score.of(row) for row in rows if measure_id in (None, row.measure_id)]

    @guarded_field("Every decision about the student, oldest first.", decisions_of)
    async def decisions(
        self, info: Info
    ) -> list[Annotated["Decision", strawberry.lazy("app.graphql.decision")]] | None:
        from app.graphql.decision import Decision

        return [Decision.of(row) for row in await info.context.load(decisions_of, self.row_id) or []]

    @classmethod
    def of(cls, row: models.Person) -> "Student":
        """Returns the GraphQL object for a row."""
        return cls(
            id=show_id("student", row.id),
            row_id=row.id,
            given_name=row.given_name,
            family_name=row.family_name,
            middle_name=row.middle_name,
            grades=list(row.grades),
            school_ids=[show_id("org", school) for school in row.school_ids],
            email=row.email,
            identifier=row.identifier,
            school_rows=list(row.school_ids),
            departed=row.removed_at is not None,
        )


@strawberry.type
class RosterQueries:
    """The queries of the roster."""

    @guarded_field(f"One student, by {NAME}.", queries.find_student)
    async def student(self, info: Info, id: strawberry.ID) -> Student | None:
        row = await info.context.read_or_none(queries.find_student, id)
        return None if row is None else Student.of(row)

    @guarded_field("Students by family name, given name and id.", queries.students)
    async def students(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        school_id: strawberry.ID | None = None,
        class_id: strawberry.ID | None = None,
        grade: str | None = None,
        family_name: str | None = None,
        include_departed: bool = False,
    ) -> Connection[Student] | None:
        context = info.context
        try:
            filters = queries.StudentFilter(
                school_id=await row_id(context, "org", school_id, queries.find_school),
                class_id=await row_id(context, "class", class_id, queries.find_class),
                grade=grade,
                family_name=family_name,
                include_departed=include_departed,
            )
        except NotFound:
            return empty_page()
        at = page_keyset(context, "students", asdict(filters), after, first)
        return connection(at, await context.read(queries.students, at, filters), Student.of, by_name)


async def student_of(context: OperationContext, student_id: UUID) -> Student | None:
    """Returns the student with this id."""
    row = await context.load(queries.students_by_id, student_id)
    return None if row is None else Student.of(row)


async def _enrollments(work: Work, student_ids: list[UUID]) -> dict[UUID, list[models.Enrollment]]:
    enrollments: dict[UUID, list[models.Enrollment]] = {student_id: [] for student_id in student_ids}
    for row in await queries.enrollments_of(work, student_ids):
        enrollments[row.person_id].append(row)
    return enrollments
