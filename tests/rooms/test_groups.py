"""Tests groups: members join and leave by date, get a support each, and share the group's sessions."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.clock import today_in
from app.core.errors import Conflict, Invalid
from app.group.inputs import Attendance, NewGroup, NewGroupSession, NewMember
from app.group.models import Group, GroupMember
from app.group.rules import Delivered, Presence, delivered_to, initials, lesson_of
from app.group.service import end_group, form_group, join_group, leave_group
from app.group.sessions import RecordedGroupSession, record_group_sessions
from app.support.models import Session, Support
from app.support.queries import dosage_between
from app.team.caseload import bound_to_person
from tests.rooms.test_loop import BEGINS, stu
from tests.rooms.test_support_starts import types_of
from tests.rooms.verdict_town import classmates
from tests.town import ALL_SCOPES, Town

TODAY = today_in("America/Chicago")


def group_of(town: Town, *names: str, **more: Any) -> NewGroup:
    """Returns the input for a reading group with a goal of 70 words for each member."""
    plan: dict[str, Any] = {
        "school": ids.format_id("org", town.schools[0]),
        "name": "Blue table",
        "intervention": "Repeated reading",
        "level": 2,
        "measure": "orf",
        "starts_on": BEGINS,
        "goal_on": BEGINS + timedelta(weeks=20),
        "minutes_per_session": 30,
        "sessions_per_week": 5,
        "members": tuple(
            NewMember(student=stu(town, name), goal=70.0, baseline=40.0, confirm_rate=True) for name in names
        ),
    }
    return NewGroup(**(plan | more))


async def formed(town: Town, *names: str, **more: Any) -> Group:
    async with town.unit() as work:
        return await form_group(work, group_of(town, *names, **more))


@needs(Can.READ_SUPPORTS)
async def rows_of(work: Work, model: type[Any]) -> list[Any]:
    return list(await work.db.scalars(select(model).where(model.district_id == work.district_id).order_by(model.id)))


async def rows(town: Town, model: type[Any]) -> list[Any]:
    async with town.unit() as work:
        return await rows_of(work, model)


async def supports_of(town: Town) -> dict[str, Support]:
    """Returns the supports by the names of their students."""
    names = {student_id: name for name, student_id in town.students.items()}
    return {names[support.student_id]: support for support in await rows(town, Support)}


async def recorded(town: Town, group: Group, *new: NewGroupSession) -> list[RecordedGroupSession]:
    async with town.unit() as work:
        return await record_group_sessions(work, group.id, new)


async def delivered(town: Town, name: str) -> tuple[int, int]:
    """Returns the delivered sessions and minutes of a member's support in its first week."""
    support = (await supports_of(town))[name]
    async with town.unit() as work:
        dosage = await dosage_between(work, support.id, BEGINS, BEGINS + timedelta(days=6))
    return dosage.delivered_sessions, dosage.delivered_minutes


async def test_one_call_plans_a_support_for_each_member(north: Town) -> None:
    """One request plans a support for each member, with the group's plan and size. Membership begins with the
    support.
    """
    group = await formed(north, "amy", "ben")
    supports = await supports_of(north)
    assert set(supports) == {"amy", "ben"}
    assert {support.state for support in supports.values()} == {"active"}
    members = await rows(north, GroupMember)
    assert {(one.support_id, one.from_on, one.until_on) for one in members} == {
        (support.id, BEGINS, None) for support in supports.values()
    }
    assert group.size == 2
    types = await types_of(north)
    assert (types.count("group.formed"), types.count("support.planned")) == (1, 2)


async def test_every_fault_of_a_group_is_named_at_its_place(north: Town) -> None:
    """A group with errors is refused as a whole.

    The error of one member names this member. An error of the whole group is reported once.
    """
    members = (NewMember(student=stu(north, "amy"), goal=30.0, baseline=40.0), NewMember(student="sis:sis:nobody"))
    with pytest.raises(Invalid) as refused:
        await formed(north, members=members)
    pointers = {violation.pointer for violation in refused.value.violations}
    assert pointers == {"/members/0/goal", "/members/1/goal", "/members/1/student"}
    with pytest.raises(Invalid) as twice:
        await formed(north, "amy", "amy")
    assert twice.value.violations[0].code == "group.same_student"
    assert await rows(north, Support) == []


