"""Locks meetings and series, and records events about meetings, for the commands on meetings and agendas."""

from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.core.errors import Conflict, NotFound
from app.events.catalogue import EventType, NewEvent
from app.events.outbox import record
from app.meeting.models import Meeting, MeetingSeries
from app.roster.student_lock import lock_named_subjects
from app.team.models import Team
from app.team.rules import TeamState

Locked = TypeVar("Locked", Meeting, MeetingSeries)
ARCHIVED: Final = "The team is archived, so that it meets no more."


async def require_active(work: Work, team_id: UUID) -> None:
    """Raises `Conflict` if the team with this id is archived."""
    state = await work.db.scalar(select(Team.state).where(Team.district_id == work.district_id, Team.id == team_id))
    if state == TeamState.ARCHIVED:
        raise Conflict(ARCHIVED, code="team.archived")


async def lock_meeting(work: Work, meeting_id: UUID) -> Meeting:
    """Locks and returns a meeting; raises `NotFound`."""
    return await _lock(work, Meeting, meeting_id, "meeting")


async def lock_series(work: Work, series_id: UUID) -> MeetingSeries:
    """Locks and returns a series; raises `NotFound`."""
    return await _lock(work, MeetingSeries, series_id, "meeting_series")


async def _lock(work: Work, model: type[Locked], row_id: UUID, kind: str) -> Locked:
    await lock_named_subjects(work)
    query = select(model).where(model.district_id == work.district_id, model.id == row_id)
    row: Locked | None = await work.db.scalar(
        query.with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    if row is None:
        raise NotFound(kind)
    return row


async def count_change(work: Work, meeting: Meeting, type_: EventType) -> Meeting:
    """Increments a meeting's version after a change, and records the event. Returns the meeting."""
    meeting.version += 1
    await work.db.flush()
    emit_meeting_event(work, type_, meeting)
    return meeting


def emit_meeting_event(work: Work, type_: EventType, meeting: Meeting) -> None:
    """Records an event about a meeting. The event contains the id of the team."""
    schools = () if meeting.team_school_id is None else (meeting.team_school_id,)
    record(work, NewEvent(type_, meeting.id, meeting.version, {"team": meeting.team_id}, school_ids=schools))
