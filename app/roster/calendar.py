"""Numbers the instructional weeks by which series are measured, from the school's weeks or else by calendar weeks."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    SQLColumnExpression,
    and_,
    any_,
    case,
    cast,
    exists,
    func,
    literal,
    select,
)

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import monday_of
from app.roster.lookup import IdList
from app.roster.models import SchoolWeek

Weeks = Mapping[date, int]
"""Week numbers by Monday; a week without instruction has the number of the last instructional week before it."""


def weeks_between(weeks: Weeks, begins: date, day: date) -> int:
    """Returns the instructional weeks between two dates; calendar weeks if the school has no calendar."""
    first, last = weeks.get(monday_of(begins)), weeks.get(monday_of(day))
    if first is not None and last is not None and last >= first:
        return last - first
    return (monday_of(day) - monday_of(begins)).days // 7


def days_of_instruction(
    district_id: UUID, school_ids: SQLColumnExpression[list[UUID]], since: SQLColumnExpression[date], today: date
) -> ColumnElement[int]:
    """Returns an SQL expression: the days from a date to today that lie in instructional weeks of a row's first
    school.

    Weekends count, breaks do not; for a school without known weeks, every day counts.
    """
    until = literal(today, Date)
    school = school_ids[1]
    of_school = and_(SchoolWeek.district_id == district_id, SchoolWeek.school_id == school)
    ends = func.least(SchoolWeek.monday + 7, until, type_=Date)
    begins = func.greatest(SchoolWeek.monday, since, type_=Date)
    instructional_days = (
        select(func.coalesce(func.sum(ends - begins), 0))
        .where(of_school, SchoolWeek.instructional, SchoolWeek.monday + 7 > since, SchoolWeek.monday < until)
        .scalar_subquery()
    )
    return case((exists().where(of_school), instructional_days), else_=until - since)


@needs(Can.READ_ROSTER)
async def school_weeks(work: Work, school_ids: list[UUID], begins: date, until: date) -> Weeks:
    """Returns the weeks of the first of these schools that has any, numbered on across the end of the year."""
    rows = await work.db.execute(
        select(SchoolWeek.school_id, SchoolWeek.monday, SchoolWeek.instructional)
        .where(
            SchoolWeek.district_id == work.district_id,
            SchoolWeek.school_id == any_(cast(school_ids, IdList)),
            SchoolWeek.monday >= monday_of(begins),
            SchoolWeek.monday <= monday_of(until),
        )
        .order_by(SchoolWeek.monday)
    )
    by_school: dict[UUID, list[tuple[date, bool]]] = {}
    for school_id, monday, instructional in rows:
        by_school.setdefault(school_id, []).append((monday, instructional))
    for school_id in school_ids:
        if school_id in by_school:
            return counted(by_school[school_id])
    return {}


@needs(Can.READ_ROSTER)
async def weeks_of_schools(
    work: Work, school_ids: Collection[UUID], begins: date, until: date
) -> dict[UUID, list[tuple[date, bool]]]:
    """Returns by school its weeks in order: the Monday, and whether there was instruction.

    For many series at once.
    """
    rows = await work.db.execute(
        select(SchoolWeek.school_id, SchoolWeek.monday, SchoolWeek.instructional)
        .where(
            SchoolWeek.district_id == work.district_id,
            SchoolWeek.school_id == any_(cast(list(school_ids), IdList)),
            SchoolWeek.monday >= monday_of(begins),
            SchoolWeek.monday <= monday_of(until),
        )
        .order_by(SchoolWeek.monday)
    )
    weeks_by_school: dict[UUID, list[tuple[date, bool]]] = {}
    for school_id, monday, instructional in rows:
        weeks_by_school.setdefault(school_id, []).append((monday, instructional))
    return weeks_by_school


def counted(weeks: Sequence[tuple[date, bool]]) -> dict[date, int]:
    """Returns week numbers by Monday, starting with the first of these weeks."""
    # The count starts with the first week given, so that a phase may continue into the next school year.
    numbers, number = {}, 0
    for monday, instructional in weeks:
        number += 1 if instructional else 0
        numbers[monday] = max(number, 1)
    return numbers
