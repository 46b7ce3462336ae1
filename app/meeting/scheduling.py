"""Schedules and cancels single meetings and series of meetings. Meetings are never opened automatically."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from sqlalchemy import select, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.errors import Conflict, Invalid, Violation
from app.core.ids import new_id
from app.core.inputs import About, Between
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.events.catalogue import MEETING_CANCELLED, MEETING_SCHEDULED
from app.meeting.lookup import ARCHIVED, count_change, emit_meeting_event, lock_meeting, lock_series
from app.meeting.models import Meeting, MeetingSeries
from app.meeting.protocols import locate_protocol
from app.meeting.recurrence import check_rule, parse_rule
from app.meeting.rules import MAX_MINUTES, MIN_MINUTES, MeetingState, SeriesState, require_scheduled
from app.meeting.series import extend_one
from app.roster.lookup import today_of
from app.roster.student_lock import lock_named_subjects
from app.team.lookup import find_active_team
from app.team.models import Team

EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
MAX_ACTIVE_SERIES: Final = 20
"""The largest number of series of a team that have not ended."""
TEAM = About("The team that meets.", "tea_01jq4n6d9zf3vbs0x5k2m7e8th")
PROTOCOL = About("The protocol that it may follow: a code or an id.", "problem-solving")
PLACE = About("The place.", "Room 12")
BECAUSE = Text(min=1, max=1000)


@dataclass(frozen=True, slots=True)
class NewMeeting:
    """A single meeting to be scheduled."""

    team: Annotated[str, TEAM]
    starts_at: Annotated[
        datetime, About("The instant at which it begins, with an offset.", datetime(2026, 9, 15, 12, tzinfo=UTC))
    ]
    minutes: Annotated[int, Between(MIN_MINUTES, MAX_MINUTES), About("The minutes that it takes.", 45)]
    place: Annotated[str | None, Text(max=200), PLACE] = None
    protocol: Annotated[str | None, PROTOCOL] = None


@dataclass(frozen=True, slots=True)
class NewSeries:
    """A series of meetings to be scheduled."""

    team: Annotated[str, TEAM]
    begins_at: Annotated[
        str,
        Text(min=16, max=16),
        About("The day and the time of day of the first meeting, in the district's time zone.", "2026-09-08T08:00"),
    ]
    rule: Annotated[
        str,
        Text(min=1, max=300),
        About("The recurrence rule of RFC 5545, by day, week or month.", "FREQ=WEEKLY;BYDAY=TU"),
    ]
    minutes: Annotated[int, Between(MIN_MINUTES, MAX_MINUTES), About("The minutes that each meeting takes.", 45)]
    place: Annotated[str | None, Text(max=200), PLACE] = None
    protocol: Annotated[str | None, PROTOCOL] = None


@needs(Can.RUN_MEETINGS)
async def schedule_meeting(work: Work, new: NewMeeting) -> Meeting:
    """Schedules a single meeting of a team.

    Raises `Invalid` if the team already has a scheduled or open meeting at this instant with the same protocol.
    """
    violations = Violations(input_violations(new))
    with violations:
        if new.starts_at.tzinfo is None or not EARLIEST <= new.starts_at < LATEST:
            detail = "An instant from 2000 to 2099 with an offset, such as 2026-09-15T12:00:00Z."
            raise Invalid([Violation("/starts_at", "meeting.starts_at", detail)])
    with violations:
        team = await find_active_team(work, new.team, ARCHIVED)
    with violations:
        protocol_id = await locate_protocol(work, new.protocol, "/protocol")
    violations.refuse()
    await _lock_team(work, team.id)
    await _refuse_same_meeting(work, team.id, new.starts_at, protocol_id)
    meeting = Meeting(
        district_id=work.district_id,
        id=new_id(),
        team_id=team.id,
        team_school_id=team.school_id,
        protocol_id=protocol_id,
        starts_at=new.starts_at,
        minutes=new.minutes,
        place=new.place,
        state=MeetingState.SCHEDULED,
        created_at=now(),
        version=1,
    )
    work.db.add(meeting)
    await work.db.flush()
    emit_meeting_event(work, MEETING_SCHEDULED, meeting)
    return meeting


@needs(Can.RUN_MEETINGS)
async def cancel_meeting(
    work: Work,
    meeting_id: UUID,
    because: Annotated[str, BECAUSE, About("Why it does not take place.", "Half of the team is ill.")],
) -> Meeting:
    """Cancels a meeting that has not been opened, with a reason. Its items go on the agenda of the next meeting."""
    BECAUSE.require(because, "/because")
    meeting = await lock_meeting(work, meeting_id)
    require_scheduled(meeting.state)
    meeting.state, meeting.cancelled_because = MeetingState.CANCELLED, because
    return await count_change(work, meeting, MEETING_CANCELLED)


@needs(Can.RUN_MEETINGS)
async def schedule_series(work: Work, new: NewSeries) -> MeetingSeries:
    """Schedules a series, and creates its meetings for the next twelve weeks, except on days without school.

    Raises `Invalid` for a rule that cannot be read or never occurs, or if the team has an active series with the same
    rule, beginning and protocol. Raises `Conflict` if the team has too many series.
    """
    violations = Violations(input_violations(new))
    with violations:
        begins_at = _local_time(new.begins_at)
        check_rule(new.rule, begins_at.date())
    with violations:
        team = await find_active_team(work, new.team, ARCHIVED)
    with violations:
        protocol_id = await locate_protocol(work, new.protocol, "/protocol")
    violations.refuse()
    await _lock_team(work, team.id)
    await _refuse_same_series(work, team.id, new.rule, begins_at, protocol_id)
    series = MeetingSeries(
        district_id=work.district_id,
        id=new_id(),
        team_id=team.id,
        team_school_id=team.school_id,
        protocol_id=protocol_id,
        rule=new.rule,
        begins_at=begins_at,
        minutes=new.minutes,
        place=new.place,
        state=SeriesState.ACTIVE,
        created_at=now(),
        version=1,
    )
    work.db.add(series)
    await work.db.flush()
    await extend_one(work, series)
    return series


@needs(Can.RUN_MEETINGS)
async def end_series(work: Work, series_id: UUID) -> MeetingSeries:
    """Ends a series. Its meetings that have not been opened are cancelled."""
    series = await lock_series(work, series_id)
    if series.state == SeriesState.ENDED:
        raise Conflict("The series has ended already.", code="meeting_series.ended")
    series.state, series.ended_on = SeriesState.ENDED, await today_of(work)
    series.version += 1
    await work.db.flush()
    cancelled = await work.db.scalars(
        update(Meeting)
        .where(
            Meeting.district_id == work.district_id,
            Meeting.series_id == series.id,
            Meeting.state == MeetingState.SCHEDULED,
        )
        .values(state=MeetingState.CANCELLED, version=Meeting.version + 1)
        .returning(Meeting)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    for meeting in sorted(cancelled, key=lambda meeting: meeting.id):
        emit_meeting_event(work, MEETING_CANCELLED, meeting)
    return series


async def _lock_team(work: Work, team_id: UUID) -> None:
    """Locks a team's row. Two requests can then not schedule the same meeting or series at the same time.

    A lock needs the right to change the row, which a member of the team may lack. The row is therefore locked with the
    rights of the whole district.
    """
    await lock_named_subjects(work)
    of_team = (Team.district_id == work.district_id, Team.id == team_id)
    async with work.as_district("meeting"):
        await work.db.execute(select(Team.id).where(*of_team).with_for_update(key_share=True))


async def _refuse_same_meeting(work: Work, team_id: UUID, starts_at: datetime, protocol_id: UUID | None) -> None:
    """Raises `Invalid` if the team has a scheduled or open meeting at this instant with the same protocol."""
    query = select(Meeting.id).where(
        Meeting.district_id == work.district_id,
        Meeting.team_id == team_id,
        Meeting.starts_at == starts_at,
        Meeting.protocol_id.is_not_distinct_from(protocol_id),
        Meeting.state.in_((MeetingState.SCHEDULED, MeetingState.OPEN)),
    )
    if await work.db.scalar(query.limit(1)) is not None:
        detail = "The team has a meeting at this instant with the same protocol already."
        raise Invalid([Violation("/starts_at", "meeting.exists", detail)])


async def _refuse_same_series(
    work: Work, team_id: UUID, rule: str, begins_at: datetime, protocol_id: UUID | None
) -> None:
    """Raises `Invalid` if an active series of the team has the same rule, beginning and protocol.

    Raises `Conflict` if the team already has the largest number of active series that is allowed. The number is limited
    because a calendar, and the task that creates meetings, read the rules of all active series.
    """
    active = (
        await work.db.scalars(
            select(MeetingSeries).where(
                MeetingSeries.district_id == work.district_id,
                MeetingSeries.team_id == team_id,
                MeetingSeries.state == SeriesState.ACTIVE,
            )
        )
    ).all()
    recurrence = parse_rule(rule)
    for series in active:
        same = (series.begins_at, series.protocol_id) == (begins_at, protocol_id)
        if same and parse_rule(series.rule) == recurrence:
            detail = "The team has a series with the same rule, beginning and protocol already."
            raise Invalid([Violation("/rule", "meeting_series.exists", detail)])
    if len(active) >= MAX_ACTIVE_SERIES:
        detail = f"A team has at most {MAX_ACTIVE_SERIES} series of meetings that have not ended."
        raise Conflict(detail, code="meeting_series.too_many")


def _local_time(text: str) -> datetime:
    """Parses a day from 2000 to 2099 and a time of day, without a time zone; raises `Invalid` for any other text."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M")  # a local time, as the series needs it
    except ValueError:
        moment = datetime.min  # refused below
    if not EARLIEST.year <= moment.year < LATEST.year:
        detail = "A day from 2000 to 2099 and a time of day, such as 2026-09-08T08:00."
        raise Invalid([Violation("/begins_at", "meeting_series.begins_at", detail)])
    return moment
