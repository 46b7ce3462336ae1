"""Tests what becomes of supports when students, or the people who lead them, leave, move and come back."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.concern.queries import ConcernFilter
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core import ids
from app.core.clock import today_in
from app.core.errors import Conflict, Invalid, NotFound
from app.core.page import keyset
from app.decision.queries import story
from app.evidence.service import NewScore
from app.group.handover import hand_over_supports
from app.group.inputs import NewGroup, NewGroupSession, NewMember
from app.group.service import form_group
from app.group.sessions import record_group_sessions
from app.response.service import change_support, plan_support, record_scores, record_sessions, start_support
from app.response.upkeep.handover import NewHandovers
from app.sis.runs.undo import undo
from app.support.models import Support
from app.support.queries import dosage_between, unserved_concerns
from app.support.queries import support as read_support
from app.support.rules import Starts
from app.support.service import NewSupport, SupportChange
from app.support.session import NewSession
from app.team.caseload import bound_to_person
from tests.rooms.test_support_starts import types_of
from tests.sis.roster_zip import LENIENT, Export, ask, row_id, sync
from tests.town import ALL_SCOPES, Town

TODAY = today_in("America/Chicago")
BEGINS = TODAY - timedelta(weeks=4)


async def supported(town: Town, student: str = "s0", lead: str | None = "t-north", **more: Any) -> Support:
    """Plans an active support for a student of the delivery. By default, the lead is the teacher `t-north`."""
    student_id = ids.format_id("student", await row_id(town, "person", student))
    plan: dict[str, Any] = {
        "student": student_id,
        "intervention": "Repeated reading",
        "level": 2,
        "measure": "orf",
        "starts_on": BEGINS,
        "goal": 70.0,
        "goal_on": BEGINS + timedelta(weeks=20),
        "baseline": 40.0,
        "confirm_rate": True,
        "minutes_per_session": 30,
        "sessions_per_week": 5,
        "lead": None if lead is None else ids.format_id("person", await row_id(town, "person", lead)),
    }
    async with town.unit() as work:
        return await plan_support(work, NewSupport(**(plan | more)))


async def read(town: Town, support: Support) -> Support:
    async with town.unit() as work:
        return await read_support(work, support.id)


async def events_of(town: Town) -> list[str]:
    """Returns the types of the events about supports that a sync recorded."""
    reported = ("support.suspended", "support.resumed", "support.moved", "support.unled")
    return [name for name in await types_of(town) if name in reported]


def leave(export: Export, name: str) -> dict[str, list[dict[str, str]]]:
    """Removes a person, with enrollments and demographics, from the delivery, and returns the removed rows by file."""
    enrolled = {row["sourcedId"] for row in export.rows["enrollments"] if row["userSourcedId"] == name}
    return {
        "users": export.without("users", name),
        "enrollments": export.without("enrollments", *enrolled),
        "demographics": export.without("demographics", name),
    }


def come_back(export: Export, rows: dict[str, list[dict[str, str]]]) -> None:
    for file, of_file in rows.items():
        export.rows[file] += of_file


def move(export: Export, name: str, school: str) -> None:
    """Moves a student to a class of another school in the delivery."""
    next(row for row in export.rows["users"] if row["sourcedId"] == name)["orgSourcedIds"] = school
    for row in export.rows["enrollments"]:
        if row["userSourcedId"] == name:
            row |= {"schoolSourcedId": school, "classSourcedId": f"class-{school}"}


async def test_a_support_is_suspended_with_its_student_and_comes_back(north: Town, tmp_path: Path) -> None:
    """A support is suspended when its student leaves: it accepts no scores and no changes, and gives the reason.

    It goes on when the student is back.
    """
    export = Export()
    await sync(north, export, tmp_path)
    support = await supported(north)
    student = ids.format_id("student", support.student_id)
    gone = leave(export, "s0")
    await sync(north, export, tmp_path, limits=LENIENT)
    suspended = await read(north, support)
    assert (suspended.state, suspended.suspended_on, suspended.resumed_on) == ("suspended", [TODAY], [])
    assert await events_of(north) == ["support.suspended"]
    async with north.unit() as work:
        (refused,) = await record_scores(work, [NewScore(student, "orf", TODAY, 41.0)])
        assert (refused.outcome, refused.violations[0].code) == ("refused", "student.departed")
        late, on_the_day = await record_sessions(
            work, support.id, [NewSession(TODAY - timedelta(days=1), attended=True), NewSession(TODAY, attended=True)]
        )
        assert (late.outcome, on_the_day.violations[0].code) == ("recorded", "session.suspended")
    with pytest.raises(Conflict) as conflict:
        async with north.unit() as work:
            await change_support(work, support.id, SupportChange("More.", sessions_per_week=3))
    assert conflict.value.code == "support.suspended"
    await sync(north, export, tmp_path, limits=LENIENT)
    come_back(export, gone)
    await sync(north, export, tmp_path, limits=LENIENT)
    back = await read(north, support)
    assert (back.state, back.suspended_on, back.resumed_on) == ("active", [TODAY], [TODAY])
    assert await events_of(north) == ["support.suspended", "support.resumed"]
    async with north.unit() as work:
        (recorded,) = await record_scores(work, [NewScore(student, "orf", TODAY, 41.0)])
    assert recorded.outcome == "recorded"


async def test_an_undone_sync_resumes_what_it_suspended(north: Town, tmp_path: Path) -> None:
    """If a delivery wrongly lacks a student, the student's support is suspended, and undoing the run resumes it."""
    export = Export()
    await sync(north, export, tmp_path)
    support = await supported(north)
    leave(export, "s0")
    report = await sync(north, export, tmp_path, limits=LENIENT)
    assert (await read(north, support)).state == "suspended"
    await undo(north.worker_engine, north.settings.keyring, north.district_id, report.run_id, lambda *_: None)
    assert (await read(north, support)).state == "active"


