"""Serves in REST the report on how many students have supports, and how many days passed before the first session."""

from fastapi import APIRouter
from pydantic import Field

from app.core import ids
from app.insight.provision import provision_report
from app.rest.door import OpenWork, requires
from app.rest.pages import Shape
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["supports"], route_class=Route)


class DaysToSession(Shape):
    """The median days from a student's first signal in an area to the first session of a support in this area."""

    area: str = Field(description="The id of the area.")
    area_name: str | None = Field(description="The name of the area.")
    level: int | None = Field(description="The rank of the support's level; null for all levels.")
    level_name: str | None = Field(description="The name of this level in the playbook in force.")
    students: int = Field(description="How many students these are.")
    median_days: float = Field(description="The median number of calendar days.")


class ShareAtLevel(Shape):
    """The students at one level of support, and their share.

    A student counts at the highest level of the student's active supports. A student without a support counts at the
    first level.
    """

    grade: str | None = Field(description="The grade, empty for students without one; null for all grades.")
    level: int = Field(description="The rank of the level.")
    level_name: str | None = Field(description="The name of this level in the playbook in force.")
    students: int = Field(description="How many students these are.")
    share: float = Field(description="Their share of the students of the grade, or of all.")


class ProvisionReport(Shape):
    """How many of the students that the caller may see have supports, and how soon they got them.

    Small numbers are withheld, and so are numbers that would reveal them. No number is about an adult, a class or a
    team.
    """

    school_year: int = Field(description="The calendar year in which the present school year ends.")
    days_to_session: list[DaysToSession] = Field(
        description="By area, and by area and level: accepted signals of this school year until the first session."
    )
    levels: list[ShareAtLevel] = Field(description="By level, and by grade and level: the students of today.")
    withheld: bool = Field(
        description="Whether numbers about fewer than 10 students, or others with them, are withheld."
    )


@router.get("/reports/provision", operation_id="get_provision_report", **requires(provision_report))
async def get_provision_report(work: OpenWork) -> ProvisionReport:
    """Returns how long it takes from a signal to the first session, and the shares of students by level and grade."""
    report = await provision_report(work)
    return ProvisionReport.model_construct(
        school_year=report.school_year,
        days_to_session=[
            DaysToSession.model_construct(
                area=ids.format_id("area", one.area_id),
                area_name=report.names.of(one.area_id),
                level=one.level,
                level_name=report.names.of_level(one.level),
                students=one.students,
                median_days=one.median_days,
            )
            for one in report.days_to_session
        ],
        levels=[
            ShareAtLevel.model_construct(
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
