"""Forms and archives teams, and keeps their members. Whom a team serves is in `scopes`."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final
from uuid import UUID

from sqlalchemy import or_, select, update

from app.access.permission import ROLE_OPENS, Can
from app.access.principal import Reach
from app.access.work import Work, needs
from app.core.clock import now, today_in
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, Violation
from app.core.ids import new_id
from app.core.inputs import About, Choices
from app.core.text import Text, require_texts
from app.events.catalogue import TEAM_ARCHIVED, TEAM_FORMED, TEAM_MEMBERS_CHANGED
from app.roster.lookup import find_row, locate_staff, zone_of
from app.roster.models import Org
from app.roster.references import parse
from app.team.models import Team, TeamMember, TeamScope
from app.team.rules import TeamPurpose, TeamRole, TeamState, violations_of_end
from app.team.students import Only, emit_team_event, follow_scopes

OUT_OF_REACH: Final = "A client or person of some schools forms and changes teams of these schools only."
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


@needs(Can.FORM_TEAMS)
async def form_team(work: Work, new: NewTeam) -> Team:
    """Forms a team without members, which serves nobody yet.

    A caller who sees some schools must name one of them.
    """
    require_texts(new)
    school_id = None
    if new.school is not None:
        reference = parse("org", new.school, "/school")
        school_id = (await find_row(work, Org, reference, "/school", Org.type == "school", Org.removed_at.is_(None))).id
    if not may_change(work, school_id):
        raise Invalid([Violation("/school", "team.out_of_reach", OUT_OF_REACH)])
    team = Team(
        district_id=work.district_id,
        id=new_id(),
        name=new.name,
        purpose=new.purpose,
        school_id=school_id,
        state=TeamState.ACTIVE,
        formed_by=work.principal.person_id,
        formed_on=today_in(await zone_of(work)),
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
    today = today_in(await zone_of(work))
    team.state, team.archived_on = TeamState.ARCHIVED, today
    await bump(work, team)
    for model in (TeamMember, TeamScope):
        # A row that would have begun later ends on the day on which it begins, and so never holds.
        for starts_later, until_on in ((model.from_on <= today, today), (model.from_on > today, model.from_on)):
            await work.db.execute(
                update(model)
                .where(
                    model.district_id == work.district_id,
                    model.team_id == team.id,
                    starts_later,
                    or_(model.until_on.is_(None), model.until_on > until_on),
                )
                .values(until_on=until_on, version=model.version + 1)
                .execution_options(synchronize_session=False)
            )
    await follow_scopes(work, today, Only(team_id=team.id))
    emit_team_event(work, TEAM_ARCHIVED, team.id, team.version, team.school_id)
    return team


@needs(Can.FORM_TEAMS)
async def add_team_member(work: Work, team_id: UUID, new: NewTeamMember) -> TeamMember:
    """Adds a person to a team. From the first day on, the person sees the students of the team.

    Raises `Conflict` for a person who is a member already, and `Invalid` for a student, a guardian and others whose
    role opens nothing.
    """
    require_texts(new)
    team = await lock_team(work, team_id)
    person = await locate_staff(work, new.person, "/person")
    if person.role not in ROLE_OPENS or not person.enabled or person.removed_at is not None:
        detail = "Only staff of the roster whose role gives access can be members of a team."
        raise Invalid([Violation("/person", "team.not_staff", detail)])
    today = today_in(await zone_of(work))
    from_on = new.from_on or today
    is_same = (TeamMember.district_id == work.district_id, TeamMember.team_id == team.id)
    still = or_(TeamMember.until_on.is_(None), TeamMember.until_on > max(today, from_on))
    if await work.db.scalar(select(TeamMember.id).where(*is_same, TeamMember.person_id == person.id, still)):
        raise Conflict("This person is a member of the team already.", code="team.member_already")
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
    await bump(work, team)
    emit_team_event(work, TEAM_MEMBERS_CHANGED, team.id, team.version, team.school_id)
    return member


@needs(Can.FORM_TEAMS)
async def change_team_role(
    work: Work, team_member_id: UUID, role: Annotated[TeamRole, Choices(TeamRole), ROLE]
) -> TeamMember:
    """Gives a member another role in the team."""
    member, team = await _lock_member(work, team_member_id)
    member.role = role
    return await _changed(work, team, member)


@needs(Can.FORM_TEAMS)
async def end_team_membership(
    work: Work, team_member_id: UUID, until_on: Annotated[date | None, UNTIL] = None
) -> TeamMember:
    """Ends a membership. On the day `until_on`, the person no longer sees the students of the team."""
    member, team = await _lock_member(work, team_member_id)
    today = today_in(await zone_of(work))
    ends_on = until_on or max(today, member.from_on)
    if violations := violations_of_end(member.from_on, ends_on, today):
        raise Invalid(violations)
    member.until_on = ends_on
    return await _changed(work, team, member)


async def lock_team(work: Work, team_id: UUID) -> Team:
    """Locks and returns an active team that the caller may change.

    Raises `NotFound`, `Forbidden` for a team of another school, whose members the caller may be, and `Conflict` for an
    archived team.
    """
    query = select(Team).where(Team.district_id == work.district_id, Team.id == team_id)
    team = await work.db.scalar(query.with_for_update().execution_options(populate_existing=True))
    if team is None:
        raise NotFound("team")
    if not may_change(work, team.school_id):
        raise Forbidden(OUT_OF_REACH, code="team.out_of_reach")
    if team.state == TeamState.ARCHIVED:
        raise Conflict("The team is archived. Form a new one.", code="team.archived")
    return team


def may_change(work: Work, school_id: UUID | None) -> bool:
    """Returns whether the caller may form and change teams of a school, or with None, teams of several schools."""
    principal = work.principal
    return principal.reach is Reach.DISTRICT or (principal.reach is Reach.SCHOOLS and school_id in principal.schools)


async def bump(work: Work, team: Team) -> None:
    """Counts a change of the team or of its rows in the team's version."""
    team.version += 1
    await work.db.flush()


async def _lock_member(work: Work, member_id: UUID) -> tuple[TeamMember, Team]:
    query = select(TeamMember).where(TeamMember.district_id == work.district_id, TeamMember.id == member_id)
    member = await work.db.scalar(query)
    if member is None:
        raise NotFound("team_member")
    team = await lock_team(work, member.team_id)
    await work.db.refresh(member)
    today = today_in(await zone_of(work))
    if member.until_on is not None and member.until_on <= max(today, member.from_on):
        raise Conflict("The membership has ended.", code="team.membership_ended")
    return member, team


async def _changed(work: Work, team: Team, member: TeamMember) -> TeamMember:
    member.version += 1
    await bump(work, team)
    emit_team_event(work, TEAM_MEMBERS_CHANGED, team.id, team.version, team.school_id)
    return member
