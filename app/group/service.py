"""Forms and ends groups; students join and leave them. Each member has a support of the student's own."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Annotated
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About
from app.core.violations import Violations, input_violations
from app.events.catalogue import GROUP_CHANGED, GROUP_ENDED, GROUP_FORMED
from app.events.outbox import record
from app.group.events import group_event
from app.group.inputs import MAX_MEMBERS, STUDENT, NewGroup, NewMember
from app.group.models import Group, GroupMember
from app.group.rules import GroupState
from app.playbook.lookup import level_by_id
from app.response import service as response
from app.roster.lookup import find_row, today_of
from app.roster.models import Org
from app.roster.references import parse
from app.roster.student_lock import lock_student, lock_students, lock_students_by_name
from app.support.models import Support
from app.support.phase import student_columns
from app.support.service import NewSupport

OF_MEMBER = frozenset(NewMember.__slots__)
"""The inputs of a support that each member states; the others are the group's."""


@needs(Can.PLAN_SUPPORT, Can.READ_SCORES)
async def form_group(work: Work, new: NewGroup) -> Group:
    """Forms a group, and plans a support for each of its members; raises `Invalid` with every violation."""
    Violations(input_violations(new)).refuse()
    if not 1 <= len(new.members) <= MAX_MEMBERS:
        raise Invalid([Violation("/members", "group.members", f"A group has 1 to {MAX_MEMBERS} members.")])
    school = await find_row(work, Org, parse("org", new.school, "/school"), "/school", Org.type == "school")
    await lock_students_by_name(work, (member.student for member in new.members))
    supports = await _plan_supports(work, new)
    first = supports[0]
    secured_areas = {support.secured_area for support in supports}
    if len({support.student_id for support in supports}) < len(supports):
        raise Invalid([Violation("/members", "group.same_student", "A student is a member once.")])
    if len(secured_areas) > 1:
        detail = "The concerns of the members lie in different secured areas: form a group for each."
        raise Invalid([Violation("/members", "support.secured_areas", detail)])
    group = Group(
        district_id=work.district_id,
        id=new_id(),
        school_id=school.id,
        name=new.name,
        intervention=new.intervention,
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
    """Plans a support like those of the group for another student, who is a member from its first day on."""
    group = await _lock_group(work, group_id)
    today = await today_of(work)
    from_on = max(on or max(today, group.starts_on), group.starts_on)
    level = await level_by_id(work, group.level_id)
    support = await response.plan_support(work, _support_of(group, member, from_on, level.rank))
    if support.secured_area != group.secured_area:
        detail = "The concerns of this student lie in another secured area than the group."
        raise Invalid([Violation("/member/concerns", "support.secured_areas", detail)])
    if await _open_members(work, group, support.student_id):
        raise Invalid([Violation("/member/student", "group.same_student", "This student is a member already.")])
    work.db.add(_member_of(group, support, from_on))
    return await _changed(work, group, 1)


@needs(Can.PLAN_SUPPORT)
async def leave_group(
    work: Work,
    group_id: UUID,
    student: Annotated[str, STUDENT],
    on: Annotated[
        date | None, About("The first day without the student; by default, today.", date(2026, 12, 1))
    ] = None,
) -> Group:
    """Ends a membership. The support goes on alone, until it is ended or the student joins another group."""
    group = await _lock_group(work, group_id)
    person = await lock_student(work, student, "/student")
    members = await _open_members(work, group, person.id)
    if not members:
        raise Invalid([Violation("/student", "group.not_member", "This student is no member of the group.")])
    await _end_memberships(work, members, on)
    return await _changed(work, group, -1)


@needs(Can.PLAN_SUPPORT)
async def end_group(
    work: Work,
    group_id: UUID,
    on: Annotated[date | None, About("The first day without the group; by default, today.", date(2027, 2, 12))] = None,
) -> Group:
    """Ends a group and its memberships. The supports of its members go on alone.

    Memberships outside the caller's reach end on the same day, because the group does.
    """
    group = await _lock_group(work, group_id)
    async with work.as_district("group"):
        members = await _open_members(work, group)
        await lock_students(work, {member.student_id for member in members})
        day = await _end_memberships(work, members, on)
    group.state, group.ends_on, group.size = GroupState.ENDED, day, 0
    group.version += 1
    await work.db.flush()
    record(work, group_event(GROUP_ENDED, group))
    return group


async def _plan_supports(work: Work, new: NewGroup) -> list[Support]:
    """Plans the support of each member; raises `Invalid` with the violations of all of them, at their members."""
    supports: list[Support] = []
    violations: dict[tuple[str | None, str], Violation] = {}
    for position, member in enumerate(new.members):
        plan = NewSupport(
            **{name: getattr(member, name) for name in OF_MEMBER - {"goal_on"}},
            goal_on=member.goal_on or new.goal_on,
            intervention=new.intervention,
            level=new.level,
            measure=new.measure,
            area=new.area,
            starts_on=new.starts_on,
            review_on=new.review_on,
            minutes_per_session=new.minutes_per_session,
            sessions_per_week=new.sessions_per_week,
            lead=new.lead,
            provider=new.provider,
            group_size=len(new.members),
            starts=new.starts,
        )
        try:
            supports.append(await response.plan_support(work, plan))
        except Invalid as error:
            for violation in error.violations:
                pointer = _pointer_of_member(violation.pointer or "", position)
                violations[pointer, violation.code] = replace(violation, pointer=pointer)
    if violations:
        raise Invalid(list(violations.values()))
    return supports


def _pointer_of_member(pointer: str, position: int) -> str:
    """Returns the pointer of a violation in a member's support: at the member, or at the group for a common input."""
    name = pointer.split("/")[1] if "/" in pointer else ""
    return f"/members/{position}{pointer}" if name in OF_MEMBER else pointer


def _support_of(group: Group, member: NewMember, starts_on: date, level: int) -> NewSupport:
    def public(kind: str, row_id: UUID | None) -> str | None:
        return None if row_id is None else ids.format_id(kind, row_id)

    return NewSupport(
        student=member.student,
        goal=member.goal,
        goal_on=member.goal_on or group.goal_on,
        baseline=member.baseline,
        concerns=member.concerns,
        confirm_rate=member.confirm_rate,
        intervention=group.intervention,
        level=level,
        measure=public("measure", group.measure_id),
        area=public("area", group.area_id),
        starts_on=starts_on,
        review_on=group.review_on,
        minutes_per_session=group.minutes_per_session,
        sessions_per_week=group.sessions_per_week,
        lead=public("person", group.lead_id),
        provider=public("person", group.provider_id),
        group_size=group.size + 1,
    )


def _member_of(group: Group, support: Support, from_on: date) -> GroupMember:
    return GroupMember(
        **student_columns(support), id=new_id(), group_id=group.id, support_id=support.id, from_on=from_on
    )


async def _lock_group(work: Work, group_id: UUID) -> Group:
    group = await work.db.scalar(
        select(Group)
        .where(Group.district_id == work.district_id, Group.id == group_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if group is None:
        raise NotFound("group")
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


async def _end_memberships(work: Work, members: Sequence[GroupMember], on: date | None) -> date:
    today = await today_of(work)
    day = on or today
    if day > today:
        raise Invalid([Violation("/on", "group.in_the_future", "A membership ends today or before.")])
    for member in members:
        member.until_on = max(day, member.from_on)
    await work.db.flush()
    return day


async def _changed(work: Work, group: Group, joined: int) -> Group:
    group.size += joined
    group.version += 1
    await work.db.flush()
    record(work, group_event(GROUP_CHANGED, group))
    return group
