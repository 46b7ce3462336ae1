"""Reads the meetings that a calendar link shows. Whoever has the link's secret can read them.

The secret contains the id of a district. The link is looked up in this district only, by a principal that can see no
student. The meetings are then read by the link's own principal: the client that created the link, with its present
grant, restricted to what the link's person may see now. So a link never opens more than this client and this person
could read with a token, and it opens nothing once the person has left.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, any_, cast, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.models import ClientGrant
from app.access.permission import Can
from app.access.principal import Principal, Reach, client_principal
from app.access.work import Work, needs, unit
from app.calendar.ics import CalendarEntry
from app.calendar.models import CalendarLink
from app.calendar.rules import AHEAD, BEFORE, LinkKey, read_secret
from app.core import ids
from app.core.crypto import Keyring
from app.core.errors import Forbidden, Invalid, NotFound
from app.meeting.calendar import read_school_days
from app.meeting.models import Meeting, MeetingSeries
from app.meeting.recurrence import parse_rule
from app.meeting.rules import MeetingState, SeriesState
from app.roster.lookup import IdList, today_of, zone_of
from app.roster.models import Org
from app.team.caseload import bound_to_person
from app.team.models import Team
from app.team.rules import TeamPurpose, TeamState

NAME: Final = "calendar link"
MOST: Final = 5_000
"""The largest number of meetings of a calendar. The earliest ones are kept."""
MOST_SERIES: Final = 100
"""The largest number of series of which a calendar has meetings that are not stored yet. The oldest ones are kept."""


class OpenedLink(NamedTuple):
    """A calendar link that opens the meetings of one team, or of all teams of a person.

    `team_id` is None for all teams of the link's person. `principal` is the principal that reads the meetings.
    """

    team_id: UUID | None
    principal: Principal


async def open_link(engine: AsyncEngine, keyring: Keyring, secret: str) -> OpenedLink:
    """Returns the link with this secret; raises `NotFound`.

    The error is the same in all cases: the secret never existed, the link was revoked, the link has ended, or the
    link's person has left.
    """
    key = read_secret(secret)
    nobody = Principal(key.district_id, NAME, Reach.CASELOAD, frozenset({Can.LINK_CALENDARS}))
    async with unit(engine, nobody, keyring, NAME) as work:
        link, grant = await _find_link(work, key)
    schools = tuple(grant.school_ids)
    client = client_principal(key.district_id, link.created_by, NAME, frozenset(grant.scopes), schools)
    if link.person_id is None:
        return OpenedLink(link.team_id, client)
    try:
        person = await bound_to_person(engine, keyring, client, ids.format_id("person", link.person_id))
    except (Forbidden, Invalid):
        raise NotFound("calendar_link") from None
    return OpenedLink(link.team_id, person)


@needs(Can.LINK_CALENDARS)
async def _find_link(work: Work, key: LinkKey) -> tuple[CalendarLink, ClientGrant]:
    """Returns the link whose secret has this digest, and the grant of its client.

    Raises `NotFound` if there is no such link, if it has ended or was revoked, or if its client lost access to the
    district.
    """
    today = await today_of(work)
    of_client = and_(
        ClientGrant.district_id == work.district_id,
        ClientGrant.client_id == CalendarLink.created_by,
        ClientGrant.revoked_at.is_(None),
    )
    rows = await work.db.execute(
        select(CalendarLink, ClientGrant)
        .join(ClientGrant, of_client)
        .where(
            CalendarLink.district_id == work.district_id,
            CalendarLink.digest == key.digest,
            CalendarLink.revoked_at.is_(None),
            CalendarLink.until_on > today,
        )
    )
    row = rows.one_or_none()
    if row is None:
        raise NotFound("calendar_link")
    return row[0], row[1]


@needs(Can.LINK_CALENDARS, Can.READ_MEETINGS)
async def read_calendar(work: Work, team_id: UUID | None) -> list[CalendarEntry]:
    """Returns the meetings of a team in the last 60 and the next 400 days, earliest first.

    Without a team, returns the meetings of all teams of the person that the request is sent for. Raises `NotFound` for
    a team that the principal may not see.
    """
    teams = {row.id: row for row in await _teams(work, team_id)}
    if team_id is not None and not teams:
        raise NotFound("calendar_link")
    today, zone = await today_of(work), ZoneInfo(await zone_of(work))
    first, last = today - BEFORE, today + AHEAD
    meetings = await _meetings(work, teams, _midnight(first, zone), _midnight(last + timedelta(days=1), zone))
    entries = [_entry(teams[row.team_id], row) for row in meetings]
    entries += await _expected(work, teams, {(row.series_id, row.occurs_on) for row in meetings}, (today, last), zone)
    return sorted(entries, key=lambda entry: (entry.starts_at, entry.uid))[:MOST]


async def _teams(work: Work, team_id: UUID | None) -> Sequence[Row[Any]]:
    team_ids = list(work.principal.teams) if team_id is None else [team_id]
    query = (
        select(Team.id, Team.purpose, Team.state, Org.name.label("school"))
        .outerjoin(Org, and_(Org.district_id == work.district_id, Org.id == Team.school_id))
        .where(Team.district_id == work.district_id, Team.id == any_(cast(team_ids, IdList)))
    )
    return await _rows(work, query)


async def _meetings(work: Work, team_ids: Iterable[UUID], since: datetime, until: datetime) -> Sequence[Row[Any]]:
    query = (
        select(
            *(Meeting.id, Meeting.team_id, Meeting.series_id, Meeting.occurs_on, Meeting.starts_at, Meeting.minutes),
            *(Meeting.state, Meeting.version, Meeting.updated_at),
        )
        .where(
            Meeting.district_id == work.district_id,
            Meeting.team_id == any_(cast(list(team_ids), IdList)),
            Meeting.starts_at >= since,
            Meeting.starts_at < until,
        )
        .order_by(Meeting.starts_at, Meeting.id)
        .limit(MOST)
    )
    return await _rows(work, query)


async def _expected(
    work: Work,
    teams: dict[UUID, Row[Any]],
    stored: set[tuple[UUID | None, date | None]],
    period: tuple[date, date],
    zone: ZoneInfo,
) -> list[CalendarEntry]:
    """Returns the future meetings of `teams` that have no row in the database yet.

    The database has rows for the next twelve weeks only. Later meetings are computed from the rule of their series,
    such as every second Monday. `stored` has the series and the day of each meeting that has a row.
    """
    active = [team_id for team_id, team in teams.items() if team.state == TeamState.ACTIVE]
    query = (
        select(
            *(MeetingSeries.id, MeetingSeries.team_id, MeetingSeries.team_school_id, MeetingSeries.rule),
            *(MeetingSeries.begins_at, MeetingSeries.minutes, MeetingSeries.updated_at),
        )
        .where(
            MeetingSeries.district_id == work.district_id,
            MeetingSeries.team_id == any_(cast(active, IdList)),
            MeetingSeries.state == SeriesState.ACTIVE,
        )
        .order_by(MeetingSeries.id)
        .limit(MOST_SERIES)
    )
    all_series = await _rows(work, query)
    if not all_series:
        return []
    school_days = await read_school_days(work, *period)
    entries: list[CalendarEntry] = []
    for series in all_series:
        await asyncio.sleep(0)  # the days of each series take some milliseconds, and others have their turn in between
        entries += [
            CalendarEntry(
                uid=_uid_in_series(series.id, day),
                purpose=TeamPurpose(teams[series.team_id].purpose),
                school=teams[series.team_id].school,
                starts_at=datetime.combine(day, series.begins_at.time(), tzinfo=zone).astimezone(UTC),
                minutes=series.minutes,
                is_cancelled=False,
                changes=0,
                changed_at=series.updated_at,
            )
            for day in parse_rule(series.rule).days(series.begins_at.date(), *period)
            if (series.id, day) not in stored and school_days.is_school_day(series.team_school_id, day)
        ]
    return entries


async def _rows(work: Work, query: Any) -> Sequence[Row[Any]]:
    rows: Sequence[Row[Any]] = (await work.db.execute(query)).all()
    return rows


def _entry(team: Row[Any], meeting: Row[Any]) -> CalendarEntry:
    is_single = meeting.series_id is None
    return CalendarEntry(
        uid=ids.format_id("meeting", meeting.id) if is_single else _uid_in_series(meeting.series_id, meeting.occurs_on),
        purpose=TeamPurpose(team.purpose),
        school=team.school,
        starts_at=meeting.starts_at,
        minutes=meeting.minutes,
        is_cancelled=meeting.state == MeetingState.CANCELLED,
        changes=meeting.version,
        changed_at=meeting.updated_at,
    )


def _uid_in_series(series_id: UUID, day: date) -> str:
    return f"{ids.format_id('meeting_series', series_id)}-{day:%Y%m%d}"


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
