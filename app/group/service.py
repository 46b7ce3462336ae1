"""Forms and ends groups, and adds and removes their members. Each member of a group has an individual support."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Misuse, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.violations import (
    Violations,
    day_violations,
    input_violations,
    known_values,
    partial_input,
    readable,
)
from app.events.catalogue import GROUP_CHANGED, GROUP_ENDED, GROUP_FORMED
from app.events.outbox import record
from app.group.events import group_event
from app.group.inputs import MAX_MEMBERS, STUDENT, NewGroup, NewMember
from app.group.lookup import lock_group, lock_group_after_members, read_group
from app.group.models import Group, GroupMember
from app.group.rules import GroupState
from app.playbook.lookup import area_by_id, level_by_id
from app.response import service as response
from app.roster.lookup import find_row, today_of
from app.roster.models import Org
from app.roster.references import parse
from app.roster.student_lock import lock_student, lock_students_by_name
from app.support.models import Support
from app.support.phase import student_columns
from app.support.rules import Starts
from app.support.service import BECAUSE, NewSupport

OF_MEMBER = frozenset(NewMember.__slots__)
"""The inputs of a support that are given for each member; its other inputs are given once for the group."""
_OF_GROUP = frozenset(NewSupport.__slots__) - OF_MEMBER


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def form_group(work: Work, new: NewGroup) -> Group:
    """Forms a group, and plans a support for each of its members; raises `Invalid` with every violation."""
    violations = Violations(input_violations(new))
    with violations:
        if not 1 <= len(new.members) <= MAX_MEMBERS:
            raise Invalid([Violation("/members", "group.members", f"A group has 1 to {MAX_MEMBERS} members.")])
    school: Org | None = None
    with violations:
        school = await find_row(work, Org, parse("org", new.school, "/school"), "/school", Org.type == "school")
    supports = await _plan_supports(work, new, school, violations)
    with violations:
        if len({support.student_id for support in supports}) < len(supports):
            raise Invalid([Violation("/members", "group.same_student", "A student is a member once.")])
    with violations:
        if len({support.secured_area for support in supports}) > 1:
            detail = "The concerns of the members lie in different secured areas: form a group for each."
            raise Invalid([Violation("/members", "support.secured_areas", detail)])
    violations.refuse()
    if school is None:
        raise Misuse("A group without a school was not refused.")
    first = supports[0]
    group = Group(
        district_id=work.district_id,
        id=new_id(),
        school_id=school.id,
        name=new.name,
        intervention=first.intervention,
        intervention_id=first.intervention_id,
        area_id=first.area_id,
        level_id=first.level_id,
        measure_id=first.measure_id,
        lead_id=first.lead_id,
        provider_id=first.provider_id,
        minutes_per_session=new.minutes_per_session,
        sessions_per_week=new.sessions_per_week,
        starts_on=new.starts_on,
        goal_on=new.goal_on,
        review_on=new.review_on,
        state=GroupState.ACTIVE,
        size=len(supports),
        secured_area=first.secured_area,
        created_at=now(),
        version=1,
    )
    work.db.add(group)
    await work.db.flush()
    work.db.add_all([_member_of(group, support, new.starts_on) for support in supports])
    await work.db.flush()
    record(work, group_event(GROUP_FORMED, group))
    return group


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def join_group(
    work: Work,
    group_id: UUID,
    member: Annotated[NewMember, About("The student who joins, with a goal.")],
    on: Annotated[
        date | None, About("The first day; by default, today or the group's first day.", date(2026, 10, 5))
    ] = None,
) -> Group:
    """Adds a student to a group, and plans a support for the student like those of the other members.

    The membership begins on the first day of the support.
    """
    await lock_students_by_name(work, readable([member], "student"))
    group = require_active(await lock_group(work, group_id))
    today = await today_of(work)
    level = await level_by_id(work, group.level_id)
    if level.retired_at is not None or (await area_by_id(work, group.area_id)).retired_at is not None:
        detail = "The level or the area of this group is retired: it takes no new members. Form another group."
        raise Conflict(detail, code="group.structure_retired")
    violations = Violations()
    with violations:
        violations.add(day_violations(on, "/on"))
    days: dict[str, date] = {}
    with violations:
        days["starts_on"] = max(on or max(today, group.starts_on), group.starts_on)
    with violations:
        support = await response.plan_support(work, _support_of(group, member, level.rank, days))
        with violations:
            _require_school(support, group.school_id)
        with violations:
            if support.secured_area != group.secured_area:
                detail = "The concerns of this student lie in another secured area than the group."
                raise Invalid([Violation("/concerns", "support.secured_areas", detail)])
        if await _open_members(work, group, support.student_id):
            raise Invalid([Violation("/student", "group.same_student", "This student is a member already.")])
    violations.refuse()
    from_on = days["starts_on"]
    work.db.add(_member_of(group, support, from_on))
    return await save_change(work, group, 1)


@needs(Can.PLAN_SUPPORT)
async def leave_group(
    work: Work,
    group_id: UUID,
    student: Annotated[str, STUDENT],
    on: Annotated[
        date | None, About("The first day without the student; by default, today.", date(2026, 12, 1))
    ] = None,
) -> Group:
    """Ends a membership. The support continues individually until it is ended."""
    violations = Violations()
    with violations:
        await lock_students_by_name(work, [student])
    group = require_active(await lock_group(work, group_id))
    with violations:
        person = await lock_student(work, student, "/student")
        members = await _open_members(work, group, person.id)
        if not members:
            raise Invalid([Violation("/student", "group.not_member", "This student is no member of the group.")])
    with violations:
        day = await _first_day_after(work, on)
    violations.refuse()
    await _end_memberships(work, members, day)
    return await save_change(work, group, -1)


@needs(Can.PLAN_SUPPORT)
async def end_group(
    work: Work,
    group_id: UUID,
    on: Annotated[date | None, About("The first day without the group; by default, today.", date(2027, 2, 12))] = None,
) -> Group:
    """Ends a group and its memberships. The supports of its members continue individually.

    All memberships end on this day, even those of students that the caller may not see.
    """
    require_active(await read_group(work, group_id))
    day = await _first_day_after(work, on)
    async with work.as_district("group"):
        group = require_active(await lock_group_after_members(work, group_id, only_present=True))
        members = await _open_members(work, group)
        await _end_memberships(work, members, day)
    group.state, group.ends_on, group.size = GroupState.ENDED, day, 0
    group.version += 1
    await work.db.flush()
    record(work, group_event(GROUP_ENDED, group))
    return group


@needs(Can.PLAN_SUPPORT)
async def end_support(
    work: Work,
    support_id: UUID,
    because: Annotated[str, BECAUSE, About("Why it ends.", "The goal is met.")],
    on: Annotated[date | None, About("The last day; by default, today.", date(2027, 2, 12))] = None,
) -> Support:
    """Ends a planned or active support, closes its open alert, and ends the student's membership in its group."""
    support = await response.end_support(work, support_id, because, on)
    member = await work.db.scalar(
        select(GroupMember).where(
            GroupMember.district_id == work.district_id,
            GroupMember.support_id == support.id,
            GroupMember.until_on.is_(None),
        )
    )
    if member is None:
        return support
    async with work.as_district("group"):
        group = await lock_group(work, member.group_id)
        last_day = support.ends_on or await today_of(work)
        await _end_memberships(work, [member], last_day + timedelta(days=1))
        await save_change(work, group, -1)
    return support


