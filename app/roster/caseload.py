"""Owns whom a member of staff reaches: whom they teach (from enrollments) and whom they support (assigned)."""

from datetime import date
from uuid import UUID

from sqlalchemy import Select, any_, cast, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import InstrumentedAttribute

from app.access.permission import Can
from app.access.principal import ActingPerson, Principal, acting_for
from app.access.work import Work, needs, unit
from app.core.clock import today_in
from app.core.crypto import Keyring
from app.roster.lookup import IdList, locate_staff, zone_of
from app.roster.models import Caseload, Enrollment, Org, Person


@needs(Can.ACT_FOR)
async def acting_person(work: Work, name: str) -> ActingPerson:
    """The person whom a request names, as the door needs them. Raises `Invalid` for who is not known."""
    person = await locate_staff(work, name, "/act_for")
    today = today_in(await zone_of(work))
    students = () if person.removed_at else await _caseload(work, person.id, today)
    whole = await work.db.scalar(
        select(Org.id)
        .where(
            Org.district_id == work.district_id,
            Org.id.in_(person.school_ids),
            Org.type == "district",
            Org.removed_at.is_(None),
        )
        .limit(1)
    )
    role = person.role if person.enabled and person.removed_at is None else "departed"
    return ActingPerson(
        person_id=person.id,
        role=role,
        whole_district=whole is not None,
        schools=tuple(person.school_ids),
        students=students,
    )


async def bound_to_person(engine: AsyncEngine, keyring: Keyring, client: Principal, name: str) -> Principal:
    """The client bound to the person whom its request acts for.

    Raises `Forbidden` without the scope `act-for` or for a role that opens nothing, `Invalid` for an unknown person.
    """
    async with unit(engine, client, keyring, "act-for") as work:
        return acting_for(client, await acting_person(work, name))


@needs(Can.PLAN_SUPPORT)
async def assign(work: Work, staff_id: UUID, student: Person, via: str, support_id: UUID) -> None:
    """Puts a student on a caseload through a support; twice is once."""
    await work.db.execute(
        insert(Caseload)
        .values(
            district_id=work.district_id,
            staff_id=staff_id,
            student_id=student.id,
            via=via,
            support_id=support_id,
            school_ids=student.school_ids,
        )
        .on_conflict_do_nothing()
    )


@needs(Can.PLAN_SUPPORT)
async def release(work: Work, support_id: UUID) -> None:
    """Takes off every caseload whom only this support had put there."""
    await work.db.execute(
        delete(Caseload).where(Caseload.district_id == work.district_id, Caseload.support_id == support_id)
    )


async def _caseload(work: Work, staff_id: UUID, today: date) -> tuple[UUID, ...]:
    # In three steps, each bounded by the ids of the one before: a join of the table with itself would be at the
    # mercy of statistics that a roster just loaded does not have yet.
    taught = await work.db.scalars(
        _live(work, today, Enrollment.class_id).where(~Enrollment.is_student, Enrollment.person_id == staff_id)
    )
    classes = cast(list(taught), IdList)
    sitting = await work.db.scalars(
        _live(work, today, Enrollment.person_id).where(Enrollment.is_student, Enrollment.class_id == any_(classes))
    )
    supported = await work.db.scalars(
        select(Caseload.student_id).where(Caseload.district_id == work.district_id, Caseload.staff_id == staff_id)
    )
    wanted = cast(list({*sitting, *supported}), IdList)
    # A student who left is on nobody's caseload; their school and district still see them.
    rows = await work.db.scalars(
        select(Person.id)
        .where(Person.district_id == work.district_id, Person.id == any_(wanted), Person.removed_at.is_(None))
        .order_by(Person.id)
    )
    return tuple(rows)


def _live(work: Work, today: date, column: InstrumentedAttribute[UUID]) -> Select[UUID]:
    return select(column).where(
        Enrollment.district_id == work.district_id,
        Enrollment.removed_at.is_(None),
        or_(Enrollment.ends_on.is_(None), Enrollment.ends_on > today),
    )
