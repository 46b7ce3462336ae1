"""Builds the data of a group's chart: one line of scores for each member that the caller may see. Draws nothing.

A line is labelled by the student's initials if the caller may read the roster, and otherwise by a number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import and_, any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.evidence.queries import daily_medians
from app.group.models import Group, GroupMember
from app.group.rules import initials
from app.playbook.models import Measure
from app.playbook.queries import measure_named
from app.resources.values import Value, item
from app.roster.lookup import IdList
from app.roster.models import Person
from app.support.models import Phase, PhaseGoal, Support
from app.support.queries import goals_of_measure, phases_of


@dataclass(frozen=True, slots=True)
class GroupPoint:
    """The median of a member's scores on one day. Screening scores are left out."""

    taken_on: date
    value: float


@dataclass(frozen=True, slots=True)
class GroupLine:
    """One member in a group's chart: the label, the student's support, its goal and its points."""

    label: str
    support_id: UUID
    from_on: date
    until_on: date | None
    goal: float
    goal_on: date
    points: tuple[GroupPoint, ...]


class GroupPointValue(Value):
    """The score of a day, or the median of several. Screening scores are left out."""

    taken_on: date = item("The day.")
    value: float = item("The value, in the measure's unit.", 46.0)


class GroupLineValue(Value):
    """The scores and the goal of one member, as one line of the chart."""

    label: str = item("Initials where the caller may read the roster, otherwise a number.", "AB")
    support_id: UUID = item("The support.", kind="support")
    from_on: date = item("The first day of the membership.")
    until_on: date | None = item("The first day after the membership; null while it lasts.")
    goal: float = item("The value that the student is to reach, in the measure's unit.", 70.0)
    goal_on: date = item("The day on which the goal is to be reached.")
    points: list[GroupPointValue] = item("The scores of the membership, up to the day of leaving.")


class GroupChartValue(Value):
    """The data of a group's chart: one line of scores for each member that the caller may see."""

    measure_id: UUID = item("The measure.", kind="measure", get=lambda picture: picture.measure.id)
    measure_name: str = item(
        "The name of the measure.", "Oral reading fluency", get=lambda picture: picture.measure.name
    )
    unit: str = item("The unit of the scores.", "words correct a minute", get=lambda picture: picture.measure.unit)
    lines: list[GroupLineValue] = item("One line for each member within reach.")
    others: int = item("The number of present members who are out of reach.", 0)


Member = tuple[GroupMember, Support, Person]


@dataclass(frozen=True, slots=True)
class GroupPicture:
    """The data of a group's chart. `others` is the number of current members that the caller may not see."""

    group: Group
    measure: Measure
    lines: list[GroupLine]
    others: int


@needs(Can.READ_SUPPORTS, Can.READ_SCORES)
async def group_picture(work: Work, group_id: UUID, measure_name: str | None = None) -> GroupPicture:
    """Returns the chart data of a group for the group's own measure or, with `measure_name`, for another measure.

    Raises `NotFound`, and `Conflict` for a group without a measure. Raises `Invalid` if none of the supports that the
    caller may see was ever monitored by the named measure.
    """
    group = await work.db.scalar(select(Group).where(Group.district_id == work.district_id, Group.id == group_id))
    if group is None:
        raise NotFound("group")
    if group.measure_id is None:
        raise Conflict("This group has no measure, and so no chart.", code="support.no_measure")
    (picture,) = await _pictures(work, [group], measure_name)
    if picture is None:
        detail = "No member within this caller's reach has been followed by this measure."
        raise Invalid([Violation("/measure", "support.measure_not_followed", detail)])
    return picture


@needs(Can.READ_SUPPORTS, Can.READ_SCORES)
async def group_pictures(
    work: Work, keys: Sequence[tuple[UUID]], measure: str | None = None
) -> list[GroupPicture | None]:
    """Returns the chart data of each of these groups, with a fixed number of statements.

    The result is None for a group without a measure. With `measure`, the result is also None for a group in which this
    measure was never used. Only the supports of members that the caller may see are considered.
    """
    ids = [group_id for (group_id,) in keys]
    rows = await work.db.scalars(
        select(Group).where(Group.district_id == work.district_id, Group.id == any_(cast(ids, IdList)))
    )
    groups = [group for group in rows if group.measure_id is not None]
    pictures = zip(groups, await _pictures(work, groups, measure), strict=True)
    by_id = {group.id: picture for group, picture in pictures}
    return [by_id.get(group_id) for group_id in ids]


