"""Declares what both APIs show of teams, their members, their scopes and the students within these scopes."""

from datetime import date
from operator import attrgetter
from uuid import UUID

from sqlalchemy import ColumnElement, select

from app.access.permission import Can
from app.events.catalogue import TEAM_ARCHIVED, TEAM_FORMED, TEAM_MEMBERS_CHANGED, TEAM_STUDENTS_CHANGED
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one, reference
from app.resources.listing import Filter, Listing
from app.resources.members import Id, One
from app.resources.terms import DISTRICT
from app.roster.filters import of_school, of_staff
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.roster.schools import ClassResource, SchoolResource
from app.team import scopes, service
from app.team.models import Team, TeamMember, TeamScope, TeamStudent, in_force_on
from app.team.rules import ScopeKind, TeamPurpose, TeamRole, TeamState


class TeamResource(Resource[Team], kind="team", requires=Can.READ_TEAMS, name="Team", get="team"):
    """People who meet about certain students, and who see these students."""

    name: str = field(Team.name, "The name.", "Grade 3")
    purpose: TeamPurpose = choice(Team.purpose, "What the team meets for.")
    school: One[SchoolResource] | None = one(
        Team.school_id, SchoolResource, "The school of the team; null for a team of several schools."
    )
    state: TeamState = choice(Team.state, "The state of the team. An archived team serves nobody.")
    formed_by: One[StaffResource] | None = one(
        Team.formed_by, StaffResource, "The person who formed the team, if a person did."
    )
    formed_on: date = field(Team.formed_on, "The day on which the team was formed.")
    archived_on: date | None = field(Team.archived_on, "The day on which the team was archived.")
    version: int = field(Team.version, "The number of changes of the team, its members and its students.", 1)


class TeamMemberResource(Resource[TeamMember], kind="team_member", requires=Can.READ_TEAMS, name="TeamMember"):
    """A membership of a person in a team. What the member may do follows from the member's role in the roster."""

    team_id: Id = reference(TeamMember.team_id, "team", "The team.", rest="team")
    person: One[StaffResource] = one(TeamMember.person_id, StaffResource, "The member of staff.")
    role: TeamRole = choice(TeamMember.role, "The role in the team; it gives no access.")
    from_on: date = field(TeamMember.from_on, "The first day.")
    until_on: date | None = field(TeamMember.until_on, "The first day on which it no longer holds.")
    version: int = field(TeamMember.version, "The number of changes.", 1)


class TeamScopeResource(
    Resource[TeamScope],
    kind="team_scope",
    requires=Can.READ_TEAMS,
    about=TeamScope.student_id,
    discloses="team",
    name="TeamScope",
):
    """Whom a team serves: a grade of a school, a class, or a named student."""

    team_id: Id = reference(TeamScope.team_id, "team", "The team.", rest="team")
    kind: ScopeKind = choice(TeamScope.kind, "Whether it names a grade, a class or a student.")
    school: One[SchoolResource] | None = one(TeamScope.served_school_id, SchoolResource, "The school of the grade.")
    grade: str | None = field(TeamScope.grade, "The grade: a CEDS code.", "03")
    school_class: One[ClassResource] | None = one(TeamScope.class_id, ClassResource, "The class.")
    student: One[StudentResource] | None = one(TeamScope.student_id, StudentResource, "The student.")
    from_on: date = field(TeamScope.from_on, "The first day.")
    until_on: date | None = field(TeamScope.until_on, "The first day on which it no longer holds.")
    version: int = field(TeamScope.version, "The number of changes.", 1)


class TeamStudentResource(
    Resource[TeamStudent],
    requires=Can.READ_TEAMS,
    about=TeamStudent.student_id,
    discloses="team",
    name="TeamStudent",
):
    """A student that a team serves because of one of its scopes. Syncs keep the list equal to the roster."""

    team_id: Id = reference(TeamStudent.team_id, "team", "The team.", rest="team")
    student: One[StudentResource] = one(TeamStudent.student_id, StudentResource, "The student.")
    scope_id: Id = reference(TeamStudent.scope_id, "team_scope", "The scope that includes the student.", rest="scope")
    from_on: date = field(TeamStudent.from_on, "The first day.")
    until_on: date | None = field(
        TeamStudent.until_on, "The first day on which the team no longer serves the student by this scope."
    )


ON: Filter[date] = Filter(
    "on",
    date,
    lambda day: in_force_on(TeamStudent, day),
    "Only those that it serves on this day.",
    date(2026, 9, 14),
)


