"""Builds the data of a group's chart: one line of scores for each member within the caller's reach. Draws nothing.

A line is labelled by the student's initials only where the caller may read the roster, and otherwise by a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import attrgetter
from statistics import median
from uuid import UUID

from sqlalchemy import and_, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, NotFound
from app.evidence.models import Score
from app.evidence.queries import scores_of
from app.group.models import Group, GroupMember
from app.group.rules import initials
from app.playbook.lookup import measure_by_id
from app.playbook.models import Measure
from app.roster.models import Person
from app.support.models import Support
from app.support.queries import phases_of


@dataclass(frozen=True, slots=True)
class GroupPoint:
    """The median of the scores that a member has of one day, without screening scores."""

    taken_on: date
    value: float


@dataclass(frozen=True, slots=True)
class GroupLine:
    """The line of one member: the label, the student's support, its goal and its points."""

    label: str
    support_id: UUID
    from_on: date
    until_on: date | None
    goal: float
    goal_on: date
    points: tuple[GroupPoint, ...]


@dataclass(frozen=True, slots=True)
class GroupPicture:
    """The data of a group's chart. `others` is the number of present members whom the caller may not see."""

    group: Group
    measure: Measure
    lines: list[GroupLine]
    others: int


@needs(Can.READ_SUPPORTS, Can.READ_SCORES)
async def group_picture(work: Work, group_id: UUID) -> GroupPicture:
    """Returns the chart data of a group; raises `NotFound`, or `Conflict` for a group without a measure."""
    group = await work.db.scalar(select(Group).where(Group.district_id == work.district_id, Group.id == group_id))
    if group is None:
        raise NotFound("group")
    if group.measure_id is None:
        raise Conflict("This group has no measure, and so no chart.", code="support.no_measure")
    rows = await work.db.execute(
        select(GroupMember, Support, Person)
        .join(Support, and_(Support.district_id == work.district_id, Support.id == GroupMember.support_id))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == GroupMember.student_id))
        .where(GroupMember.district_id == work.district_id, GroupMember.group_id == group_id)
        .order_by(GroupMember.id)
    )
    members = [(member, support, person) for member, support, person in rows]
    students = [person for _, _, person in members]
    phases = await phases_of(work, [support.id for _, support, _ in members])
    scores = await scores_of(work, [student.id for student in students])
    lines = [
        GroupLine(
            label=label,
            support_id=support.id,
            from_on=member.from_on,
            until_on=member.until_on,
            goal=phases[support.id][-1].goal,
            goal_on=phases[support.id][-1].goal_on,
            points=_points(scores[person.id], group.measure_id, support.starts_on),
        )
        for label, (member, support, person) in zip(_labels(work, students), members, strict=True)
    ]
    seen = sum(member.until_on is None for member, _, _ in members)
    return GroupPicture(group, await measure_by_id(work, group.measure_id), lines, max(group.size - seen, 0))


def _labels(work: Work, students: Sequence[Person]) -> list[str]:
    """Returns the students' initials for a caller who may see their names, and otherwise numbers."""
    if not work.principal.may(Can.READ_ROSTER):
        return [str(number) for number in range(1, len(students) + 1)]
    work.disclose("student", (student.id for student in students))
    return initials([(student.given_name, student.family_name) for student in students])


def _points(scores: Sequence[Score], measure_id: UUID, begins: date) -> tuple[GroupPoint, ...]:
    shown = [
        score
        for score in scores
        if score.measure_id == measure_id and score.purpose != "screening" and score.taken_on >= begins
    ]
    return tuple(
        GroupPoint(day, median(score.value for score in of_day))
        for day, of_day in groupby(shown, attrgetter("taken_on"))
    )
