"""Serves the report of a screening window in REST."""

from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query
from pydantic import Field

from app.core import ids
from app.core.page import keyset
from app.insight.counts import ReportedCount
from app.insight.window import ReportedResult, ReportQuery, window_report
from app.insight.window import WindowReport as ReadReport
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Shape
from app.rest.route import Route

router = APIRouter(prefix="/v1", tags=["screening"], route_class=Route)
Moved = Literal["improved", "declined", "same"] | None
CountBy = Annotated[
    list[Literal["school", "grade", "level", "group"]] | None,
    Query(max_length=2, description="The dimensions of the counts, at most two; the shares are those of the first."),
]
Show = Annotated[
    Literal["attention", "all", "not_screened", "under_cut", "unserved", "improved", "declined"],
    Query(
        description=(
            "The listed results. `attention`: those not screened, under the cut without a support, or at another level "
            "than in the last window."
        )
    ),
]
School = Annotated[
    str | None, Query(max_length=200, description="Only results of students of this school: an id or an external id.")
]
Class = Annotated[
    str | None,
    Query(alias="class", max_length=200, description="Only results of students of this class: an id or external id."),
]


Team = Annotated[
    str | None,
    Query(max_length=200, description="Only results of students that this team serves today. It needs `team:read`."),
]


class WindowCount(Shape):
    """A count of students, by the dimensions that the request names. The other dimensions are null."""

    measure: str = Field(description="The id of the measure.")
    measure_name: str | None = Field(description="The name of the measure; null if the caller may not see the area.")
    school: str | None = Field(description="The id of the school.")
    school_name: str | None = Field(description="The name of the school.")
    grade: str | None = Field(description="The grade.")
    level: str | None = Field(
        description="The rank of the suggested level, `not_screened`, or `no_cut` for a grade without a cut."
    )
    group: str | None = Field(description="The value of the group by which the window counts.")
    students: int = Field(description="How many students there are.")
    share: float = Field(description="The share of the students with the same first dimension, or of all students.")


class WindowResult(Shape):
    """The result of one student by one measure. The values are null for a student who was not screened."""

    student: str = Field(description="The id of the student.")
    student_name: str | None = Field(description="The student's name; null if the student's record was merged since.")
    school: str | None = Field(description="The id of the student's school.")
    school_name: str | None = Field(description="The name of this school.")
    grade: str = Field(description="The student's grade.")
    measure: str = Field(description="The id of the measure.")
    measure_name: str | None = Field(description="The name of the measure; null if the caller may not see the area.")
    score: str | None = Field(description="The id of the last screening score in the window.")
    value: float | None = Field(description="The value of this score, in the unit of the measure.")
    level: int | None = Field(description="The rank of the level that the score suggests.")
    level_name: str | None = Field(description="The name of this level in the playbook in force.")
    percentile: float | None = Field(
        description="The percentile by the norm for grade and season. A score outside the norm gets its lowest or "
        "highest percentile."
    )
    level_before: int | None = Field(
        description="The rank that the student's score in the last closed window with one suggested."
    )
    movement: Moved = Field(description="How the level differs from `level_before`.")
    under_cut: bool = Field(description="Whether the score suggests a level above the first.")
    served: bool = Field(description="Whether a support in the area of the measure is planned or given.")


class WindowReport(Shape):
    """The report of a screening window: counts, and a page of the results of students that the caller may see.

    Counts under 10 are withheld, and so are counts that would reveal them. While the window is open, only the students
    that the caller may see are counted. Once it is closed, all students of the district are counted.
    """

    window: str = Field(description="The id of the window.")
    state: str = Field(description="`scheduled`, `open`, `closed` or `cancelled`.")
    counts: list[WindowCount] = Field(description="The published counts.")
    withheld: bool = Field(description="Whether counts are withheld.")
    hidden_measures: int = Field(description="How many measures lie in secured areas that the caller may not see.")
    results: list[WindowResult] = Field(description="The results of this page.")
    next: str | None = Field(description="The cursor of the next page of results.")


@router.get(
    "/screening-windows/{screening_window}/report",
    operation_id="get_screening_report",
    **requires(window_report),
)
async def get_screening_report(
    work: OpenWork,
    screening_window: str,
    count_by: CountBy = None,
    show: Show = "attention",
    school: School = None,
    class_: Class = None,
    team: Team = None,
    after: After = None,
    limit: Limit = None,
) -> WindowReport:
    """Returns who was screened in a window, with percentile, suggested level and movement, and the published counts.

    Counts by `group` require `demographics:read` as well.
    """
    query = ReportQuery(tuple(count_by or ()), show, school, class_, team)
    filters = {"window": screening_window, "show": show, "school": school, "class": class_, "team": team}
    page = keyset(work.district_id, "screening_report", filters, after, limit, work.keyring)
    report = await window_report(work, row_id("screening_window", screening_window), query, page)
    return WindowReport.model_construct(
        window=ids.format_id("screening_window", report.window.id),
        state=report.window.state,
        counts=[_count(report, one) for one in report.counts],
        withheld=report.withheld,
        hidden_measures=report.hidden_measures,
        results=[_result(report, one) for one in report.results],
        next=report.next,
    )


def _count(report: ReadReport, one: ReportedCount) -> WindowCount:
    return WindowCount.model_construct(
        measure=ids.format_id("measure", one.measure_id),
        measure_name=report.measure_names.get(one.measure_id),
        school=None if one.school_id is None else ids.format_id("org", one.school_id),
        school_name=report.names.of(one.school_id),
        grade=one.grade,
        level=one.level,
        group=one.group,
        students=one.students,
        share=one.share,
    )


def _result(report: ReadReport, one: ReportedResult) -> WindowResult:
    return WindowResult.model_construct(
        student=ids.format_id("student", one.student_id),
        student_name=report.names.of(one.student_id),
        school=None if one.school_id is None else ids.format_id("org", one.school_id),
        school_name=report.names.of(one.school_id),
        grade=one.grade,
        measure=ids.format_id("measure", one.measure_id),
        measure_name=report.measure_names.get(one.measure_id),
        score=None if one.score_id is None else ids.format_id("score", one.score_id),
        value=one.value,
        level=one.level,
        level_name=report.names.of_level(one.level),
        percentile=one.percentile,
        level_before=one.level_before,
        movement=cast(Moved, one.movement),
        under_cut=one.under_cut,
        served=one.served,
    )
