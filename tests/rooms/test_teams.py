"""Tests which students the members of a team see, what they may do for them, and who may form teams."""

from datetime import timedelta
from uuid import UUID

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.access.permission import ROLE_OPENS, SEES_SCHOOL, Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core.clock import today_in
from app.core.errors import AimlineError, Conflict, Forbidden, Invalid, NotFound
from app.core.page import keyset
from app.events.models import Event
from app.roster.queries import StudentFilter, students
from app.team.models import TeamMember
from app.team.rules import TeamPurpose, TeamRole
from app.team.scopes import NewTeamScope, add_team_scope, end_team_scope
from app.team.service import (
    NewTeam,
    NewTeamMember,
    add_team_member,
    archive_team,
    change_team_role,
    end_team_membership,
    form_team,
)
from tests.faces.rest_town import Caller, caller
from tests.rooms.team_town import as_person, named, serves, team_of
from tests.town import ALL_SCOPES, Town

TODAY = today_in("America/Chicago")


def acting(app: FastAPI, town: Town, person: str, schools: tuple[UUID, ...] = ()) -> Caller:
    """Returns a client with every scope that acts for a person."""
    return caller(app, town, schools=schools, act_for=f"sis:sis:{person}-1")


async def seen_by(app: FastAPI, town: Town, person: str) -> set[str]:
    """Returns the names of the students whom a person sees, in REST's list of students."""
    listed = {one["id"] for one in await acting(app, town, person).items("/v1/students")}
    return {name for name, row_id in town.students.items() if named("student", row_id) in listed}


@needs(Can.READ_TEAMS)
async def members_of(work: Work, team_id: UUID) -> list[TeamMember]:
    """Returns the memberships of a team."""
    of_team = (TeamMember.district_id == work.district_id, TeamMember.team_id == team_id)
    return list(await work.db.scalars(select(TeamMember).where(*of_team).order_by(TeamMember.id)))


@needs(Can.READ_EVENTS)
async def events_of(work: Work) -> list[str]:
    """Returns the types of the district's events about teams, in order."""
    of_teams = (Event.district_id == work.district_id, Event.subject_kind == "team")
    return list(await work.db.scalars(select(Event.type).where(*of_teams).order_by(Event.seq)))


async def test_a_colleague_sees_a_teammates_student_and_can_raise_a_concern(app: FastAPI, north: Town) -> None:
    """A teacher of another school can see the students of a grade team and act for them, but only as a member of the
    team.
    """
    team = await team_of(north, "teacher", "other_teacher")
    concern = {"student": named("student", north.students["amy"]), "area": "ela.fluency", "description": "Slow."}
    colleague = acting(app, north, "other_teacher")
    assert await seen_by(app, north, "other_teacher") == {"cy"}
    assert (await colleague.post("/v1/concerns", concern)).status_code == 422
    await serves(north, team, school=named("org", north.schools[0]), grade="03")
    assert await seen_by(app, north, "other_teacher") == {"amy", "ben", "cy"}
    assert await seen_by(app, north, "teacher") == {"amy", "ben"}
    assert await seen_by(app, north, "aide") == set()
    me = (await colleague.get("/v1/me")).json()
    assert (me["reach"], me["caseload"], me["teams"]) == ("caseload", 3, [named("team", team.id)])
    raised = await colleague.post("/v1/concerns", concern)
    assert raised.status_code == 201, raised.text
    accepted = await colleague.post(f"/v1/concerns/{raised.json()['id']}/accept", {"because": "We saw it too."})
    assert accepted.status_code == 200, accepted.text


async def test_the_roster_role_says_what_a_member_may_do(app: FastAPI, north: Town) -> None:
    """A team gives no permissions: an aide who leads it can raise a concern about its students, but not accept one."""
    team = await team_of(north, "aide")
    await serves(north, team, student=named("student", north.students["ben"]))
    async with north.unit() as work:
        (membership,) = await members_of(work, team.id)
        await change_team_role(work, membership.id, TeamRole.LEAD)
    aide = await as_person(north, "aide")
    async with north.unit(aide) as work:
        concern = await raise_concern(work, NewConcern(named("student", north.students["ben"]), "math", "Counts."))
        with pytest.raises(Forbidden):
            await accept_concern(work, concern.id)


