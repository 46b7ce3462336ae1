"""Owns a district's breaks, and which of its school weeks they make weeks without instruction. Judges nothing anew.

OneRoster tells of terms and of no holidays: a district says its breaks here. A week is a break week where each of its
weekdays, Monday to Friday, lies in a break of the school or of the whole district; several breaks may share it. A break
of the whole district holds for schools that come later as well.
"""

# ruff: noqa: S608  # what is put into a statement are our own names; values are bound

from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from sqlalchemy import Date, Uuid, bindparam, or_, select, text

from app.access.district_lock import WAIT_FOR_LOCK, DistrictLock
from app.access.permission import Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.clock import monday_of, now, today_in
from app.core.errors import Forbidden, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.page import Keyset, Page
from app.roster.lookup import by_id, found, zone_of
from app.roster.models import Org, SchoolBreak
from app.roster.references import parse

LONGEST = timedelta(days=366)
FARTHEST = timedelta(days=5 * 366)
"""From today, either way: a day beyond is a slip of the keyboard."""
OUT_OF_REACH = "This caller reaches some of the schools: it says their breaks, one school at a time."


def is_break_week(school: str, monday: str) -> str:
    """SQL: whether breaks cover every weekday of a school's week; both are expressions, `:district` is bound."""
    return f"""EXISTS (
        SELECT FROM school_break AS b
        WHERE b.district_id = :district AND b.removed_at IS NULL AND (b.school_id IS NULL OR b.school_id = {school})
          AND b.begins_on < {monday} + 5 AND b.ends_on >= {monday}
        HAVING range_agg(daterange(b.begins_on, b.ends_on, '[]')) @> daterange({monday}, {monday} + 5))"""


LAY_WEEKS = text(
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
    """Days without school, both counted: of one school, by an id or an external id, or of the whole district."""

    begins_on: date
    ends_on: date
    school: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SavedBreak:
    """A break as it is kept; whether it is new; the schools of which some week is now another than before."""

    row: SchoolBreak
    is_new: bool
    schools: frozenset[UUID]


@needs(Can.READ_ROSTER)
async def breaks(work: Work, keyset: Keyset, school_id: UUID | None = None) -> Page[SchoolBreak]:
    """A page of breaks in the order in which they were said; with a school, those that hold there."""
    query = select(SchoolBreak).where(SchoolBreak.district_id == work.district_id, SchoolBreak.removed_at.is_(None))
    if school_id is not None:
        query = query.where(or_(SchoolBreak.school_id.is_(None), SchoolBreak.school_id == school_id))
    page: Page[SchoolBreak] = await by_id(work, keyset, query, SchoolBreak.id)
    return page


@needs(Can.PUBLISH_PLAYBOOK)
async def save_break(work: Work, new: NewBreak) -> SavedBreak:
    """Keeps a break, and takes its weeks out of instruction. The same days of the same school are one break.

    Raises `Invalid` with everything that is wrong. Series are judged anew by who calls.
    """
    school_id = await _checked(work, new)
    await _lock_breaks(work)
    known = await work.db.scalar(
        select(SchoolBreak).where(
            SchoolBreak.district_id == work.district_id,
            SchoolBreak.removed_at.is_(None),
            SchoolBreak.school_id.is_not_distinct_from(school_id),
            SchoolBreak.begins_on == new.begins_on,
            SchoolBreak.ends_on == new.ends_on,
        )
    )
    if known is not None:
        known.name = new.name if new.name is not None else known.name
        await work.db.flush()
        return SavedBreak(known, is_new=False, schools=frozenset())
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
    return SavedBreak(row, is_new=True, schools=await _lay_weeks(work, row))


@needs(Can.PUBLISH_PLAYBOOK)
async def delete_break(work: Work, break_id: UUID) -> SavedBreak:
    """Takes a break back: its weeks are weeks of instruction again, where no other break covers them."""
    await _lock_breaks(work)
    mine = (SchoolBreak.district_id == work.district_id, SchoolBreak.id == break_id, SchoolBreak.removed_at.is_(None))
    row = await work.db.scalar(select(SchoolBreak).where(*mine))
    if row is None:
        raise NotFound("break")
    if not _reaches(work, row.school_id):
        raise Forbidden(OUT_OF_REACH, code="break.out_of_reach")
    row.removed_at = now()
    await work.db.flush()
    return SavedBreak(row, is_new=False, schools=await _lay_weeks(work, row))


async def _lay_weeks(work: Work, row: SchoolBreak) -> frozenset[UUID]:
    """Makes the weeks that a break touches what all breaks together make them; the schools that had such a week."""
    asked = {
        "district": work.district_id,
        "school": row.school_id,
        "first": monday_of(row.begins_on),
        "last": row.ends_on,
    }
    return frozenset(await work.db.scalars(LAY_WEEKS, asked))


async def _lock_breaks(work: Work) -> None:
    """Until the end of the transaction nobody else writes a break of the district, or a week that one could cover."""
    await work.db.execute(WAIT_FOR_LOCK, {"district": work.district_id, "name": DistrictLock.SCHOOL_BREAK})


async def _checked(work: Work, new: NewBreak) -> UUID | None:
    """The school that a break names, if it names one. Raises `Invalid` with everything that is wrong."""
    violations = _unfit(new, today_in(await zone_of(work)))
    school_id: UUID | None = None
    try:
        if new.school is not None:
            at = "/school"
            school_id = (await found(work, Org, parse("org", new.school, at), at, Org.type == "school")).id
        if not _reaches(work, school_id):
            raise Invalid([Violation("/school", "break.out_of_reach", OUT_OF_REACH)])
    except Invalid as error:
        violations += error.violations
    if violations:
        raise Invalid(violations)
    return school_id


def _unfit(new: NewBreak, today: date) -> list[Violation]:
    violations = []
    if abs(new.begins_on - today) > FARTHEST:
        detail = "A break begins within five years of today. Look at its year."
        violations.append(Violation("/begins_on", "break.far_off", detail))
    if new.ends_on < new.begins_on:
        detail = "A break ends on the day on which it begins, or later."
        violations.append(Violation("/ends_on", "break.ends_before_it_begins", detail))
    elif new.ends_on - new.begins_on >= LONGEST:
        detail = f"A break has {LONGEST.days} days at most. Look at its year."
        violations.append(Violation("/ends_on", "break.too_long", detail))
    return violations


def _reaches(work: Work, school_id: UUID | None) -> bool:
    """Whether the caller reaches all of the schools that a break is for."""
    asked = work.principal
    return asked.reach is Reach.DISTRICT or (asked.reach is Reach.SCHOOLS and school_id in asked.schools)
