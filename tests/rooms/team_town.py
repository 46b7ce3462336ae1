"""Creates teams, memberships and clients that act for a person, for the tests of teams."""

from typing import Any
from uuid import UUID

from app.access.principal import Principal
from app.core import ids
from app.team.caseload import bound_to_person
from app.team.models import Team, TeamScope
from app.team.rules import TeamPurpose
from app.team.scopes import NewTeamScope, add_team_scope
from app.team.service import NewTeam, NewTeamMember, add_team_member, form_team
from tests.town import ALL_SCOPES, Town


def named(kind: str, row_id: UUID) -> str:
    """Returns the public id of a row."""
    return ids.format_id(kind, row_id)


async def as_person(
    town: Town, person: str, scopes: frozenset[str] = ALL_SCOPES, schools: tuple[UUID, ...] = ()
) -> Principal:
    """Returns the principal of a client that acts for a person of the district."""
    client = town.client(scopes, schools)
    return await bound_to_person(town.engine, town.settings.keyring, client, f"sis:sis:{person}-1")


async def team_of(town: Town, *people: str, school: int | None = 0) -> Team:
    """Creates a team with these members that serves no students yet."""
    async with town.unit() as work:
        school_id = None if school is None else named("org", town.schools[school])
        team = await form_team(work, NewTeam("Grade 3", TeamPurpose.GRADE, school_id))
        for person in people:
            await add_team_member(work, team.id, NewTeamMember(named("person", town.staff[person])))
    return team


async def serves(town: Town, team: Team, **whom: Any) -> TeamScope:
    """Assigns to a team a grade of a school, a class or a student."""
    async with town.unit() as work:
        return (await add_team_scope(work, team.id, NewTeamScope(**whom))).row
