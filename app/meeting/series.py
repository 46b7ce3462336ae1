"""Creates the meetings of each series for the next weeks. A meeting on a day without school is cancelled, not moved."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import and_, any_, cast, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.ids import new_id
from app.events.catalogue import MEETING_CANCELLED, MEETING_SCHEDULED
from app.meeting.calendar import SchoolDays, read_school_days
from app.meeting.lookup import emit_meeting_event
from app.meeting.models import Meeting, MeetingSeries
from app.meeting.recurrence import parse_rule
from app.meeting.rules import MeetingState, SeriesState
from app.roster.lookup import IdList, today_of, zone_of
from app.team.models import Team
from app.team.rules import TeamState

AHEAD: Final = timedelta(weeks=12)
"""How far ahead the meetings of a series are created."""
AT_ONCE: Final = 500


@needs(Can.JUDGE)
async def extend_series(work: Work) -> int:
    """Creates the missing meetings of all active series, and cancels meetings on days that no longer have school.

    A meeting that was cancelled for this reason is scheduled again if its day has school after all, for example because
    a break was withdrawn. Returns the number of meetings that were created or changed.
    """
    query = (
        select(MeetingSeries)
        .join(Team, and_(Team.district_id == work.district_id, Team.id == MeetingSeries.team_id))
        .where(
            MeetingSeries.district_id == work.district_id,
            MeetingSeries.state == SeriesState.ACTIVE,
            Team.state == TeamState.ACTIVE,
        )
        .order_by(MeetingSeries.id)
        .with_for_update(key_share=True, of=MeetingSeries)
    )
    return await _extend(work, list(await work.db.scalars(query)))


@needs(Can.RUN_MEETINGS)
async def extend_one(work: Work, series: MeetingSeries) -> int:
    """Creates and cancels meetings of one series, as `extend_series` does. Returns the number of changed meetings."""
    return await _extend(work, [series])


async def _extend(work: Work, all_series: Sequence[MeetingSeries]) -> int:
    if not all_series:
        return 0
    today, zone = await today_of(work), ZoneInfo(await zone_of(work))
    until = today + AHEAD
    school_days = await read_school_days(work, today, until)
    present = await work.db.scalars(
        select(Meeting)
        .where(
            Meeting.district_id == work.district_id,
            Meeting.series_id == any_(cast([series.id for series in all_series], IdList)),
            Meeting.occurs_on >= today,
        )
        .order_by(Meeting.id)
        .with_for_update(key_share=True)
    )
    by_day = {(meeting.series_id, meeting.occurs_on): meeting for meeting in present}
    written = 0
    for series in all_series:
        written += _follow_breaks(work, [by_day[key] for key in by_day if key[0] == series.id], school_days)
        for day in parse_rule(series.rule).days(series.begins_at.date(), today, until):
            is_missing = written < AT_ONCE and (series.id, day) not in by_day
            if is_missing and school_days.is_school_day(series.team_school_id, day):
                work.db.add(_meeting_on(series, day, zone))
                written += 1
    new = [row for row in work.db.new if isinstance(row, Meeting)]
    await work.db.flush()
    for meeting in sorted(new, key=lambda meeting: meeting.id):
        emit_meeting_event(work, MEETING_SCHEDULED, meeting)
    return written


def _follow_breaks(work: Work, meetings: Sequence[Meeting], school_days: SchoolDays) -> int:
    """Cancels scheduled meetings on days without school, and returns the number of meetings that were changed.

    A meeting that was cancelled for this reason is scheduled again if its day has school after all.
    """
    written = 0
    for meeting in meetings:
        if meeting.occurs_on is None:
            continue
        has_school = school_days.is_school_day(meeting.team_school_id, meeting.occurs_on)
        if meeting.state == MeetingState.SCHEDULED and not has_school:
            meeting.state, meeting.fell_on_break, type_ = MeetingState.CANCELLED, True, MEETING_CANCELLED
        elif meeting.state == MeetingState.CANCELLED and meeting.fell_on_break and has_school:
            meeting.state, meeting.fell_on_break, type_ = MeetingState.SCHEDULED, False, MEETING_SCHEDULED
        else:
            continue
        meeting.version += 1
        emit_meeting_event(work, type_, meeting)
        written += 1
    return written


def _meeting_on(series: MeetingSeries, day: date, zone: ZoneInfo) -> Meeting:
    starts_at = datetime.combine(day, series.begins_at.time(), tzinfo=zone).astimezone(UTC)
    return Meeting(
        district_id=series.district_id,
        id=new_id(),
        team_id=series.team_id,
        team_school_id=series.team_school_id,
        series_id=series.id,
        occurs_on=day,
        protocol_id=series.protocol_id,
        starts_at=starts_at,
        minutes=series.minutes,
        place=series.place,
        state=MeetingState.SCHEDULED,
        created_at=now(),
        version=1,
    )
