"""Defines the query for the report on how many students have supports, and how soon."""

import strawberry

from app.core import ids
from app.graphql.door import Info, guarded_field
from app.insight.provision import provision_report


@strawberry.type(
    name="DaysToSession",
    description="The median days from the first signal about a student in an area to the first session.",
)
class ShownDaysToSession:
    """The median number of days from the first signal about a student to the first session of a support.

    Only the supports in one area are considered. If `level` is set, only those at this level are considered.
    """

    area_id: strawberry.ID
    area_name: str | None
    level: int | None = strawberry.field(description="The rank of the support's level; null for all levels.")
    level_name: str | None = strawberry.field(description="The name of this level in the playbook in force.")
    students: int
    median_days: float


@strawberry.type(name="ShareAtLevel", description="The students at a level, and their share.")
class ShownShareAtLevel:
    """The number of students at a level of support, and their share of all students or of the students of a grade."""

    grade: str | None = strawberry.field(description="Empty for students without one; null for all grades.")
    level: int
    level_name: str | None = strawberry.field(description="The name of this level in the playbook in force.")
    students: int
    share: float = strawberry.field(description="Their share of the students of the grade, or of all.")


@strawberry.type(
    name="ProvisionReport",
    description="How many of the students that the caller may see have supports, and how soon. Numbers about "
    "fewer than 10 students are withheld, and so are others that would reveal them.",
)
class ShownProvisionReport:
    """The report on how many students have supports, and how soon."""

    school_year: int = strawberry.field(description="The calendar year in which the present school year ends.")
    days_to_session: list[ShownDaysToSession]
    levels: list[ShownShareAtLevel]
    withheld: bool


@strawberry.type
class ProvisionQueries:
    """The query for the report on how many students have supports."""

    @guarded_field(
        "How long it takes this school year from a signal to the first session, by area and level, and the shares of "
        "students by level and grade.",
        provision_report,
    )
    async def provision_report(self, info: Info) -> ShownProvisionReport | None:
        report = await info.context.read(provision_report)
        return ShownProvisionReport(
            school_year=report.school_year,
            days_to_session=[
                ShownDaysToSession(
                    area_id=strawberry.ID(ids.format_id("area", one.area_id)),
                    area_name=report.names.of(one.area_id),
                    level=one.level,
                    level_name=report.names.of_level(one.level),
                    students=one.students,
                    median_days=one.median_days,
                )
                for one in report.days_to_session
            ],
            levels=[
                ShownShareAtLevel(
                    grade=one.grade,
                    level=one.level,
                    level_name=report.names.of_level(one.level),
                    students=one.students,
                    share=one.share,
                )
                for one in report.levels
            ],
            withheld=report.withheld,
        )
