"""Numbers a school's instructional weeks, because series are measured in these weeks.

If a school has no calendar, all of its weeks are counted. The functions check no permission, because the commands that
call them have already done so.
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
from app.core.db import Bound
from app.roster.lookup import IdList
from app.roster.models import SchoolWeek

Weeks = Mapping[date, int]
"""The number of each week, keyed by its Monday.

A week without instruction has the number of the last instructional week before it.
"""


def weeks_between(weeks: Weeks, begins: date, day: date) -> int:
    """Returns the number of instructional weeks between two dates.

    If the school has no calendar for these dates, all weeks between them are counted.
    """
    first, last = weeks.get(monday_of(begins)), weeks.get(monday_of(day))
    if first is not None and last is not None and last >= first:
        return last - first
    return (monday_of(day) - monday_of(begins)).days // 7


def days_of_instruction(
    district_id: Bound[UUID],
    school_ids: SQLColumnExpression[list[UUID]],
    since: SQLColumnExpression[date],
    today: Bound[date],
) -> ColumnElement[int]:
    """Returns SQL for the number of days, from the date `since` to today, that lie in instructional weeks.

    Saturdays and Sundays of these weeks are counted too. The weeks of the first school in `school_ids` are used. If no
    weeks of this school are stored, every day counts.
    """
    until = literal(today, Date) if isinstance(today, date) else today
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


async def weeks_of_schools(
    work: Work, school_ids: Collection[UUID], begins: date, until: date
) -> dict[UUID, list[tuple[date, bool]]]:
    """Returns the weeks of each of these schools, in order, keyed by school.

    Each week is a pair: its Monday, and whether there was instruction.
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


async def weeks_off(work: Work, school_ids: Collection[UUID], begins: date, until: date) -> dict[UUID, frozenset[date]]:
    """Returns the Mondays of the weeks without instruction, keyed by school.

    A school without a calendar in this period is left out. A week that is missing between the first and the last week
    of a calendar, as in the summer, is included. Weeks before the first week or after the last week of the calendar are
    unknown, so they are not included.
    """
    weeks_by_school = await weeks_of_schools(work, school_ids, begins, until)
    off_by_school = {school_id: off_between(weeks, begins, until) for school_id, weeks in weeks_by_school.items()}
    return {school_id: off for school_id, off in off_by_school.items() if off is not None}


def off_between(weeks: Iterable[tuple[date, bool]], begins: date, until: date) -> frozenset[date] | None:
    """Returns the Mondays of one school's weeks without instruction between two dates.

    `weeks` are in order, each as a pair of its Monday and whether there was instruction. A week that is missing between
    two of them counts as a week without instruction. Returns None if none of the weeks lies between the dates.
    """
    since = monday_of(begins)
    instruction = {monday: instructional for monday, instructional in weeks if since <= monday <= until}
    if not instruction:
        return None
    first, last = next(iter(instruction)), next(reversed(instruction))
    between = (first + timedelta(weeks=n) for n in range((last - first).days // 7 + 1))
    return frozenset(monday for monday in between if not instruction.get(monday, False))


def counted(weeks: Sequence[tuple[date, bool]]) -> dict[date, int]:
    """Returns the number of weeks with instruction up to and including each week, keyed by the week's Monday.

    A week without instruction has the same number as the week before it. No number is below 1.
    """
    # The count begins with the given weeks rather than with the school year, because a phase may continue into the next
    # school year.
    numbers, number = {}, 0
    for monday, instructional in weeks:
        number += 1 if instructional else 0
        numbers[monday] = max(number, 1)
    return numbers