async def test_a_member_sees_nobody_from_the_day_of_leaving(app: FastAPI, north: Town) -> None:
    """From the day on which a membership, a scope or a team ends, the people concerned no longer see the team's
    students.
    """
    team = await team_of(north, "teacher", "aide")
    scope = await serves(north, team, school_class=named("class", north.classes[1]))
    async with north.unit() as work:
        teacher, aide = await members_of(work, team.id)
        await end_team_membership(work, teacher.id, TODAY + timedelta(days=1))
    assert await seen_by(app, north, "teacher") == {"amy", "cy"}
    async with north.unit() as work:
        await end_team_membership(work, teacher.id)
    assert await seen_by(app, north, "teacher") == {"amy"}
    assert await seen_by(app, north, "aide") == {"cy"}
    async with north.unit() as work:
        await end_team_scope(work, scope.id, TODAY + timedelta(days=1))
    assert await seen_by(app, north, "aide") == {"cy"}
    async with north.unit() as work:
        await end_team_scope(work, scope.id)
    assert await seen_by(app, north, "aide") == set()
    second = await serves(north, team, school_class=named("class", north.classes[1]))
    assert second.id != scope.id
    assert await seen_by(app, north, "aide") == {"cy"}
    async with north.unit() as work:
        await archive_team(work, team.id)
    assert await seen_by(app, north, "aide") == set()
    async with north.unit() as work:
        for refused in (
            add_team_member(work, team.id, NewTeamMember(named("person", north.staff["teacher"]))),
            add_team_scope(work, team.id, NewTeamScope(student=named("student", north.students["ben"]))),
            change_team_role(work, aide.id, TeamRole.LEAD),
        ):
            with pytest.raises(Conflict):
                await refused
        assert await events_of(work) == [
            "team.formed",
            *["team.members_changed"] * 2,
            "team.students_changed",
            *["team.members_changed"] * 2,
            *["team.students_changed"] * 3,
            "team.archived",
        ]


async def test_what_begins_later_opens_nothing_today(app: FastAPI, north: Town) -> None:
    """A membership and a scope that begin tomorrow show no student to anybody today."""
    later = TODAY + timedelta(days=1)
    team = await team_of(north, "aide")
    await serves(north, team, student=named("student", north.students["ben"]), from_on=later)
    assert await seen_by(app, north, "aide") == set()
    other = await team_of(north)
    async with north.unit() as work:
        await add_team_member(work, other.id, NewTeamMember(named("person", north.staff["aide"]), from_on=later))
    await serves(north, other, student=named("student", north.students["ben"]))
    assert await seen_by(app, north, "aide") == set()


async def test_a_secured_area_never_opens_through_a_team(app: FastAPI, north: Town) -> None:
    """A teacher does not see a secured concern of a teammate's student, even if the client has the area's scope."""
    team = await team_of(north, "other_teacher")
    await serves(north, team, student=named("student", north.students["amy"]))
    async with north.unit() as work:
        secured = await raise_concern(work, NewConcern(named("student", north.students["amy"]), "sel", "Is alone."))
        seen = await raise_concern(work, NewConcern(named("student", north.students["amy"]), "math", "Counts."))
    listed = await acting(app, north, "other_teacher").items("/v1/concerns")
    assert [one["id"] for one in listed] == [named("concern", seen.id)]
    answer = await acting(app, north, "other_teacher").get(f"/v1/concerns/{named('concern', secured.id)}")
    assert answer.status_code == 404


async def test_an_administrator_sees_the_students_of_a_team_beside_those_of_the_school(
    app: FastAPI, north: Town
) -> None:
    """A person who sees a school also sees a team's students of another school.

    The list has all of them in one order, and each student once.
    """
    team = await team_of(north, "administrator", school=None)
    async with north.unit() as work:
        for student in ("amy", "cy"):
            await raise_concern(work, NewConcern(named("student", north.students[student]), "math", "Counts."))
    assert await seen_by(app, north, "administrator") == {"amy", "ben"}
    assert len(await acting(app, north, "administrator").items("/v1/concerns")) == 1
    for student in ("amy", "cy"):
        await serves(north, team, student=named("student", north.students[student]))
    assert await seen_by(app, north, "administrator") == {"amy", "ben", "cy"}
    for limit in (1, 50):
        listed = await acting(app, north, "administrator").items("/v1/concerns", limit=limit)
        assert [one["student"] for one in listed] == [named("student", north.students[name]) for name in ("amy", "cy")]
    principal = await as_person(north, "administrator")
    assert (principal.reach, principal.students) == (Reach.SCHOOLS, (north.students["cy"],))
    async with north.unit(principal) as work:
        page = await students(work, keyset(north.district_id, "students", {}, None, None), StudentFilter())
        assert {person.id for person in page.rows} == set(north.students.values())


async def test_the_schools_of_a_client_bound_a_team_as_well(app: FastAPI, north: Town) -> None:
    """A client that may read only school two sees no students of school one.

    This holds even if it acts for a member of a team that serves these students.
    """
    team = await team_of(north, "other_teacher")
    await serves(north, team, school=named("org", north.schools[0]), grade="03")
    bound = acting(app, north, "other_teacher", schools=(north.schools[1],))
    assert [one["id"] for one in await bound.items("/v1/students")] == [named("student", north.students["cy"])]


