"""Renders meetings as an iCalendar object (RFC 5545). Pure.

A calendar contains no text that somebody has typed, and no name of a student or of a member of staff. So it lacks the
team's name and the meeting's place, which may contain both. The location of an event is the name of the school from the
district's SIS.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from icalendar import Calendar, Event, vDuration

from app.team.rules import TeamPurpose

PRODUCT: Final = "-//Aimline//Meetings of teams//EN"
NAME: Final = "Team meetings"
REFRESH: Final = timedelta(hours=1)
"""The interval at which calendar programs should read the calendar again."""
SUMMARIES: Final = {
    TeamPurpose.GRADE: "Grade team meeting",
    TeamPurpose.COURSE: "Course team meeting",
    TeamPurpose.PROBLEM_SOLVING: "Problem-solving team meeting",
    TeamPurpose.LEADERSHIP: "Leadership team meeting",
}


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """A meeting in a calendar.

    A meeting of a series is in the calendar even before the database has a row for it. The `uid` of the meeting stays
    the same when the row is created. `changes` is the version of the meeting, or 0 before the row is created, and
    `changed_at` is the time of the last change.
    """

    uid: str
    purpose: TeamPurpose
    school: str | None
    starts_at: datetime
    minutes: int
    is_cancelled: bool
    changes: int
    changed_at: datetime


def render_calendar(entries: Iterable[CalendarEntry]) -> bytes:
    """Returns the meetings as an iCalendar object. Equal meetings give equal bytes."""
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("name", NAME)
    calendar.add("x-wr-calname", NAME)
    calendar.add("refresh-interval", vDuration(REFRESH), parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", vDuration(REFRESH))
    for entry in entries:
        calendar.add_component(_event(entry))
    return bytes(calendar.to_ical())


def _event(entry: CalendarEntry) -> Event:
    event = Event()
    event.add("uid", entry.uid)
    event.add("dtstamp", _instant(entry.changed_at))
    event.add("last-modified", _instant(entry.changed_at))
    event.add("sequence", entry.changes)
    event.add("dtstart", _instant(entry.starts_at))
    event.add("dtend", _instant(entry.starts_at + timedelta(minutes=entry.minutes)))
    event.add("summary", SUMMARIES[entry.purpose])
    if entry.school is not None:
        event.add("location", _one_line(entry.school))
    event.add("status", "CANCELLED" if entry.is_cancelled else "CONFIRMED")
    return event


def _instant(at: datetime) -> datetime:
    """Returns an instant in UTC without a fraction of a second, as iCalendar writes it."""
    return at.astimezone(UTC).replace(microsecond=0)


def _one_line(text: str) -> str:
    """Returns a text on one line, without control characters, which iCalendar does not allow.

    A backslash becomes a slash, because programs interpret a backslash before an n differently.
    """
    characters = (" " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each for each in text)
    return " ".join("".join(characters).replace("\\", "/").split())
