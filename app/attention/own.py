"""Defines a person's own students: those in the person's classes, supports and teams."""

from typing import Any

from sqlalchemy import ColumnElement, and_, any_, func, or_, select
from sqlalchemy.orm import aliased

from app.access.principal import Reach
from app.attention.parameters import DISTRICT_ID, PERSON_ID, STUDENTS, TEAMS, TODAY
from app.roster.lookup import IdList
from app.roster.models import Caseload, Enrollment
from app.team.models import TeamStudent, in_force_on


def own_students(reach: Reach, column: Any) -> ColumnElement[bool]:
    """Returns the condition that a row is about one of the acting person's own students.

    The acting person is the person that the request acts for. If this person sees only a caseload, the own students are
    the students of the caseload. If the person sees more, such as a school, they are the students in the person's
    supports, teams and classes.
    """
    if reach is Reach.CASELOAD:
        named: ColumnElement[bool] = column == any_(STUDENTS)
        return named
    supported = select(Caseload.student_id).where(Caseload.district_id == DISTRICT_ID, Caseload.staff_id == PERSON_ID)
    served = select(TeamStudent.student_id).where(
        TeamStudent.district_id == DISTRICT_ID,
        TeamStudent.team_id == any_(TEAMS),
        in_force_on(TeamStudent, TODAY),
    )
    pupil, teacher = aliased(Enrollment), aliased(Enrollment)

    def holds(enrollment: Any) -> ColumnElement[bool]:
        still = or_(enrollment.ends_on.is_(None), enrollment.ends_on > TODAY)
        return and_(enrollment.district_id == DISTRICT_ID, enrollment.removed_at.is_(None), still)

    classes = select(teacher.class_id).where(holds(teacher), teacher.person_id == PERSON_ID, ~teacher.is_student)
    taught = select(pupil.person_id).where(
        holds(pupil), pupil.is_student, pupil.class_id == any_(func.array(classes.scalar_subquery(), type_=IdList))
    )
    parts = [func.array(part.scalar_subquery(), type_=IdList) for part in (supported, served, taught)]
    ids = parts[0].op("||")(parts[1]).op("||")(parts[2])
    own: ColumnElement[bool] = column == any_(ids)
    return own
