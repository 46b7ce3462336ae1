"""Tests that a rendered calendar is valid iCalendar (RFC 5545), whatever the name of a school contains."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import vobject
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from app.calendar.ics import CalendarEntry, render_calendar
from app.team.rules import TeamPurpose
from tests.processor import least_seconds

AT = datetime(2026, 10, 6, 13, tzinfo=UTC)
NASTY = st.text(st.sampled_from("aé漢😀 ,;:\\\"'\r\n\t\0\x7f\u2028nN"), max_size=200)
TEXTS = st.one_of(st.none(), st.text(max_size=300), NASTY)
ENTRIES = st.builds(
    CalendarEntry,
    uid=st.uuids().map(str),
    purpose=st.sampled_from(TeamPurpose),
    school=TEXTS,
    starts_at=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    minutes=st.integers(5, 480),
    is_cancelled=st.booleans(),
    changes=st.integers(0, 1000),
    changed_at=st.just(AT),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ENTRIES, max_size=3, unique_by=lambda entry: entry.uid))
def test_two_parsers_read_what_was_written(entries: list[CalendarEntry]) -> None:
    """A name cannot break a line, end an event or add a property: two parsers read exactly what was written."""
    rendered = render_calendar(entries)
    assert rendered == render_calendar(entries)
    lines = rendered.split(b"\r\n")
    assert lines[-1] == b""
    assert all(len(line) <= 75 and not any(each < 32 or each == 127 for each in line) for line in lines)
    assert all(line.decode() for line in lines[:-1]), "each line is whole characters"
    events: list[Any] = list(Calendar.from_ical(rendered).walk("VEVENT"))
    others = getattr(vobject.readOne(rendered.decode()), "vevent_list", [])
    for entry, event, other in zip(entries, events, others, strict=True):
        instant = entry.starts_at.replace(microsecond=0)
        words = (entry.school or "").replace("\\", "/").split()
        assert (str(event["UID"]), event["DTSTART"].dt, event["DTEND"].dt - event["DTSTART"].dt) == (
            *(entry.uid, instant),
            timedelta(minutes=entry.minutes),
        )
        assert (other.uid.value, other.dtstart.value, other.summary.value) == (
            *(entry.uid, instant),
            str(event["SUMMARY"]),
        )
        if entry.school is not None and entry.school.isprintable():
            assert str(event["LOCATION"]) == other.location.value == " ".join(words)
        assert str(event["STATUS"]) == ("CANCELLED" if entry.is_cancelled else "CONFIRMED")


def test_the_words_of_a_meeting_are_those_of_its_purpose() -> None:
    """Each purpose of a team has its own title for meetings, so that a person with several teams can tell them
    apart.
    """
    entries = [
        CalendarEntry(str(place), purpose, "Lincoln", AT, 45, False, 1, AT) for place, purpose in enumerate(TeamPurpose)
    ]
    shown = [str(event["SUMMARY"]) for event in Calendar.from_ical(render_calendar(entries)).walk("VEVENT")]
    assert len(set(shown)) == len(TeamPurpose)


def test_a_large_calendar_takes_little_processor_time() -> None:
    """A calendar with 5,000 meetings is rendered in little processor time.

    This matters because anybody with the link can request it. A library took more than two seconds for it, and the
    process answered no other request during this time.
    """
    entries = [
        CalendarEntry(
            str(UUID(int=number)), TeamPurpose.GRADE, "Lincoln", AT + timedelta(hours=number), 45, False, 1, AT
        )
        for number in range(5000)
    ]
    assert least_seconds(lambda: render_calendar(entries), 0.6) < 0.6
    assert render_calendar(entries).count(b"BEGIN:VEVENT") == len(entries)
