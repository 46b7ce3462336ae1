"""Locks meetings and series, and records events about meetings, for the commands on meetings and agendas."""

from typing import Final
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

ARCHIVED: Final = "The team is archived, so that it meets no more."


async def require_active(work: Work, team_id: UUID) -> None:
    """Raises `Conflict` if the team with this id is archived."""
    state = await work.db.scalar(select(Team.state).where(Team.district_id == work.district_id, Team.id == team_id))
    if state == TeamState.ARCHIVED:
        raise Conflict(ARCHIVED, code="team.archived")


async def lock_meeting(work: Work, meeting_id: UUID) -> Meeting:
    """Locks and returns a meeting; raises `NotFound`."""
    await lock_named_subjects(work)
    query = select(Meeting).where(Meeting.district_id == work.district_id, Meeting.id == meeting_id)
    meeting: Meeting | None = await work.db.scalar(
        query.with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    if meeting is None:
        raise NotFound("meeting")
    return meeting


async def lock_series(work: Work, series_id: UUID) -> MeetingSeries:
    """Locks and returns a series; raises `NotFound`."""
    await lock_named_subjects(work)
    query = select(MeetingSeries).where(MeetingSeries.district_id == work.district_id, MeetingSeries.id == series_id)
    series: MeetingSeries | None = await work.db.scalar(
        query.with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    if series is None:
        raise NotFound("meeting_series")
    return series


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