async def test_no_support_begins_for_a_student_who_left(north: Town, tmp_path: Path) -> None:
    """No support can be planned or started for a student who has left the roster.

    It would stay active while the student is away, because no later sync would suspend it.
    """
    export = Export()
    await sync(north, export, tmp_path)
    waiting = await supported(north, starts=Starts.MANUALLY)
    gone = leave(export, "s0")
    await sync(north, export, tmp_path, limits=LENIENT)
    with pytest.raises(Invalid) as refused:
        await supported(north)
    assert [(each.pointer, each.code) for each in refused.value.violations] == [("/student", "student.departed")]
    with pytest.raises(Conflict) as conflict:
        async with north.unit() as work:
            await start_support(work, waiting.id)
    assert conflict.value.code == "support.suspended"
    come_back(export, gone)
    await sync(north, export, tmp_path, limits=LENIENT)
    async with north.unit() as work:
        assert (await start_support(work, waiting.id)).state == "active"


async def test_a_sync_marks_a_support_that_was_given_to_a_person_while_the_person_left(
    north: Town, tmp_path: Path
) -> None:
    """A sync marks a support as unled if the person who leads it is no longer in the roster.

    This can happen if the support is handed over to a person while another sync removes this person.
    """
    export = Export()
    await sync(north, export, tmp_path)
    support = await supported(north, lead="t-south")
    leave(export, "t-north")
    await sync(north, export, tmp_path, limits=LENIENT)
    assert await events_of(north) == []
    gone = await row_id(north, "person", "t-north")
    with pytest.raises(Invalid) as refused:
        await supported(north, lead="t-north")
    assert [(each.pointer, each.code) for each in refused.value.violations] == [("/lead", "person.departed")]
    # As the handover leaves it, which has not seen the sync, and which the sync has not seen.
    await ask(
        north, "UPDATE support SET lead_id = :lead WHERE district_id = :district AND id = :id", lead=gone, id=support.id
    )
    await sync(north, export, tmp_path, limits=LENIENT)
    assert (await read(north, support)).unled_since == TODAY
    assert await events_of(north) == ["support.unled"]
    await sync(north, export, tmp_path, limits=LENIENT)
    assert await events_of(north) == ["support.unled"], "once"


