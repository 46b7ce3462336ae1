"""Manages a district's breaks, and marks the school weeks that they cover as weeks without instruction.

OneRoster describes terms but no holidays, so a district declares its breaks here.

* A week has no instruction if each of its days from Monday to Friday lies in a break of the school or of the whole
  district. Several breaks may cover the week together.
* A break of the whole district also applies to schools that are added later.
* After a change, the calling function must have the affected series judged again.
"""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

from sqlalchemy import Date, Uuid, bindparam, or_, select, text

from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.clock import monday_of, now
from app.core.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.core.errors import Forbidden, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.page import Keyset, Page
from app.core.text import Text
from app.core.violations import Violations, broken_rules, input_violations
from app.roster.lookup import find_row, page_by_id, today_of
from app.roster.models import Org, SchoolBreak
from app.roster.references import parse

MAX_BREAK = timedelta(days=366)
MAX_DISTANCE = timedelta(days=5 * 366)
"""The maximum distance of a break from today, before or after. A date beyond it is probably a typing error."""
OUT_OF_REACH = "This caller reaches only some schools. Declare breaks for one of its schools at a time."


def is_break_week(school: str, monday: str) -> str:
    """Returns an SQL condition that is true if breaks cover every weekday of a school's week.

    `school` and `monday` are SQL expressions. The statement must bind `:district`.
    """
    return f"""EXISTS (
        SELECT FROM school_break AS b
        WHERE b.district_id = :district AND b.removed_at IS NULL AND (b.school_id IS NULL OR b.school_id = {school})
          AND b.begins_on < {monday} + 5 AND b.ends_on >= {monday}
        HAVING range_agg(daterange(b.begins_on, b.ends_on, '[]')) @> daterange({monday}, {monday} + 5))"""


UPDATE_WEEKS = text(
    f"""UPDATE school_week AS w SET instructional = NOT w.instructional
        WHERE w.district_id = :district AND (:school IS NULL OR w.school_id = :school)
          AND w.monday BETWEEN :first AND :last
          AND w.instructional = {is_break_week("w.school_id", "w.monday")}
        RETURNING w.school_id"""
).bindparams(
    bindparam("district", type_=Uuid),
    bindparam("school", type_=Uuid),
    bindparam("first", type_=Date),
    bindparam("last", type_=Date),
)


@dataclass(frozen=True, slots=True)
class NewBreak:
    """Days without school to be declared. Declaring the same days of the same school again returns the same break."""

    begins_on: Annotated[date, About("The first day of the break, included.", date(2026, 12, 21))]
    ends_on: Annotated[date, About("The last day of the break, included.", date(2027, 1, 1))]
    school: Annotated[
        str | None,
        About(
            "The school: an id, or an external id `sis:<source>:<sourcedId>`; null for the whole district.",
            "org_01jq4n6d9zf3vbs0x5k2m7e8tc",
        ),
    ] = None
    name: Annotated[str | None, Text(min=1, max=200), About("The district's name for the break.", "Winter break")] = (
        None
    )


@dataclass(frozen=True, slots=True)
class SavedBreak:
    """The result of saving or deleting a break.

    `schools` are the schools for which a week changed.
    """

    row: SchoolBreak
    is_new: bool
    schools: frozenset[UUID]


@needs(Can.READ_ROSTER)
async def breaks(work: Work, keyset: Keyset, school_id: UUID | None = None) -> Page[SchoolBreak]:
    """Returns a page of breaks in the order of their creation.

    With a school, only breaks of that school and of the whole district are returned.
    """
    query = select(SchoolBreak).where(SchoolBreak.district_id == work.district_id, SchoolBreak.removed_at.is_(None))
    if school_id is not None:
        query = query.where(or_(SchoolBreak.school_id.is_(None), SchoolBreak.school_id == school_id))
    page: Page[SchoolBreak] = await page_by_id(work, keyset, query, SchoolBreak.id)
    return page


