"""Defines the query that returns the report of a screening window."""

from enum import Enum

import strawberry

from app.core import ids
from app.core.errors import NotFound
from app.core.page import keyset
from app.graphql.door import Info, guarded_field
from app.graphql.node import parse_id
from app.insight.counts import ReportedCount
from app.insight.rules import Dimension
from app.insight.window import ReportedResult, ReportQuery, Show, window_report
from app.insight.window import WindowReport as ReadReport

strawberry.enum(Dimension, name="ReportDimension", description="A dimension by which a report counts.")
strawberry.enum(Show, name="ReportShow", description="The results that a report lists.")


@strawberry.enum(description="How the suggested level differs from the one before.")
class Movement(Enum):
    """How a student's suggested level has changed since the last screening window."""

    IMPROVED = "improved"
    DECLINED = "declined"
    SAME = "same"


@strawberry.type(description="A count of students by the dimensions that were named; the others are null.")
class WindowCount:
    """A number of students in the report of a screening window."""

    measure_id: strawberry.ID
    measure_name: str | None = strawberry.field(description="Null if the caller may not see its area.")
    school_id: strawberry.ID | None
    school_name: str | None
    grade: str | None
    level: str | None = strawberry.field(
        description="The rank of the suggested level, `not_screened`, or `no_cut` for a grade without a cut."
    )
    group: str | None = strawberry.field(description="The value of the group by which the window counts.")
    students: int
    share: float = strawberry.field(
        description="The share of the students with the same first dimension, or of all students."
    )

    @classmethod
    def of(cls, report: ReadReport, one: ReportedCount) -> "WindowCount":
        """Returns the GraphQL object for a count, with public ids."""
        return cls(
            measure_id=strawberry.ID(ids.format_id("measure", one.measure_id)),
            measure_name=report.measure_names.get(one.measure_id),
            school_id=None if one.school_id is None else strawberry.ID(ids.format_id("org", one.school_id)),
            school_name=report.names.of(one.school_id),
            grade=one.grade,
            level=one.level,
            group=one.group,
            students=one.students,
            share=one.share,
        )


@strawberry.type(description="The result of one student by one measure; null values for one who was not screened.")
class WindowResult:
    """The result of one student by one measure in a screening window."""

    student_id: strawberry.ID
    student_name: str | None = strawberry.field(description="Null if the student's record was merged since.")
    school_id: strawberry.ID | None
    school_name: str | None
    grade: str
    measure_id: strawberry.ID
    measure_name: str | None = strawberry.field(description="Null if the caller may not see its area.")
    score_id: strawberry.ID | None
    value: float | None
    level: int | None = strawberry.field(description="The rank of the level that the score suggests.")
    level_name: str | None = strawberry.field(description="The name of this level in the playbook in force.")
    percentile: float | None = strawberry.field(
        description="The percentile by the norm for grade and season. A score outside the norm gets its lowest or "
        "highest percentile."
    )
    level_before: int | None = strawberry.field(
        description="The rank that the student's score in the last closed window with one suggested."
    )
    movement: Movement | None
    under_cut: bool
    served: bool = strawberry.field(description="Whether a support in the area of the measure is planned or given.")

    @classmethod
    def of(cls, report: ReadReport, one: ReportedResult) -> "WindowResult":
        """Returns the GraphQL object for a result, with public ids."""
        return cls(
            student_id=strawberry.ID(ids.format_id("student", one.student_id)),
            student_name=report.names.of(one.student_id),
            school_id=None if one.school_id is None else strawberry.ID(ids.format_id("org", one.school_id)),
            school_name=report.names.of(one.school_id),
            grade=one.grade,
            measure_id=strawberry.ID(ids.format_id("measure", one.measure_id)),
            measure_name=report.measure_names.get(one.measure_id),
            score_id=None if one.score_id is None else strawberry.ID(ids.format_id("score", one.score_id)),
            value=one.value,
            level=one.level,
            level_name=report.names.of_level(one.level),
            percentile=one.percentile,
            level_before=one.level_before,
            movement=None if one.movement is None else Movement(one.movement),
            under_cut=one.under_cut,
            served=one.served,
        )


@strawberry.type(
    description=(
        "The report of a screening window. Counts under 10 are withheld, and others that would reveal them. While the "
        "window is open, the counts are of the students that the caller may see; once it is closed, of all."
    )
)
class WindowReport:
    """The report of a screening window, in which students are tested."""

    counts: list[WindowCount]
    withheld: bool = strawberry.field(description="Whether counts are withheld.")
    hidden_measures: int = strawberry.field(
        description="How many measures lie in secured areas that the caller may not see."
    )
    results: list[WindowResult]
    end_cursor: str | None = strawberry.field(description="The cursor of the next page of results.")


@strawberry.type
class ScreeningQueries:
    """The query for the report of a screening window."""

    @guarded_field(
        "Who was screened in a window, with percentile, suggested level and movement, and the published counts by at "
        "most two dimensions. Counts by `GROUP` require `demographics:read` as well.",
        window_report,
    )
    async def screening_report(
        self,
        info: Info,
        window_id: strawberry.ID,
        count_by: list[Dimension] | None = None,
        show: Show = Show.ATTENTION,
        school_id: strawberry.ID | None = None,
        class_id: strawberry.ID | None = None,
        team_id: strawberry.ID | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> WindowReport | None:
        row_id = parse_id("screening_window", window_id)
        if row_id is None:
            raise NotFound("screening_window")
        query = ReportQuery(tuple(one.value for one in count_by or ()), show.value, school_id, class_id, team_id)
        filters = {"window": window_id, "show": show.value, "school": school_id, "class": class_id, "team": team_id}
        work = info.context.work
        page = keyset(work.district_id, "screening_report", filters, after, first, work.keyring)
        report = await info.context.read(window_report, row_id, query, page)
        return WindowReport(
            counts=[WindowCount.of(report, one) for one in report.counts],
            withheld=report.withheld,
            hidden_measures=report.hidden_measures,
            results=[WindowResult.of(report, one) for one in report.results],
            end_cursor=report.next,
        )
