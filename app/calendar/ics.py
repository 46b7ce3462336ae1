"""Renders meetings as an iCalendar object (RFC 5545). Pure.

A calendar contains no text that somebody has typed, and no name of a student or of a member of staff. Therefore it has
neither the team's name nor the meeting's place, because people type these and may write names in them. The location of
an event is the name of the school from the district's SIS.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from icalendar import Calendar, Parameters, vDuration, vText
from icalendar.parser import Contentline

from app.team.rules import TeamPurpose

PRODUCT: Final = "-//Aimline//Meetings of teams//EN"
NAME: Final = "Team meetings"
END: Final = "END:VCALENDAR\r\n"
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
    """Returns the meetings as an iCalendar object. Equal meetings give equal bytes.

    The iCalendar library writes the beginning and the names of schools. The events are written here, because the
    library would need twenty times as much processor time for them.
    """
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("name", NAME)
    calendar.add("x-wr-calname", NAME)
    calendar.add("refresh-interval", vDuration(REFRESH), parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", vDuration(REFRESH))
    head = calendar.to_ical().decode().removesuffix(END)
    locations: dict[str | None, str] = {None: ""}
    events = []
    for entry in entries:
        if entry.school not in locations:
            locations[entry.school] = _location(entry.school or "")
        events.append(_event(entry, locations[entry.school]))
    return "".join((head, *events, END)).encode()


def _event(entry: CalendarEntry, location: str) -> str:
    """Returns a meeting as iCalendar text.

    `location` is the finished line with the location. In the other lines, no character needs to be escaped, and no line
    is so long that it must be split.
    """
    changed_at = _instant(entry.changed_at)
    return (
        "BEGIN:VEVENT\r\n"
        f"SUMMARY:{SUMMARIES[entry.purpose]}\r\n"
        f"DTSTART:{_instant(entry.starts_at)}\r\n"
        f"DTEND:{_instant(entry.starts_at + timedelta(minutes=entry.minutes))}\r\n"
        f"DTSTAMP:{changed_at}\r\n"
        f"UID:{entry.uid}\r\n"
        f"SEQUENCE:{entry.changes}\r\n"
        f"LAST-MODIFIED:{changed_at}\r\n"
        f"{location}"
        f"STATUS:{'CANCELLED' if entry.is_cancelled else 'CONFIRMED'}\r\n"
        "END:VEVENT\r\n"
    )


def _location(school: str) -> str:
    """Returns the line with the name of a school. Special characters are escaped, and a long line is split (folded)."""
    line = Contentline.from_parts("LOCATION", Parameters(), vText(_one_line(school)))
    return f"{line.to_ical().decode()}\r\n"


def _instant(at: datetime) -> str:
    """Returns an instant in UTC without a fraction of a second, as iCalendar writes it."""
    in_utc = at.astimezone(UTC)
    return f"{in_utc.year:04}{in_utc:%m%dT%H%M%SZ}"


def _one_line(text: str) -> str:
    """Returns a text on one line, without the control characters that iCalendar does not allow.

    A backslash becomes a slash, because calendar programs differ in how they read a backslash before an n.
    """
    characters = (" " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each for each in text)
    return " ".join("".join(characters).replace("\\", "/").split())