async def test_nothing_is_due_for_a_student_who_left(north: Town, tmp_path: Path) -> None:
    """A concern without a support is listed as unserved, but not while its student has left the roster."""
    export = Export()
    await sync(north, export, tmp_path)
    student = ids.format_id("student", await row_id(north, "person", "s0"))
    async with north.unit() as work:
        concern = await raise_concern(work, NewConcern(student, "ela.fluency", "Reads slowly."))
        await accept_concern(work, concern.id)

    async def unserved() -> int:
        async with north.unit() as work:
            page = await unserved_concerns(work, keyset(north.district_id, "unserved", {}, None, None), ConcernFilter())
        return len(page.rows)

    assert await unserved() == 1
    gone = leave(export, "s0")
    await sync(north, export, tmp_path, limits=LENIENT)
    assert await unserved() == 0
    come_back(export, gone)
    await sync(north, export, tmp_path, limits=LENIENT)
    assert await unserved() == 1


async def test_a_support_goes_on_at_the_new_school_without_its_lead(north: Town, tmp_path: Path) -> None:
    """After a student moves, the support continues without its lead; the new school sees it and the old teacher does
    not.
    """
    export = Export()
    await sync(north, export, tmp_path)
    support = await supported(north)
    school = {name: await row_id(north, "org", name) for name in ("north", "south")}
    teachers = {
        name: ids.format_id("person", await row_id(north, "person", f"t-{name}")) for name in ("north", "south")
    }
    move(export, "s0", "south")
    await sync(north, export, tmp_path, limits=LENIENT)
    moved = await read(north, support)
    assert (moved.state, moved.moved_on, moved.unled_since) == ("active", TODAY, TODAY)
    assert moved.school_ids == [school["south"]]
    assert await events_of(north) == ["support.moved", "support.unled"]
    student = ids.format_id("student", support.student_id)
    for name, is_seen in (("north", False), ("south", True)):
        principal = await bound_to_person(
            north.engine, north.settings.keyring, north.client(ALL_SCOPES), teachers[name]
        )
        assert (support.student_id in principal.students) is is_seen
        try:
            async with north.unit(principal) as work:
                await story(work, student)
        except NotFound:
            assert not is_seen
        else:
            assert is_seen
    await sync(north, export, tmp_path, limits=LENIENT)
    assert await events_of(north) == ["support.moved", "support.unled"]
    move(export, "s0", "north")
    await sync(north, export, tmp_path, limits=LENIENT)
    back = await read(north, support)
    assert back.unled_since is None
    principal = await bound_to_person(north.engine, north.settings.keyring, north.client(ALL_SCOPES), teachers["north"])
    assert support.student_id in principal.students


async def test_a_lead_who_is_at_the_new_school_too_stays(north: Town, tmp_path: Path) -> None:
    """A teacher of both schools, or somebody in the district's office, still leads the support after the move."""
    export = Export()
    next(row for row in export.rows["users"] if row["sourcedId"] == "t-north")["orgSourcedIds"] = "north,south"
    export.rows["users"].append(
        {
            **export.rows["users"][0],
            "sourcedId": "office",
            "username": "office",
            "identifier": "o1",
            "orgSourcedIds": "d",
        }
    )
    await sync(north, export, tmp_path)
    by_both, by_office = await supported(north), await supported(north, "s2", "office")
    move(export, "s0", "south")
    move(export, "s2", "south")
    await sync(north, export, tmp_path, limits=LENIENT)
    assert (await read(north, by_both)).unled_since is None
    assert (await read(north, by_office)).unled_since is None
    assert await events_of(north) == ["support.moved", "support.moved"]


