"""Reads an agenda with the names that its printed page shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import select

from app.access.permission import Can
from app.access.work import Work, needs
from app.agenda.pages.topics import topic_of
from app.agenda.reading import Agenda, read_agenda
from app.roster.lookup import zone_of
from app.team.models import Team


@dataclass(frozen=True, slots=True)
class AgendaSheet:
    """An agenda, with the name of the team and the time zone of the district.

    `topics` are short texts that say what items are about, keyed by the id of the record (see `read_topics`).
    """

    agenda: Agenda
    team_name: str
    zone: str
    topics: Mapping[UUID, str] = field(default_factory=dict)


@needs(Can.READ_MEETINGS)
async def read_agenda_sheet(work: Work, team_id: UUID, meeting: str | None = None) -> AgendaSheet:
    """Returns the agenda of a team's meeting (see `read_agenda`), with the team's name and short texts of its items."""
    agenda = await read_agenda(work, team_id, meeting)
    team_name = await work.db.scalar(select(Team.name).where(Team.district_id == work.district_id, Team.id == team_id))
    topics = {entry.subject_id: topic for entry in agenda.entries if (topic := topic_of(entry.names)) is not None}
    return AgendaSheet(agenda, str(team_name), await zone_of(work), topics)
