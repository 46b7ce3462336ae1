"""Determines on which days a team has school, for the commands and the task that schedule meetings."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.core.clock import monday_of
from app.roster.calendar import weeks_of_schools
from app.roster.models import Org, SchoolBreak

CALENDAR_BEFORE: Final = timedelta(days=366)
"""How far back a school's weeks are read.

Without these weeks, a summer after the last known week would look as if the school had no calendar.
"""
DISTRICT: Final = None
"""The key of the whole district's breaks in `SchoolDays.breaks`. It is also the school id of a team of several schools.
"""


@dataclass(frozen=True, slots=True)
class SchoolDays:
    """The Mondays of the weeks with instruction, for each school that has a calendar, and the breaks.

    Each break is a pair of its first and its last day. The breaks are keyed by school, or by `DISTRICT` for the whole
    district.
    """

    mondays: Mapping[UUID, frozenset[date]]
    breaks: Mapping[UUID | None, tuple[tuple[date, date], ...]]

    def is_school_day(self, school_id: UUID | None, day: date) -> bool:
        """Returns whether a team has school on a day. For a team of several schools, `school_id` is None.

        There is no school in a break of the team's school or of the district. On other days:

        * A team of one school has school if the week is one with instruction, or if the school has no calendar.
        * A team of several schools has school if any school of the district has instruction in this week, or if no
          school has a calendar.
        """
        own = self.breaks.get(school_id, ())
        if any(first <= day <= last for first, last in (*own, *self.breaks.get(DISTRICT, ()))):
            return False
        monday = monday_of(day)
        if school_id is not None:
            return school_id not in self.mondays or monday in self.mondays[school_id]
        return not self.mondays or any(monday in weeks for weeks in self.mondays.values())


async def read_school_days(work: Work, since: date, until: date) -> SchoolDays:
    """Returns the school days of the district in a period. Executes three statements."""
    schools = await work.db.scalars(
        select(Org.id).where(Org.district_id == work.district_id, Org.type == "school", Org.removed_at.is_(None))
    )
    weeks = await weeks_of_schools(work, list(schools), since - CALENDAR_BEFORE, until)
    rows = await work.db.execute(
        select(SchoolBreak.school_id, SchoolBreak.begins_on, SchoolBreak.ends_on)
        .where(
            SchoolBreak.district_id == work.district_id,
            SchoolBreak.removed_at.is_(None),
            SchoolBreak.ends_on >= since,
            SchoolBreak.begins_on <= until,
        )
        .order_by(SchoolBreak.begins_on)
    )
    breaks: dict[UUID | None, tuple[tuple[date, date], ...]] = {}
    for school_id, begins_on, ends_on in rows:
        breaks[school_id] = (*breaks.get(school_id, ()), (begins_on, ends_on))
    return SchoolDays(
        {school: frozenset(monday for monday, is_on in each if is_on) for school, each in weeks.items()}, breaks
    )
