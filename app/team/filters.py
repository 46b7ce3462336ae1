"""Declares the list filter by team, which the lists of records about students use."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Date, Uuid, any_, cast, func, select
from sqlalchemy.sql.elements import SQLCoreOperations

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.errors import Invalid
from app.resources.listing import Filter
from app.resources.terms import DISTRICT
from app.roster.lookup import IdList, today_of
from app.team.lookup import find_team
from app.team.models import TeamStudent, in_force_on

EXAMPLE: Final = "tea_01jq4n6d9zf3vbs0x5k2m7e8th"
NO_TEAM: Final = UUID(int=0)
"""An id that no team has."""


def by_team(column: SQLCoreOperations[UUID]) -> Filter[str]:
    """Returns a filter by the team that serves the student of a row today. The filter uses the index on the student."""
    return Filter(
        "team",
        str,
        lambda team_and_day: column == any_(func.array(_served(team_and_day), type_=IdList)),
        "Only rows about students that this team serves today: an id. It needs `team:read` too.",
        EXAMPLE,
        graphql="team_id",
        resolve=_team_and_today,
        narrow=True,
    )


def _served(team_and_day: Any) -> Any:
    """Returns SQL for the ids of the students whom a team serves on a day. See `_team_and_today` for the parameter."""
    day: Any = cast(func.split_part(team_and_day, " ", 2), Date)
    return (
        select(TeamStudent.student_id)
        .where(
            TeamStudent.district_id == DISTRICT,
            TeamStudent.team_id == cast(func.split_part(team_and_day, " ", 1), Uuid),
            in_force_on(TeamStudent, day),
        )
        .scalar_subquery()
    )


@needs(Can.READ_TEAMS)
async def _team_and_today(work: Work, name: str, pointer: str | None) -> str:
    """Returns a team's id and the present day as one text, because a filter compares one value.

    A filter of GraphQL (without a pointer) does not look a team up: an unknown or malformed id serves nobody. Raises
    `Invalid` at `pointer` for a team that the caller may not see.
    """
    if pointer is not None:
        team_id = (await find_team(work, name, pointer)).id
    else:
        try:
            team_id = ids.parse_id("team", name)
        except Invalid:
            team_id = NO_TEAM  # `NotFound` would give the filter a UUID without a day, which is no text
    return f"{team_id} {await today_of(work)}"
