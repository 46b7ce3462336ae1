"""Locks teams for the commands of the room, and counts their changes, under the permission that a command requires."""

from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.access.principal import Reach
from app.access.work import Work
from app.core.errors import Conflict, Forbidden, NotFound
from app.team.models import Team
from app.team.rules import TeamState

OUT_OF_REACH: Final = "A client or person of some schools forms and changes teams of these schools only."


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


async def count_change(work: Work, team: Team) -> None:
    """Counts a change of the team or of its rows in the team's version."""
    team.version += 1
    await work.db.flush()