@needs(Can.PUBLISH_PLAYBOOK)
async def save_break(work: Work, new: NewBreak) -> SavedBreak:
    """Saves a break and marks its weeks as weeks without instruction.

    If the same days are saved for the same school again, no second break is created. Raises `Invalid` with every
    violation. The calling function must have the affected series judged again.
    """
    school_id = await _validate(work, new)
    await _lock_breaks(work)
    existing = await work.db.scalar(
        select(SchoolBreak).where(
            SchoolBreak.district_id == work.district_id,
            SchoolBreak.removed_at.is_(None),
            SchoolBreak.school_id.is_not_distinct_from(school_id),
            SchoolBreak.begins_on == new.begins_on,
            SchoolBreak.ends_on == new.ends_on,
        )
    )
    if existing is not None:
        existing.name = new.name if new.name is not None else existing.name
        await work.db.flush()
        return SavedBreak(existing, is_new=False, schools=frozenset())
    row = SchoolBreak(
        district_id=work.district_id,
        id=new_id(),
        school_id=school_id,
        begins_on=new.begins_on,
        ends_on=new.ends_on,
        name=new.name,
        declared_at=now(),
    )
    work.db.add(row)
    await work.db.flush()
    return SavedBreak(row, is_new=True, schools=await _update_weeks(work, row))


@needs(Can.PUBLISH_PLAYBOOK)
async def delete_break(work: Work, break_id: UUID) -> SavedBreak:
    """Deletes a break; its weeks become instructional again unless another break covers them."""
    await _lock_breaks(work)
    is_break = (
        SchoolBreak.district_id == work.district_id,
        SchoolBreak.id == break_id,
        SchoolBreak.removed_at.is_(None),
    )
    row = await work.db.scalar(select(SchoolBreak).where(*is_break))
    if row is None:
        raise NotFound("break")
    if not _reaches(work, row.school_id):
        raise Forbidden(OUT_OF_REACH, code="break.out_of_reach")
    row.removed_at = now()
    await work.db.flush()
    return SavedBreak(row, is_new=False, schools=await _update_weeks(work, row))


async def _update_weeks(work: Work, row: SchoolBreak) -> frozenset[UUID]:
    """Computes again which school weeks have instruction, for the weeks that overlap this break.

    All stored breaks are taken into account. Returns the schools for which a week changed.
    """
    parameters = {
        "district": work.district_id,
        "school": row.school_id,
        "first": monday_of(row.begins_on),
        "last": row.ends_on,
    }
    return frozenset(await work.db.scalars(UPDATE_WEEKS, parameters))


async def _lock_breaks(work: Work) -> None:
    """Locks the district's breaks and school weeks.

    Other transactions that change them wait until this one ends.
    """
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.SCHOOL_BREAK})


async def _validate(work: Work, new: NewBreak) -> UUID | None:
    """Returns the id of the break's school, or None for the whole district; raises `Invalid` with every violation."""
    violations = Violations(input_violations(new))
    today = await today_of(work)
    violations.add(broken_rules((_near_today, _ends_in_time), new, today))
    school_id: UUID | None = None
    with violations:
        if new.school is not None:
            pointer = "/school"
            school_id = (await find_row(work, Org, parse("org", new.school, pointer), pointer, Org.type == "school")).id
        if not _reaches(work, school_id):
            raise Invalid([Violation("/school", "break.out_of_reach", OUT_OF_REACH)])
    violations.refuse()
    return school_id


def _near_today(new: NewBreak, today: date) -> list[Violation]:
    if abs(new.begins_on - today) <= MAX_DISTANCE:
        return []
    detail = "A break begins within five years of today. Look at its year."
    return [Violation("/begins_on", "break.far_off", detail)]


def _ends_in_time(new: NewBreak, _: date) -> list[Violation]:
    if new.ends_on < new.begins_on:
        detail = "A break ends on the day on which it begins, or later."
        return [Violation("/ends_on", "break.ends_before_it_begins", detail)]
    if new.ends_on - new.begins_on >= MAX_BREAK:
        detail = f"A break has {MAX_BREAK.days} days at most. Look at its year."
        return [Violation("/ends_on", "break.too_long", detail)]
    return []


def _reaches(work: Work, school_id: UUID | None) -> bool:
    """Returns whether the caller may see every school to which a break applies."""
    principal = work.principal
    return principal.reach is Reach.DISTRICT or (principal.reach is Reach.SCHOOLS and school_id in principal.schools)