async def _plan_supports(work: Work, new: NewGroup, school: Org | None, violations: Violations) -> list[Support]:
    """Plans the support of each member, and adds the violations of these supports to `violations`.

    `school` is the school of the group, or None if it is not valid. A member must be a student of this school. A
    violation in a value of the whole group points to the input of the group. Any other violation points to the input of
    the member.

    If the list of members is malformed, one support is planned without a student. This finds the violations in the
    inputs of the group.
    """
    members: Sequence[NewMember | None] = (None,)
    values = {name: value for name, value in known_values(new).items() if name in _OF_GROUP}
    with violations:
        members = new.members
        values["group_size"] = len(new.members)
    named = readable((member for member in members if member is not None), "student")
    with violations:
        await lock_students_by_name(work, named)
    supports: list[Support] = []
    violations_by_place: dict[tuple[str, str], Violation] = {}
    for position, member in enumerate(members):
        stated = {} if member is None else known_values(member)
        own = set(OF_MEMBER)
        if stated.get("goal_on", "") is None:
            own.remove("goal_on")
            del stated["goal_on"]
            with violations:
                stated["goal_on"] = new.goal_on
        with violations:
            try:
                supports.append(await response.plan_support(work, partial_input(NewSupport, values | stated)))
                if school is not None:
                    _require_school(supports[-1], school.id)
            except Invalid as error:
                for violation in error.violations:
                    pointer = _pointer_of_member(violation.pointer, position, own)
                    violations_by_place[pointer, violation.code] = replace(violation, pointer=pointer)
    violations.add(violations_by_place.values())
    return supports