@pytest.mark.parametrize("how", ["gone", "disabled", "other school"])
async def test_what_a_departed_teacher_led_is_listed_and_handed_over_at_once(
    north: Town, tmp_path: Path, how: str
) -> None:
    """Each support whose lead has left is reported once, and is listed until somebody takes it over.

    One request hands over all of them.
    """
    export = Export()
    export.rows["users"].append(
        {**export.rows["users"][0], "sourcedId": "t-new", "username": "t-new", "identifier": "tn"}
    )
    await sync(north, export, tmp_path)
    led = [await supported(north, name) for name in ("s0", "s2")]
    other = await supported(north, "s1", "t-south")
    giver = ids.format_id("person", await row_id(north, "person", "t-north"))
    taker = ids.format_id("person", await row_id(north, "person", "t-new"))
    teacher = next(row for row in export.rows["users"] if row["sourcedId"] == "t-north")
    if how == "gone":
        leave(export, "t-north")
    elif how == "disabled":
        teacher["enabledUser"] = "false"
    else:
        teacher["orgSourcedIds"] = "south"
    await sync(north, export, tmp_path, limits=LENIENT)
    assert [(await read(north, one)).unled_since for one in (*led, other)] == [TODAY, TODAY, None]
    await sync(north, export, tmp_path, limits=LENIENT)
    assert await events_of(north) == ["support.unled", "support.unled"]
    async with north.unit() as work:
        assert (await hand_over_supports(work, NewHandovers(giver, taker, "Left the school."))).supports == 2
    for one in led:
        row = await read(north, one)
        assert (ids.format_id("person", row.lead_id or UUID(int=0)), row.unled_since) == (taker, None)


async def test_days_of_suspension_are_not_planned(north: Town, tmp_path: Path) -> None:
    """No sessions are planned for days on which a support was suspended.

    Such days count neither as missed nor as unknown.
    """
    await sync(north, Export(), tmp_path)
    support = await supported(north)
    monday = BEGINS - timedelta(days=BEGINS.weekday()) + timedelta(weeks=1)

    async def planned(first: date, last: date) -> int:
        async with north.unit() as work:
            return (await dosage_between(work, support.id, first, last)).planned_sessions

    assert await planned(monday, monday + timedelta(days=13)) == 10
    async with north.unit() as work:
        row = await read_support(work, support.id)
        row.suspended_on, row.resumed_on = [monday + timedelta(days=3)], [monday + timedelta(days=8)]
    assert await planned(monday, monday + timedelta(days=13)) == 7


async def test_a_mover_leaves_the_group_of_the_old_school(north: Town, tmp_path: Path) -> None:
    """A student who moves to another school leaves the group that day, but the student's support continues."""
    export = Export()
    await sync(north, export, tmp_path)
    named = {name: ids.format_id("student", await row_id(north, "person", name)) for name in ("s0", "s2")}
    new = NewGroup(
        school=ids.format_id("org", await row_id(north, "org", "north")),
        name="Blue table",
        intervention="Repeated reading",
        level=2,
        area="ela.fluency",
        starts_on=BEGINS,
        review_on=TODAY + timedelta(weeks=6),
        minutes_per_session=30,
        sessions_per_week=3,
        members=tuple(NewMember(student=student) for student in named.values()),
    )
    async with north.unit() as work:
        group = await form_group(work, new)
    move(export, "s0", "south")
    await sync(north, export, tmp_path, limits=LENIENT)
    async with north.unit() as work:
        (lesson,) = await record_group_sessions(work, group.id, [NewGroupSession(held_on=TODAY)])
        assert lesson.outcome == "recorded"
    rows = await ask(
        north,
        "SELECT m.student_id, m.until_on, s.state, g.size FROM group_member m "
        "JOIN support s ON s.district_id = :district AND s.id = m.support_id "
        "JOIN support_group g ON g.district_id = :district AND g.id = m.group_id WHERE m.district_id = :district",
    )
    states = {ids.format_id("student", row.student_id): (row.until_on, row.state, row.size) for row in rows}
    assert states == {named["s0"]: (TODAY, "active", 1), named["s2"]: (None, "active", 1)}
    served = await ask(north, "SELECT student_id FROM session WHERE district_id = :district")
    assert [ids.format_id("student", row.student_id) for row in served] == [named["s2"]]
