"""Owns the instructional weeks in which series are measured: the school's own, or else those of the calendar.

It opens no session itself: it works within the permission of its caller.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
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

from app.access.work import Work
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


async def weeks_off(work: Work, school_ids: Collection[UUID], begins: date, until: date) -> dict[UUID, frozenset[date]]:
    """Returns the Mondays of weeks without instruction, for those of these schools that have a calendar in this time.

    A week that a school's calendar leaves out between two of its own (a summer) is one of them; before the first and
    after the last the calendar says nothing.
    """
    weeks_by_school = await weeks_of_schools(work, school_ids, begins, until)
    off_by_school = {school_id: off_between(weeks, begins, until) for school_id, weeks in weeks_by_school.items()}
    return {school_id: off for school_id, off in off_by_school.items() if off is not None}


def off_between(weeks: Iterable[tuple[date, bool]], begins: date, until: date) -> frozenset[date] | None:
    """Returns the Mondays without instruction among one school's weeks in this time; None where it has no week there.

    Each week is its Monday and whether there was instruction; they come in order.
    """
    since = monday_of(begins)
    instruction = {monday: instructional for monday, instructional in weeks if since <= monday <= until}
    if not instruction:
        return None
    first, last = next(iter(instruction)), next(reversed(instruction))
    between = (first + timedelta(weeks=n) for n in range((last - first).days // 7 + 1))
    return frozenset(monday for monday in between if not instruction.get(monday, False))


def counted(weeks: Sequence[tuple[date, bool]]) -> dict[date, int]:
    """Week numbers by Monday, from the first of these weeks on."""
    # Counted from where the reading starts, so that a phase may run from one school year into the next.
    found, n = {}, 0
    for monday, instructional in weeks:
        n += 1 if instructional else 0
        found[monday] = max(n, 1)
    return found