async def test_one_record_gives_each_member_the_own_dosage(north: Town) -> None:
    """If a group's session is recorded, each member who attended gets its minutes.

    An absent member gets none, and a member who left early gets the minutes until then.
    """
    names = await classmates(north, 3)
    group = await formed(north, *names)
    _, absent, early = names
    attendance = (
        Attendance(student=stu(north, absent), attended=False),
        Attendance(student=stu(north, early), minutes=10, because="schedule"),
    )
    (result,) = await recorded(north, group, NewGroupSession(held_on=BEGINS, attendance=attendance))
    assert (result.outcome, result.violations) == ("recorded", ())
    assert [await delivered(north, name) for name in names] == [(1, 30), (0, 0), (1, 10)]
    sessions = await rows(north, Session)
    assert {session.group_session_id for session in sessions} == {result.session.id if result.session else None}
    assert sorted(str(session.lost_because) for session in sessions) == ["None", "absent", "schedule"]
    (repeated,) = await recorded(north, group, NewGroupSession(held_on=BEGINS, attendance=attendance))
    assert repeated.outcome == "unchanged"
    (amended,) = await recorded(north, group, NewGroupSession(held_on=BEGINS))
    assert amended.outcome == "amended"
    assert [await delivered(north, name) for name in names] == [(1, 30)] * 3


async def test_a_lost_session_is_lost_for_everybody(north: Town) -> None:
    """If a group session did not take place, one request records this with the reason for each member."""
    group = await formed(north, "amy", "ben")
    await recorded(north, group, NewGroupSession(held_on=BEGINS, lost_because="no_provider"))
    sessions = await rows(north, Session)
    assert {(one.attended, one.delivered_minutes, one.lost_because) for one in sessions} == {(False, 0, "no_provider")}


async def test_members_count_from_their_first_day_to_their_last(north: Town) -> None:
    """A group's session is recorded for the students who were members on its day.

    A session that lists somebody else is refused, and the other sessions are recorded.
    """
    group = await formed(north, "amy")
    joined, left = BEGINS + timedelta(days=7), BEGINS + timedelta(days=14)
    async with north.unit() as work:
        ben = NewMember(student=stu(north, "ben"), goal=70.0, baseline=40.0, confirm_rate=True)
        assert (await join_group(work, group.id, ben, joined)).size == 2
    async with north.unit() as work:
        assert (await leave_group(work, group.id, stu(north, "amy"), left)).size == 1
    not_yet = Attendance(student=stu(north, "ben"), attended=True)
    first, refused, both, alone = await recorded(
        north,
        group,
        NewGroupSession(held_on=BEGINS),
        NewGroupSession(held_on=BEGINS + timedelta(days=1), attendance=(not_yet,)),
        NewGroupSession(held_on=joined),
        NewGroupSession(held_on=left),
    )
    assert [one.outcome for one in (first, refused, both, alone)] == ["recorded", "refused", "recorded", "recorded"]
    assert [violation.code for violation in refused.violations] == ["group.not_member"]
    names = {student_id: name for name, student_id in north.students.items()}
    served = {(one.held_on, names[one.student_id]) for one in await rows(north, Session)}
    assert served == {(BEGINS, "amy"), (joined, "amy"), (joined, "ben"), (left, "ben")}


async def test_a_group_has_students_of_its_school_only(north: Town) -> None:
    """A student of another school cannot become a member: the next sync would end the membership."""
    with pytest.raises(Invalid) as refused:
        await formed(north, "amy", "cy")
    assert [(one.pointer, one.code) for one in refused.value.violations] == [
        ("/members/1/student", "group.other_school")
    ]
    group, member = (
        await formed(north, "amy"),
        NewMember(student=stu(north, "cy"), goal=70.0, baseline=40.0, confirm_rate=True),
    )
    with pytest.raises(Invalid) as late:
        async with north.unit() as work:
            await join_group(work, group.id, member)
    assert ("/student", "group.other_school") in {(one.pointer, one.code) for one in late.value.violations}
    assert set(await supports_of(north)) == {"amy"}


