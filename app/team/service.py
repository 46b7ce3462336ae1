"""Forms and archives teams, and manages their members. The module `scopes` manages whom a team serves."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated
from uuid import UUID

from sqlalchemy import select, update

from app.access.permission import ROLE_OPENS, Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text
from app.core.violations import Violations, day_violations, input_violations
from app.events.catalogue import TEAM_ARCHIVED, TEAM_FORMED, TEAM_MEMBERS_CHANGED
from app.roster.lookup import find_row, locate_staff, today_of
from app.roster.models import Org
from app.roster.references import parse
from app.team.lookup import OUT_OF_REACH, count_change, lock_team, may_change
from app.team.models import Team, TeamMember, TeamScope, lasts_beyond
from app.team.rules import TeamPurpose, TeamRole, TeamState, violations_of_end
from app.team.students import Only, emit_team_event, follow_scopes, lock_served_students

FROM = About("The first day; by default, today.", date(2026, 8, 31))
UNTIL = About("The first day on which it no longer holds; by default, today.", date(2027, 6, 12))
ROLE = About("The role in the team.", TeamRole.MEMBER)


@dataclass(frozen=True, slots=True)
class NewTeam:
    """A team to be formed."""

    name: Annotated[str, Text(min=1, max=200), About("The name.", "Grade 3")]
    purpose: Annotated[TeamPurpose, Choices(TeamPurpose), About("What the team meets for.", TeamPurpose.GRADE)]
    school: Annotated[
        str | None,
        About(
            "The school of the team: an id, or an external id; null for a team of several schools.",
            "org_01jq4n6d9zf3vbs0x5k2m7e8tc",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class NewTeamMember:
    """A person who joins a team."""

    person: Annotated[
        str,
        About(
            "The member of staff: an id, or an external id `sis:<source>:<sourcedId>`.",
            "per_01jq4n6d9zf3vbs0x5k2m7e8tb",
        ),
    ]
    role: Annotated[TeamRole, Choices(TeamRole), ROLE] = TeamRole.MEMBER
    from_on: Annotated[date | None, FROM] = None


@dataclass(frozen=True, slots=True)
class SavedMember:
    """A membership in a team, and whether the command has created it."""

    row: TeamMember
    is_new: bool


@needs(Can.FORM_TEAMS)
async def form_team(work: Work, new: NewTeam) -> Team:
    """Forms a team, which has no members and serves no students at first.

    A caller who sees only some schools must state one of these as the team's school.
    """
    violations = Violations(input_violations(new))
    with violations:
        school_id = await _school_of(work, new)
    violations.refuse()
    team = Team(
        district_id=work.district_id,
        id=new_id(),
        name=new.name,
        purpose=new.purpose,
        school_id=school_id,
        state=TeamState.ACTIVE,
        formed_by=work.principal.person_id,
        formed_on=await today_of(work),
        created_at=now(),
        version=1,
    )
    work.db.add(team)
    await work.db.flush()
    emit_team_event(work, TEAM_FORMED, team.id, team.version, team.school_id)
    return team


@needs(Can.FORM_TEAMS)
async def archive_team(work: Work, team_id: UUID) -> Team:
    """Archives a team: from today it has no members, serves nobody, and cannot be changed."""
    team = await lock_team(work, team_id)
    await lock_served_students(work, Only(team_id=team.id))
    today = await today_of(work)
    team.state, team.archived_on = TeamState.ARCHIVED, today
    await count_change(work, team)
    for model in (TeamMember, TeamScope):
        # A row that would have begun later ends on the day on which it begins, and so never holds.
        for starts_later, until_on in ((model.from_on <= today, today), (model.from_on > today, model.from_on)):
            await work.db.execute(
                update(model)
                .where(
                    model.district_id == work.district_id,
                    model.team_id == team.id,
                    starts_later,
                    lasts_beyond(model, until_on),
                )
                .values(until_on=until_on, version=model.version + 1)
                .execution_options(synchronize_session=False)
            )
    await follow_scopes(work, today, Only(team_id=team.id))
    emit_team_event(work, TEAM_ARCHIVED, team.id, team.version, team.school_id)
    return team


@needs(Can.FORM_TEAMS)
async def add_team_member(work: Work, team_id: UUID, new: NewTeamMember) -> SavedMember:
    """Adds a person to a team. From the first day on, the person sees the students of the team.

    If the person already has this role in the team, nothing changes. Raises `Conflict` if the person is a member with
    another role or with a last day, and `Invalid` for anybody whose role in the roster gives no access, such as a
    student or a guardian.
    """
    violations = Violations(input_violations(new))
    team = await lock_team(work, team_id)
    with violations:
        person = await locate_staff(work, new.person, "/person")
        if person.role not in ROLE_OPENS or not person.enabled or person.removed_at is not None:
            detail = "Only staff of the roster whose role gives access can be members of a team."
            raise Invalid([Violation("/person", "team.not_staff", detail)])
    violations.refuse()
    today = await today_of(work)
    from_on = new.from_on or today
    is_same = (TeamMember.district_id == work.district_id, TeamMember.team_id == team.id)
    still = lasts_beyond(TeamMember, max(today, from_on))
    present = await work.db.scalar(select(TeamMember).where(*is_same, TeamMember.person_id == person.id, still))
    if present is not None:
        if present.role != new.role or present.until_on is not None:
            raise Conflict("This person is a member of the team already.", code="team.member_already")
        return SavedMember(present, is_new=False)
    member = TeamMember(
        district_id=work.district_id,
        id=new_id(),
        team_id=team.id,
        team_school_id=team.school_id,
        person_id=person.id,
        role=new.role,
        from_on=from_on,
        version=1,
    )
    work.db.add(member)
    await count_change(work, team)
    emit_team_event(work, TEAM_MEMBERS_CHANGED, team.id, team.version, team.school_id)
    return SavedMember(member, is_new=True)


@needs(Can.FORM_TEAMS)
async def change_team_role(
    work: Work, team_member_id: UUID, role: Annotated[TeamRole, Choices(TeamRole), ROLE]
) -> TeamMember:
    """Changes the role that a member has in the team."""
    member, team = await _lock_member(work, team_member_id)
    member.role = role
    return await _changed(work, team, member)


@needs(Can.FORM_TEAMS)
async def end_team_membership(
    work: Work, team_member_id: UUID, until_on: Annotated[date | None, UNTIL] = None
) -> TeamMember:
    """Ends a membership. From the day `until_on` on, the person no longer sees the students of the team."""
    member, team = await _lock_member(work, team_member_id)
    today = await today_of(work)
    ends_on = until_on or max(today, member.from_on)
    if violations := [*day_violations(until_on, "/until_on"), *violations_of_end(member.from_on, ends_on, today)]:
        raise Invalid(violations)
    member.until_on = ends_on
    return await _changed(work, team, member)


async def _school_of(work: Work, new: NewTeam) -> UUID | None:
    """Returns the id of a new team's school, if it has one; raises `Invalid` if the caller may form no team there."""
    school_id = None
    if new.school is not None:
        reference = parse("org", new.school, "/school")
        school_id = (await find_row(work, Org, reference, "/school", Org.type == "school", Org.removed_at.is_(None))).id
    if not may_change(work, school_id):
        raise Invalid([Violation("/school", "team.out_of_reach", OUT_OF_REACH)])
    return school_id


async def _lock_member(work: Work, member_id: UUID) -> tuple[TeamMember, Team]:
    query = select(TeamMember).where(TeamMember.district_id == work.district_id, TeamMember.id == member_id)
    member = await work.db.scalar(query)
    if member is None:
        raise NotFound("team_member")
    team = await lock_team(work, member.team_id)
    await work.db.refresh(member)
    today = await today_of(work)
    if member.until_on is not None and member.until_on <= max(today, member.from_on):
        raise Conflict("The membership has ended.", code="team.membership_ended")
    return member, team


async def _changed(work: Work, team: Team, member: TeamMember) -> TeamMember:
    member.version += 1
    await count_change(work, team)
    emit_team_event(work, TEAM_MEMBERS_CHANGED, team.id, team.version, team.school_id)
    return member
