"""Owns the instructional weeks in which series are measured. Reads the school's weeks; falls back to the calendar."""

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
"""Week number by Monday; a week without instruction has the number of the last one before it."""


def weeks_between(weeks: Weeks, begins: date, day: date) -> int:
    """Instructional weeks from one date to another; calendar weeks where the school's year says nothing."""
    first, last = weeks.get(monday_of(begins)), weeks.get(monday_of(day))
    if first is not None and last is not None and last >= first:
        return last - first
    return (monday_of(day) - monday_of(begins)).days // 7


def days_of_instruction(
    district_id: UUID, school_ids: SQLColumnExpression[list[UUID]], since: SQLColumnExpression[date], today: date
) -> ColumnElement[int]:
    """SQL: the days from a date to today that lie in weeks of instruction of the first of a row's schools.

    Weekends count, holidays do not; of a school whose weeks are not known, every day counts.
    """
    until = literal(today, Date)
    school = school_ids[1]
    mine = and_(SchoolWeek.district_id == district_id, SchoolWeek.school_id == school)
    ends = func.least(SchoolWeek.monday + 7, until, type_=Date)
    begins = func.greatest(SchoolWeek.monday, since, type_=Date)
    counted = (
        select(func.coalesce(func.sum(ends - begins), 0))
        .where(mine, SchoolWeek.instructional, SchoolWeek.monday + 7 > since, SchoolWeek.monday < until)
        .scalar_subquery()
    )
    return case((exists().where(mine), counted), else_=until - since)


@needs(Can.READ_ROSTER)
async def weeks_of_schools(
    work: Work, school_ids: Collection[UUID], begins: date, until: date
) -> dict[UUID, list[tuple[date, bool]]]:
    """By school, its weeks in order: the Monday, and whether there was instruction. For many series at once."""
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
    found: dict[UUID, list[tuple[date, bool]]] = {}
    for school_id, monday, instructional in rows:
        found.setdefault(school_id, []).append((monday, instructional))
    return found


def counted(weeks: Sequence[tuple[date, bool]]) -> dict[date, int]:
    """Week numbers by Monday, from the first of these weeks on."""
    # Counted from where the reading starts, so that a phase may run from one school year into the next.
    found, n = {}, 0
    for monday, instructional in weeks:
        n += 1 if instructional else 0
        found[monday] = max(n, 1)
    return found