def _of_member(person_id: UUID) -> ColumnElement[bool]:
    return Team.id.in_(
        select(TeamMember.team_id).where(TeamMember.district_id == DISTRICT, TeamMember.person_id == person_id)
    )


LINKS = (
    Link(
        TeamResource,
        "members",
        TeamMemberResource,
        TeamMember.team_id == Team.id,
        "Its memberships, present and former, oldest first.",
        order=(TeamMember.id,),
        assumed=8,
    ),
    Link(
        TeamResource,
        "scopes",
        TeamScopeResource,
        TeamScope.team_id == Team.id,
        "Its scopes, present and former, oldest first.",
        order=(TeamScope.id,),
    ),
    Link(
        TeamResource,
        "students",
        TeamStudentResource,
        TeamStudent.team_id == Team.id,
        "The students that it serves and has served, each with the days.",
        order=(TeamStudent.id,),
        paged=True,
        filters=(ON,),
    ),
    Link(
        StudentResource,
        "teams",
        TeamStudentResource,
        TeamStudent.student_id == Person.id,
        "The teams that serve and have served the student.",
        order=(TeamStudent.id,),
    ),
)

LISTINGS = (
    Listing(
        "teams",
        TeamResource,
        "Teams in the order in which they were formed.",
        filters=(
            of_school(Team.school_id),
            of_staff(_of_member, name="member", description="Only teams of which this person is or was a member."),
            Filter("state", TeamState, lambda state: Team.state == state, "Only these teams.", TeamState.ACTIVE),
            Filter(
                "purpose",
                TeamPurpose,
                lambda purpose: Team.purpose == purpose,
                "Only teams that meet for this.",
                TeamPurpose.GRADE,
            ),
        ),
        changed_at=Team.updated_at,
    ),
)

COMMANDS = (
    Command(
        "form_team",
        service.form_team,
        TeamResource,
        "Forms a team without members, which serves nobody yet.",
        "POST /teams",
        emits=(TEAM_FORMED,),
        status=201,
    ),
    Command(
        "archive_team",
        service.archive_team,
        TeamResource,
        "Archives a team: its memberships end, and it serves nobody any more.",
        "POST /teams/{team}/archive",
        emits=(TEAM_ARCHIVED,),
    ),
    Command(
        "add_team_member",
        service.add_team_member,
        TeamMemberResource,
        "Adds a person to a team. From the first day on, the person sees the students of the team.",
        "POST /teams/{team}/members",
        emits=(TEAM_MEMBERS_CHANGED,),
        status=201,
        bulk=200,
        items="team_members",
        row=attrgetter("row"),
        created=attrgetter("is_new"),
        more="200 if the person has this role in the team already.",
    ),
    Command(
        "change_team_role",
        service.change_team_role,
        TeamMemberResource,
        "Gives a member another role in the team.",
        "POST /team-members/{team_member}/role",
        emits=(TEAM_MEMBERS_CHANGED,),
        body=Body("TeamRoleChange", "The role of a member in a team."),
    ),
    Command(
        "end_team_membership",
        service.end_team_membership,
        TeamMemberResource,
        "Ends a membership. From the day `until_on` on, the person no longer sees the students of the team.",
        "POST /team-members/{team_member}/end",
        emits=(TEAM_MEMBERS_CHANGED,),
        body=Body("TeamMembershipEnd", "The first day after a membership."),
    ),
    Command(
        "add_team_scope",
        scopes.add_team_scope,
        TeamScopeResource,
        "Assigns a team to a grade of a school, a class or a single student, and lists the students at once.",
        "POST /teams/{team}/scopes",
        emits=(TEAM_STUDENTS_CHANGED,),
        status=201,
        bulk=200,
        items="team_scopes",
        row=attrgetter("row"),
        created=attrgetter("is_new"),
        more="200 if the team serves them already. The members of the team see these students from the first day on. "
        "Each sync keeps the list as the roster is: a student who moves leaves it that night.",
    ),
    Command(
        "end_team_scope",
        scopes.end_team_scope,
        TeamScopeResource,
        "Ends a scope of a team. From the day `until_on` on, the members no longer see students through it.",
        "POST /team-scopes/{team_scope}/end",
        emits=(TEAM_STUDENTS_CHANGED,),
        body=Body("TeamScopeEnd", "The day on which a team stops serving."),
    ),
)