async def test_forming_teams_is_a_permission_of_administrators(north: Town) -> None:
    """A teacher can neither form a team nor add a member or students.

    An administrator can do so, but not for a school or students that the administrator may not see.
    """
    assert {role for role, opens in ROLE_OPENS.items() if Can.FORM_TEAMS in opens} <= SEES_SCHOOL
    team = await team_of(north, "teacher")
    async with north.unit(await as_person(north, "teacher")) as work:
        for refused in (
            form_team(work, NewTeam("Mine", TeamPurpose.GRADE)),
            add_team_member(work, team.id, NewTeamMember(named("person", north.staff["aide"]))),
            add_team_scope(work, team.id, NewTeamScope(student=named("student", north.students["amy"]))),
        ):
            with pytest.raises(Forbidden):
                await refused
    async with north.unit(await as_person(north, "administrator")) as work:
        mine = await form_team(work, NewTeam("Grade 3", TeamPurpose.GRADE, named("org", north.schools[0])))
        await add_team_scope(work, mine.id, NewTeamScope(named("org", north.schools[0]), "03"))
        for school in (None, named("org", north.schools[1])):
            assert await _code(form_team(work, NewTeam("Theirs", TeamPurpose.GRADE, school))) == "team.out_of_reach"
        for whom in (
            NewTeamScope(named("org", north.schools[1]), "03"),
            NewTeamScope(school_class=named("class", north.classes[1])),
        ):
            assert await _code(add_team_scope(work, mine.id, whom)) == "team.out_of_reach"


async def test_a_member_from_elsewhere_cannot_pass_the_reach_on(north: Town) -> None:
    """An administrator who sees a student only through another school's team cannot change that team.

    The administrator cannot add the student to another team either.
    """
    theirs = await team_of(north, "administrator", school=1)
    await serves(north, theirs, student=named("student", north.students["cy"]))
    async with north.unit(await as_person(north, "administrator")) as work:
        with pytest.raises(Forbidden) as refusal:
            await add_team_member(work, theirs.id, NewTeamMember(named("person", north.staff["aide"])))
        assert refusal.value.code == "team.out_of_reach"
        mine = await form_team(work, NewTeam("Mine", TeamPurpose.GRADE, named("org", north.schools[0])))
        whom = NewTeamScope(student=named("student", north.students["cy"]))
        assert await _code(add_team_scope(work, mine.id, whom)) == "team.out_of_reach"


async def test_only_staff_with_access_become_members_once(north: Town) -> None:
    """Students and guardians cannot be members, nor can one person be a member twice at a time."""
    team = await team_of(north, "teacher")
    async with north.unit() as work:
        for kind, row_id in (("person", north.staff["parent"]), ("student", north.students["amy"])):
            with pytest.raises((Invalid, NotFound)):
                await add_team_member(work, team.id, NewTeamMember(named(kind, row_id)))
        second = await add_team_member(work, team.id, NewTeamMember(named("person", north.staff["teacher"])))
        assert not second.is_new
        with pytest.raises(Conflict):
            await add_team_member(work, team.id, NewTeamMember(named("person", north.staff["teacher"]), TeamRole.LEAD))
        (membership,) = await members_of(work, team.id)
        await end_team_membership(work, membership.id)
        await add_team_member(work, team.id, NewTeamMember(named("person", north.staff["teacher"])))


async def test_a_scope_names_exactly_one_kind(north: Town) -> None:
    """A scope of a team names either a grade of a school, or a class, or a student.

    The same students cannot be added twice for overlapping days.
    """
    school, student = named("org", north.schools[0]), named("student", north.students["amy"])
    team = await team_of(north)
    async with north.unit() as work:
        for whom in (
            NewTeamScope(),
            NewTeamScope(school),
            NewTeamScope(grade="03"),
            NewTeamScope(school, "03", None, student),
        ):
            assert await _code(add_team_scope(work, team.id, whom)) == "team.scope_kind"
    scope = await serves(north, team, school=school, grade="03")
    async with north.unit() as work:
        second = await add_team_scope(work, team.id, NewTeamScope(school, "03"))
        assert (second.row.id, second.is_new) == (scope.id, False)
        await end_team_scope(work, scope.id, TODAY + timedelta(days=9))
        with pytest.raises(Conflict):
            await add_team_scope(work, team.id, NewTeamScope(school, "03"))


async def test_a_team_is_seen_by_its_members_and_its_school(app: FastAPI, north: Town) -> None:
    """A team is seen by its members and by those who see its school.

    A person of the same school who sees only a caseload does not see the team. Neither does a person or a client of
    another school.
    """
    team = named("team", (await team_of(north, "teacher")).id)
    for person, status in (("teacher", 200), ("administrator", 200), ("aide", 404), ("other_teacher", 404)):
        assert (await acting(app, north, person).get(f"/v1/teams/{team}")).status_code == status, person
    limited = caller(app, north, ALL_SCOPES, schools=(north.schools[1],))
    assert await limited.items("/v1/teams") == []


async def _code(command: object) -> str:
    """Returns the code of the only violation for which a command is refused."""
    with pytest.raises(AimlineError) as refusal:
        await command  # type: ignore[misc]  # any command
    assert isinstance(refusal.value, Invalid)
    (violation,) = refusal.value.violations
    return violation.code
