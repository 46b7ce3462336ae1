"""Finds teams for commands of all packages. For the commands on teams, locks teams and increases their versions."""

from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.access.principal import Reach
from app.access.work import Work
from app.core import ids
from app.core.errors import Conflict, Forbidden, Invalid, NotFound, Violation
from app.roster.student_lock import lock_named_subjects
from app.team.models import Team
from app.team.rules import TeamState

OUT_OF_REACH: Final = "A client or person of some schools forms and changes teams of these schools only."


async def lock_team(work: Work, team_id: UUID) -> Team:
    """Locks and returns an active team that the caller may change. Must run before students are locked.

    While the team is locked, other transactions can still write rows that refer to it. Thus a command or a sync that
    has already locked a student does not have to wait for the team.

    Raises `NotFound`; `Forbidden` if the caller may see the team but not change it, for example as a member from
    another school; and `Conflict` for an archived team.
    """
    await lock_named_subjects(work)
    query = select(Team).where(Team.district_id == work.district_id, Team.id == team_id)
    team = await work.db.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))
    if team is None:
        raise NotFound("team")
    if not may_change(work, team.school_id):
        raise Forbidden(OUT_OF_REACH, code="team.out_of_reach")
    if team.state == TeamState.ARCHIVED:
        raise Conflict("The team is archived. Form a new one.", code="team.archived")
    return team


async def find_team(work: Work, name: str, pointer: str = "/team") -> Team:
    """Returns the team whose id is `name`. Raises `Invalid` at `pointer` if there is none that the caller may see."""
    db, team_id = work.db, ids.parse_id("team", name, pointer)
    team: Team | None = await db.scalar(select(Team).where(Team.district_id == work.district_id, Team.id == team_id))
    if team is None:
        raise Invalid([Violation(pointer, "team.unknown", "There is no such team within this caller's reach.")])
    return team


async def find_active_team(work: Work, name: str, if_archived: str, pointer: str = "/team") -> Team:
    """Returns the active team whose id is `name`.

    Raises `Invalid` at `pointer` if there is none that the caller may see. If the team is archived, the error has the
    text `if_archived`.
    """
    team = await find_team(work, name, pointer)
    if team.state == TeamState.ARCHIVED:
        raise Invalid([Violation(pointer, "team.archived", if_archived)])
    return team


def may_change(work: Work, school_id: UUID | None) -> bool:
    """Returns whether the caller may form and change teams of this school. None stands for teams of several schools."""
    principal = work.principal
    return principal.reach is Reach.DISTRICT or (principal.reach is Reach.SCHOOLS and school_id in principal.schools)


async def count_change(work: Work, team: Team) -> None:
    """Increases the version of a team after a change of the team itself, of its members or of its scopes."""
    team.version += 1
    await work.db.flush()
