"""Determines the caseload of a member of staff: the students whom this person teaches, supports or leads.

Whom a person teaches follows from enrollments.
"""

from collections.abc import Sequence
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
    """Returns the role, the schools and the caseload of the person for whom a request acts.

    Raises `Invalid` for an unknown person.
    """
    person = await locate_staff(work, name, "/act_for")
    today = today_in(await zone_of(work))
    students = () if person.removed_at else await _caseload(work, person.id, today)
    district_org = await work.db.scalar(
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
        whole_district=district_org is not None,
        schools=tuple(person.school_ids),
        students=students,
    )


async def bound_to_person(engine: AsyncEngine, keyring: Keyring, client: Principal, name: str) -> Principal:
    """Returns the client's principal, restricted to what the person `name`, for whom the request acts, may see and do.

    Raises `Forbidden` without the scope `act-for` or for a role without access, and `Invalid` for an unknown person.
    """
    async with unit(engine, client, keyring, "act-for") as work:
        return acting_for(client, await acting_person(work, name))


@needs(Can.PLAN_SUPPORT)
async def assign(work: Work, staff_id: UUID, student: Person, via: str, support_id: UUID) -> None:
    """Adds a student to a staff member's caseload because of a support. If the entry exists already, nothing
    changes.
    """
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
    """Removes the caseload entries that exist because of a support.

    A student who is on a caseload for another reason stays on it.
    """
    await work.db.execute(
        delete(Caseload).where(Caseload.district_id == work.district_id, Caseload.support_id == support_id)
    )


@needs(Can.PLAN_SUPPORT)
async def reassign(work: Work, entries: Sequence[tuple[UUID, UUID, Sequence[UUID], str, UUID | None]]) -> None:
    """Replaces the caseload entries that exist because of these supports.

    An entry is a support, its student, the student's schools, `lead` or `provider`, and this person or None.
    """
    support_ids = cast(sorted({support_id for support_id, *_ in entries}), IdList)
    await work.db.execute(
        delete(Caseload).where(Caseload.district_id == work.district_id, Caseload.support_id == any_(support_ids))
    )
    rows = [
        {"district_id": work.district_id, "staff_id": staff_id, "student_id": student_id, "via": via}
        | {"support_id": support_id, "school_ids": list(school_ids)}
        for support_id, student_id, school_ids, via, staff_id in entries
        if staff_id is not None
    ]
    if rows:
        await work.db.execute(insert(Caseload).on_conflict_do_nothing(), rows)


async def _caseload(work: Work, staff_id: UUID, today: date) -> tuple[UUID, ...]:
    # Three queries, each selecting by the ids that the previous one returned. A self-join would be planned badly for a
    # roster that was just loaded and has no statistics yet.
    class_ids = await work.db.scalars(
        _live(work, today, Enrollment.class_id).where(~Enrollment.is_student, Enrollment.person_id == staff_id)
    )
    classes = cast(list(class_ids), IdList)
    taught_students = await work.db.scalars(
        _live(work, today, Enrollment.person_id).where(Enrollment.is_student, Enrollment.class_id == any_(classes))
    )
    supported_students = await work.db.scalars(
        select(Caseload.student_id).where(Caseload.district_id == work.district_id, Caseload.staff_id == staff_id)
    )
    student_ids = cast(list({*taught_students, *supported_students}), IdList)
    # A student who left is on nobody's caseload; the student's school and district still see the records.
    rows = await work.db.scalars(
        select(Person.id)
        .where(Person.district_id == work.district_id, Person.id == any_(student_ids), Person.removed_at.is_(None))
        .order_by(Person.id)
    )
    return tuple(rows)


def _live(work: Work, today: date, column: InstrumentedAttribute[UUID]) -> Select[UUID]:
    return select(column).where(
        Enrollment.district_id == work.district_id,
        Enrollment.removed_at.is_(None),
        or_(Enrollment.ends_on.is_(None), Enrollment.ends_on > today),
    )