async def _pictures(work: Work, groups: Sequence[Group], measure_name: str | None) -> list[GroupPicture | None]:
    named = None if measure_name is None else (await measure_named(work, measure_name, "/measure")).id
    rows = await work.db.execute(
        select(GroupMember, Support, Person)
        .join(Support, and_(Support.district_id == work.district_id, Support.id == GroupMember.support_id))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == GroupMember.student_id))
        .where(
            GroupMember.district_id == work.district_id,
            GroupMember.group_id == any_(cast([group.id for group in groups], IdList)),
        )
        .order_by(GroupMember.id)
    )
    members: dict[UUID, list[Member]] = {group.id: [] for group in groups}
    for member, support, person in rows:
        members[member.group_id].append((member, support, person))
    everybody = [each for of_group in members.values() for each in of_group]
    phases = await phases_of(work, [support.id for _, support, _ in everybody])
    further: dict[UUID, PhaseGoal] = {}
    if named is not None:
        further = await goals_of_measure(work, [phase.id for each in phases.values() for phase in each], named)
    measure_of = {group.id: named or group.measure_id for group in groups}
    scores = await daily_medians(
        work,
        {person.id for _, _, person in everybody},
        {measure_id for measure_id in measure_of.values() if measure_id is not None},
        min(
            [support.starts_on for _, support, _ in everybody] + [goal.begins_on for goal in further.values()],
            default=date.max,
        ),
    )
    rows_of_measures = await work.db.scalars(
        select(Measure).where(
            Measure.district_id == work.district_id, Measure.id == any_(cast(list(set(measure_of.values())), IdList))
        )
    )
    measures: dict[UUID | None, Measure] = {measure.id: measure for measure in rows_of_measures}
    return [
        _picture(work, group, measures.get(measure_of[group.id]), members[group.id], phases, further, scores)
        for group in groups
    ]


def _picture(
    work: Work,
    group: Group,
    measure: Measure | None,
    members: Sequence[Member],
    phases: Mapping[UUID, Sequence[Phase]],
    further: Mapping[UUID, PhaseGoal],
    scores: Mapping[tuple[UUID, UUID], Sequence[tuple[date, float]]],
) -> GroupPicture | None:
    """Returns the chart data of a group for one measure.

    The result is None if `measure` is None. It is also None if no member's support was ever monitored by `measure`,
    unless `measure` is the group's own measure.

    For some supports, `measure` is an additional measure and not the first one. `further` has the goals of these
    supports for `measure`, keyed by the phase's id.
    """
    if measure is None:
        return None
    lines: list[GroupLine] = []
    labels = _labels(work, [person for _, _, person in members])
    for label, (member, support, person) in zip(labels, members, strict=True):
        goals: list[Phase] | list[PhaseGoal] = list(phases[support.id])
        if measure.id != support.measure_id:
            goals = [further[phase.id] for phase in phases[support.id] if phase.id in further]
        if goals:
            begins_on = support.starts_on if measure.id == support.measure_id else goals[0].begins_on
            lines.append(
                GroupLine(
                    label=label,
                    support_id=support.id,
                    from_on=member.from_on,
                    until_on=member.until_on,
                    goal=goals[-1].goal,
                    goal_on=goals[-1].goal_on,
                    points=tuple(
                        GroupPoint(day, value)
                        for day, value in scores.get((person.id, measure.id), ())
                        if day >= begins_on and (member.until_on is None or day <= member.until_on)
                    ),
                )
            )
    if not lines and measure.id != group.measure_id:
        return None
    seen = sum(member.until_on is None for member, _, _ in members)
    return GroupPicture(group, measure, lines, max(group.size - seen, 0))


def _labels(work: Work, students: Sequence[Person]) -> list[str]:
    """Returns the students' initials for a caller who may see their names, and otherwise numbers."""
    if not work.principal.may(Can.READ_ROSTER):
        return [str(number) for number in range(1, len(students) + 1)]
    work.disclose("student", (student.id for student in students))
    return initials([(student.given_name, student.family_name) for student in students])