async def test_a_group_ends_and_its_supports_go_on(north: Town) -> None:
    """When a group ends, every membership ends, the supports stay active, and nobody can join any more."""
    group = await formed(north, "amy", "ben")
    async with north.unit() as work:
        ended = await end_group(work, group.id)
    assert (ended.state, ended.size, ended.ends_on) == ("ended", 0, TODAY)
    assert {one.until_on for one in await rows(north, GroupMember)} == {TODAY}
    assert {support.state for support in (await supports_of(north)).values()} == {"active"}
    with pytest.raises(Conflict):
        async with north.unit() as work:
            await join_group(
                work, group.id, NewMember(student=stu(north, "cy"), goal=70.0, baseline=40.0, confirm_rate=True)
            )


async def test_a_caller_records_for_the_members_within_reach(north: Town) -> None:
    """If a teacher records a group's session, it is recorded only for the members that the teacher may see.

    For the other members nothing is recorded.
    """
    group = await formed(north, "amy", "ben")
    principal = await bound_to_person(
        north.engine, north.settings.keyring, north.client(ALL_SCOPES), "sis:sis:teacher-1"
    )
    async with north.unit(principal) as work:
        (result,) = await record_group_sessions(work, group.id, [NewGroupSession(held_on=BEGINS)])
        assert result.outcome == "recorded"
        assert {one.student_id for one in await rows_of(work, GroupMember)} == {north.students["amy"]}
    assert {one.student_id for one in await rows(north, Session)} == {north.students["amy"]}
    (refused,) = await recorded(north, group, NewGroupSession(held_on=TODAY + timedelta(days=1)))
    assert {violation.code for violation in refused.violations} == {"session.in_the_future"}


async def test_many_members_need_no_more_reads_than_few(north: Town) -> None:
    """A session of twelve members needs as many statements as a session of two, because rows are loaded and written
    together.
    """
    names = await classmates(north, 14)
    small, large = await formed(north, *names[:2]), await formed(north, *names[2:])
    counts = []
    for group in (small, large):
        statements: list[str] = []

        def note(*arguments: Any, into: list[str] = statements) -> None:
            into.append(str(arguments[2]))

        event.listen(north.engine.sync_engine, "before_cursor_execute", note)
        try:
            await recorded(north, group, NewGroupSession(held_on=BEGINS))
        finally:
            event.remove(north.engine.sync_engine, "before_cursor_execute", note)
        counts.append(len(statements))
    assert counts[1] <= counts[0] + 2


def test_what_a_member_got_follows_the_session() -> None:
    """A member's attendance, minutes and reason are those of the group's session, unless the record states others.

    An absent member needs no reason.
    """
    whole, cut, lost = lesson_of(30, None, None), lesson_of(30, 20, "event"), lesson_of(30, None, "schedule")
    assert delivered_to(whole, Presence()) == Delivered(True, 30, None)
    assert delivered_to(whole, Presence(attended=False)) == Delivered(False, 0, "absent")
    assert delivered_to(whole, Presence(minutes=10, because="other")) == Delivered(True, 10, "other")
    assert delivered_to(cut, Presence()) == Delivered(True, 20, "event")
    assert delivered_to(cut, Presence(attended=False, because="absent")) == Delivered(False, 0, "absent")
    assert delivered_to(lost, Presence()) == Delivered(False, 0, "schedule")


def test_equal_initials_are_numbered() -> None:
    """Two students with equal initials are distinguished by numbers, without more letters of their names."""
    assert initials([("Amy", "Brown"), ("Ada", "Bell"), ("Cy", "Diaz")]) == ["AB", "AB 2", "CD"]
