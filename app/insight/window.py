"""Reports on a screening window: lists students' results, and counts the students.

A list can be limited, for example, to students who were not screened, who are below the cut score, or who are below it
and have no support. While a window is open, its report is computed from the scores that the caller may see. Once the
window is closed, the report is read from the stored results, and its counts cover the whole district.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, Integer, Uuid, bindparam, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.db import plan_for_many_rows
from app.core.errors import Forbidden, Malformed, NotFound, Violation
from app.core.page import Keyset
from app.evidence.screening.cuts import ExpectedInWindow, SuggestedLevels, expected_in, suggested_levels
from app.evidence.screening.models import ScreeningWindow
from app.evidence.screening.rules import WindowState
from app.insight.counts import ReportedCount, atoms_of, group_of, kept_counts, open_counts
from app.insight.names import ReportNames, read_report_names
from app.insight.results import ResultsQuery, results_of
from app.insight.rules import Dimension
from app.insight.statements import ATOMS_AND_PAGE, PAGE, SHOWN
from app.roster.lookup import today_of
from app.roster.queries import find_class, find_school
from app.team.lookup import find_team

MAX_DIMENSIONS: Final = 2
TYPES: Final[dict[str, Any]] = {"limit": Integer(), "today": Date()}
"""The types of the parameters of a page. The other parameters are ids."""
IN_CLASS: Final = """ AND x.student_id IN (
    SELECT n.person_id FROM enrollment AS n
    WHERE n.district_id = :district AND n.class_id = :class AND n.is_student AND n.removed_at IS NULL)"""
IN_TEAM: Final = """ AND x.student_id IN (
    SELECT m.student_id FROM team_student AS m
    WHERE m.district_id = :district AND m.team_id = :team AND m.from_on <= :today
      AND (m.until_on IS NULL OR m.until_on > :today))"""
AT_SCHOOL: Final = """ AND x.student_id IN (
    SELECT q.id FROM person AS q WHERE q.district_id = :district AND :school = ANY (q.school_ids))"""
AFTER: Final = " AND (x.student_id, x.measure_id) > (:student, :measure)"


class Show(StrEnum):
    """The choice of results that a report lists, for example only those of students below the cut score."""

    ALL = "all"
    ATTENTION = "attention"
    NOT_SCREENED = "not_screened"
    UNDER_CUT = "under_cut"
    UNSERVED = "unserved"
    IMPROVED = "improved"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """The options of a caller who requests the report of a window.

    `count_by` has the dimensions of the counts, at most two; if it is empty, all students are counted together.
    `school`, `school_class` and `team` restrict the listed results, and never the counts.
    """

    count_by: tuple[str, ...] = ()
    show: str = Show.ATTENTION
    school: str | None = None
    school_class: str | None = None
    team: str | None = None


@dataclass(frozen=True, slots=True)
class ReportedResult:
    """The result of one student by one measure.

    `movement` compares the student's level with the level in an earlier window: `improved`, `declined` or `same`. It is
    None if one of the two levels is unknown.
    """

    student_id: UUID
    school_id: UUID | None
    grade: str
    measure_id: UUID
    score_id: UUID | None
    value: float | None
    level: int | None
    percentile: float | None
    level_before: int | None
    movement: str | None
    under_cut: bool
    served: bool


@dataclass(frozen=True, slots=True)
class WindowReport:
    """The report of a window.

    `names` has the names of the students, schools and levels in it, and `measure_names` those of the measures, by id.
    `hidden_measures` counts the measures of secured areas that the caller may not see. `withheld` states whether counts
    are withheld.
    """

    window: ScreeningWindow
    names: ReportNames
    measure_names: Mapping[UUID, str]
    counts: list[ReportedCount]
    withheld: bool
    hidden_measures: int
    results: list[ReportedResult]
    next: str | None


@needs(Can.READ_SCORES, Can.READ_SUPPORTS, Can.READ_ROSTER, Can.READ_PLAYBOOK)
async def window_report(work: Work, window_id: UUID, query: ReportQuery, keyset: Keyset) -> WindowReport:
    """Returns the report of a window: counts by at most two dimensions, and a page of the results of students.

    Only results of students that the caller may see are returned.
    """
    window = await work.db.scalar(
        select(ScreeningWindow).where(ScreeningWindow.district_id == work.district_id, ScreeningWindow.id == window_id)
    )
    if window is None:
        raise NotFound("screening_window")
    dimensions = _dimensions(work, window, query.count_by)
    expected, hidden = await expected_in(work, window)
    levels = await suggested_levels(work)
    results = await _listed(work, window, expected, levels, query, keyset)
    shown = SHOWN[Show(query.show)]
    await plan_for_many_rows(work.db)
    if window.state == WindowState.CLOSED:
        statement, values = results.statement(PAGE, shown=shown)
        rows = (await work.db.execute(statement, values)).all()
        counts, withheld = await kept_counts(work, window, expected, levels, dimensions)
    else:
        statement, values = results.statement(ATOMS_AND_PAGE, shown=shown, **group_of(window))
        both = (await work.db.execute(statement, values)).all()
        rows = [row for row in both if row.student_id is not None]
        counts, withheld = open_counts(atoms_of(row for row in both if row.student_id is None), dimensions)
    page = keyset.cut([_result(row, levels) for row in rows], lambda row: (str(row.student_id), str(row.measure_id)))
    names = await read_report_names(
        work,
        students=(row.student_id for row in page.rows),
        schools=(*(row.school_id for row in page.rows), *(count.school_id for count in counts)),
    )
    for kind in ("score", "student"):
        work.disclose(kind, (row.student_id for row in page.rows))
    measure_names = {one.measure.id: one.measure.name for one in expected}
    return WindowReport(window, names, measure_names, counts, withheld, hidden, list(page.rows), page.next)


def _dimensions(work: Work, window: ScreeningWindow, by: Sequence[str]) -> tuple[Dimension, ...]:
    """Converts the names of dimensions, as the caller wrote them, to `Dimension`.

    Raises `Malformed` for too many or repeated names, or if the window has no groups to count by. Raises `Forbidden`
    for counts by group if the caller may not read demographics.
    """
    if len(set(by)) != len(by) or len(by) > MAX_DIMENSIONS:
        detail = f"Name at most {MAX_DIMENSIONS} different dimensions."
        raise Malformed([Violation("/count_by", "report.dimensions", detail)])
    if Dimension.GROUP in by:
        if window.group_by is None:
            raise Malformed([Violation("/count_by", "report.no_group", "This window counts by no group.")])
        if not work.principal.may(Can.READ_DEMOGRAPHICS):
            detail = f"Counts by group require the permission {Can.READ_DEMOGRAPHICS.value}."
            raise Forbidden(detail, code="permission.missing")
    return tuple(Dimension(name) for name in by)


async def _listed(
    work: Work,
    window: ScreeningWindow,
    expected: Sequence[ExpectedInWindow],
    levels: SuggestedLevels,
    query: ReportQuery,
    keyset: Keyset,
) -> ResultsQuery:
    """Returns the SQL for the results of a window. It lists only results that match the query and follow the cursor."""
    listed = ""
    values: dict[str, Any] = {"limit": keyset.limit + 1}
    if query.school is not None:
        values["school"] = (await find_school(work, query.school, "/school")).id
        listed += AT_SCHOOL
    if query.school_class is not None:
        values["class"] = (await find_class(work, query.school_class, "/class")).id
        listed += IN_CLASS
    if query.team is not None:
        values |= {"team": await _team_id(work, query.team), "today": await today_of(work)}
        listed += IN_TEAM
    if keyset.after is not None:
        values |= {"student": keyset.after_id(), "measure": keyset.after_id(1)}
        listed += AFTER
    parameters = [bindparam(name, type_=TYPES.get(name, Uuid())) for name in values]
    return results_of(work, window, expected, levels, listed=listed).having(parameters, values)


async def _team_id(work: Work, name: str) -> UUID:
    """Returns the id of the team `name`.

    Raises `Invalid` if the caller may see no team with this id, and `Forbidden` if the caller may read no teams.
    """
    if not work.principal.may(Can.READ_TEAMS):
        detail = f"Results by team require the permission {Can.READ_TEAMS.value}."
        raise Forbidden(detail, code="permission.missing")
    return (await find_team(work, name)).id


def _result(row: Any, levels: SuggestedLevels) -> ReportedResult:
    movement = None
    if row.level is not None and row.level_before is not None:
        movement = "same" if row.level == row.level_before else "improved"
        movement = "declined" if row.level > row.level_before else movement
    return ReportedResult(
        student_id=row.student_id,
        school_id=row.school_id,
        grade=row.grade,
        measure_id=row.measure_id,
        score_id=row.score_id,
        value=row.value,
        level=row.level,
        percentile=row.percentile,
        level_before=row.level_before,
        movement=movement,
        under_cut=row.level is not None and row.level > levels.core,
        served=row.served,
    )