def _pointer_of_member(pointer: str, position: int, own: Collection[str]) -> str:
    """Converts the pointer of a violation in a member's support into a pointer into the input of the group.

    `own` has the names of the inputs that each member has. A pointer to one of these gets the prefix
    `/members/<position>`; any other pointer is returned unchanged, because the input belongs to the group.
    """
    name = pointer.split("/")[1] if "/" in pointer else ""
    return f"/members/{position}{pointer}" if name in own else pointer


def _require_school(support: Support, school_id: UUID) -> None:
    """Raises `Invalid` unless the student of a support attends the school of the group.

    The student must be locked before. If the student leaves the school later, a sync ends the membership.
    """
    if school_id not in support.school_ids:
        detail = "This student does not attend the school of the group."
        raise Invalid([Violation("/student", "group.other_school", detail)])


def _support_of(group: Group, member: NewMember, level: int, days: dict[str, date]) -> NewSupport:
    """Returns the input from which the support of a new member is planned.

    What `member` does not state, such as the intervention, is taken from the group. `days` has the first day of the
    support, or is empty if the given day is invalid.
    """

    def public(kind: str, row_id: UUID | None) -> str | None:
        return None if row_id is None else ids.format_id(kind, row_id)

    stated = known_values(member)
    if stated.get("goal_on", "") is None:
        stated["goal_on"] = group.goal_on
    of_group: dict[str, Any] = {
        "intervention": group.intervention,
        "library_entry": public("intervention", group.intervention_id),
        "level": level,
        "measure": public("measure", group.measure_id),
        "area": public("area", group.area_id),
        "review_on": group.review_on,
        "minutes_per_session": group.minutes_per_session,
        "sessions_per_week": group.sessions_per_week,
        "lead": public("person", group.lead_id),
        "provider": public("person", group.provider_id),
        "group_size": group.size + 1,
        "starts": Starts.ON_ITS_DAY.value,
    }
    return partial_input(NewSupport, of_group | stated | days)


def _member_of(group: Group, support: Support, from_on: date) -> GroupMember:
    return GroupMember(
        **student_columns(support), id=new_id(), group_id=group.id, support_id=support.id, from_on=from_on
    )


def require_active(group: Group) -> Group:
    """Returns the group; raises `Conflict` if it has ended."""
    if group.state == GroupState.ENDED:
        raise Conflict("This group has ended.", code="group.ended")
    return group


async def _open_members(work: Work, group: Group, student_id: UUID | None = None) -> list[GroupMember]:
    query = select(GroupMember).where(
        GroupMember.district_id == work.district_id,
        GroupMember.group_id == group.id,
        GroupMember.until_on.is_(None),
    )
    if student_id is not None:
        query = query.where(GroupMember.student_id == student_id)
    return list(await work.db.scalars(query.order_by(GroupMember.id)))


async def _first_day_after(work: Work, on: date | None) -> date:
    """Returns the first day on which the members do not belong to the group: `on` or, by default, today.

    Raises `Invalid` if the day lies in the future, or too early for a record about a student.
    """
    today = await today_of(work)
    day = on or today
    if day > today:
        raise Invalid([Violation("/on", "group.in_the_future", "A membership ends today or before.")])
    if violations := day_violations(day, "/on"):
        raise Invalid(violations)
    return day


async def _end_memberships(work: Work, members: Sequence[GroupMember], day: date) -> None:
    for member in members:
        member.until_on = max(day, member.from_on)
    await work.db.flush()


@needs(Can.PLAN_SUPPORT)
async def save_change(work: Work, group: Group, joined: int = 0) -> Group:
    """Saves a changed group and records the event; `joined` is the change of its size."""
    group.size += joined
    group.version += 1
    await work.db.flush()
    record(work, group_event(GROUP_CHANGED, group))
    return group
