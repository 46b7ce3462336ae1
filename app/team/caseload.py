"""Determines whom a member of staff sees: the students whom this person teaches, supports or leads, and those of teams.

Whom a person teaches follows from enrollments. The students of a team are reached by those who are members today, while
the team is active; what a member may do for them follows from the member's role in the roster.
"""

from dataclasses import replace
from datetime import date
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, any_, cast, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import InstrumentedAttribute

from app.access.permission import ROLE_OPENS, SEES_SCHOOL, Can
from app.access.principal import ActingPerson, Principal, acting_for, schools_of
from app.access.work import Work, needs, unit
from app.core.clock import today_in
from app.core.crypto import Keyring
from app.roster.lookup import IdList, locate_staff, zone_of
from app.roster.models import Caseload, Enrollment, Org, Person
from app.team.models import Team, TeamMember, TeamStudent
from app.team.rules import TeamState


@needs(Can.ACT_FOR)
async def acting_person(work: Work, name: str) -> ActingPerson:
    """Returns the role, the schools, the teams and the students of the person for whom a request acts.

    Raises `Invalid` for an unknown person.
    """
    person = await locate_staff(work, name, "/act_for")
    today = today_in(await zone_of(work))
    role = person.role if person.enabled and person.removed_at is None else "departed"
    acting = ActingPerson(person.id, role, False, tuple(person.school_ids), ())
    if role not in ROLE_OPENS:
        return acting
    acting = replace(acting, whole_district=await _sees_district(work, person))
    teams = await _teams(work, person.id, today)
    served = {student_id for students in teams.values() for student_id in students}
    if role not in SEES_SCHOOL:
        students = await _caseload(work, person.id, today, served)
    else:
        students = await _at_other_schools(work, schools_of(work.principal, acting), served)
    return replace(acting, students=students, teams=tuple(sorted(teams)))


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


async def _sees_district(work: Work, person: Person) -> bool:
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
    return district_org is not None


async def _teams(work: Work, person_id: UUID, today: date) -> dict[UUID, list[UUID]]:
    """Returns the students of each active team of which this person is a member today."""
    students = (
        select(func.array_agg(TeamStudent.student_id))
        .where(
            TeamStudent.district_id == work.district_id,
            TeamStudent.team_id == TeamMember.team_id,
            _holds(TeamStudent, today),
        )
        .scalar_subquery()
    )
    rows = await work.db.execute(
        select(TeamMember.team_id, students)
        .join(Team, (Team.district_id == TeamMember.district_id) & (Team.id == TeamMember.team_id))
        .where(
            TeamMember.district_id == work.district_id,
            TeamMember.person_id == person_id,
            _holds(TeamMember, today),
            Team.district_id == work.district_id,
            Team.state == TeamState.ACTIVE,
        )
    )
    return {team_id: student_ids or [] for team_id, student_ids in rows}


def _holds(model: type[TeamMember] | type[TeamStudent], today: date) -> ColumnElement[bool]:
    return and_(model.from_on <= today, or_(model.until_on.is_(None), model.until_on > today))


async def _caseload(work: Work, staff_id: UUID, today: date, served: set[UUID]) -> tuple[UUID, ...]:
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
    return await _on_roster(work, {*taught_students, *supported_students, *served})


async def _at_other_schools(work: Work, schools: tuple[UUID, ...] | None, served: set[UUID]) -> tuple[UUID, ...]:
    """Returns the students of teams whom a person who sees these schools (None: all) does not see by a school."""
    if schools is None or not served:
        return ()
    return await _on_roster(work, served, ~Person.school_ids.overlap(cast(list(schools), IdList)))


async def _on_roster(work: Work, student_ids: set[UUID], *also: ColumnElement[bool]) -> tuple[UUID, ...]:
    # A student who left is on nobody's caseload; the student's school and district still see the records.
    rows = await work.db.scalars(
        select(Person.id)
        .where(
            Person.district_id == work.district_id,
            Person.id == any_(cast(list(student_ids), IdList)),
            Person.removed_at.is_(None),
            *also,
        )
        .order_by(Person.id)
    )
    return tuple(rows)


def _live(work: Work, today: date, column: InstrumentedAttribute[UUID]) -> Select[UUID]:
    return select(column).where(
        Enrollment.district_id == work.district_id,
        Enrollment.removed_at.is_(None),
        or_(Enrollment.ends_on.is_(None), Enrollment.ends_on > today),
    )
